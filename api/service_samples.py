"""Requests that a service recorded, from the body of a POST to columns: what is kept, what is left out and why.

The records are those that agents take, too (wire/request_samples.py); here they go to one service, may be some days
old, and must say how long the request ran.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
from starlette.requests import Request

from api.errors import BadLogError, BadRecordsError, BusyError, TooLargeError, WrongMediaError
from api.log_unpacking import Unpacking
from store.tail_blobs import COLUMNS, TIMES
from store.tail_services import THREADS_MAX
from wire.request_rows import TIME_OFF, rows_of
from wire.request_samples import CONTENT_TYPES, Samples, samples_of
from wire.request_samples import REASONS as OF_RECORDS

#: How old a request may be; collectors keep none for longer, unless they are told to.
OLDEST_DAYS: Final = 14
#: A body may unpack to so much: 100,000 records with every field told.
UNPACKED_MAX_BYTES: Final = 32 * 2**20
BAD_DEGREE: Final = "bad_degree"
REASONS: Final = OF_RECORDS | {
    TIME_OFF: f"it arrived more than {OLDEST_DAYS} days ago, or more than an hour ahead of this machine's clock",
    "other_service": "it names another service than the path",
    "no_service_time": "it does not say how long the request ran, or says 0",
    BAD_DEGREE: f"a request begins with 1 thread or more, and ends with as many or more, at most {THREADS_MAX}",
}
#: Bodies that are larger are unpacked and read few at a time: each may take some 100 MB of memory then.
LARGE_BYTES: Final = 2**18
LARGE_AT_ONCE: Final = 4
_LARGE_WITHIN_S: Final = 5.0
_OLDEST_NS: Final = OLDEST_DAYS * 86_400 * 10**9
_INTEGERS: Final = {"explored": 0, "weight": 1}


@dataclass(frozen=True, slots=True)
class Recorded:
    """What came of a body: columns as the store takes them, empty where nothing can be kept.

    Attributes:
        bad_degree: what the first record that is left out for its degrees says; "" without one.
    """

    columns: dict[str, npt.NDArray[Any]]
    left_out: Mapping[str, int] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    bad_degree: str = ""

    def __len__(self) -> int:
        """How many requests."""
        return int(self.columns["arrival_ns"].size) if self.columns else 0

    def why(self) -> dict[str, str]:
        """Each reason in words."""
        return {
            reason: REASONS[reason] + (f"; {self.bad_degree}" if reason == BAD_DEGREE else "")
            for reason in self.left_out
        }


class LargeBodies:
    """The places for large bodies in one API process."""

    def __init__(self) -> None:
        self._places = threading.BoundedSemaphore(LARGE_AT_ONCE)

    @contextmanager
    def place_for(self, data: bytes) -> Iterator[bool]:
        """Hold a place while a body is read, and say so; a small one needs none.

        Raises:
            BusyError: none became free in time.
        """
        if len(data) <= LARGE_BYTES:
            yield False
            return
        if not self._places.acquire(timeout=_LARGE_WITHIN_S):
            raise BusyError(
                f"{LARGE_AT_ONCE} large batches are being read, none was done within {_LARGE_WITHIN_S:g} s; nothing "
                f"was kept: send it again, or in batches of at most {LARGE_BYTES >> 10} KiB"
            )
        try:
            yield True
        finally:
            self._places.release()


def unpacked_body(request: Request, data: bytes) -> bytes:
    """The body without its Content-Encoding.

    Raises:
        WrongMediaError: a type or an encoding that is not taken.
        BadRecordsError, TooLargeError: damaged gzip, or one that unpacks to more than may be.
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind not in CONTENT_TYPES:
        raise WrongMediaError(f"Content-Type {kind[:80]!r} is not taken; want {', '.join(CONTENT_TYPES)}")
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return data
    if encoding not in ("gzip", "x-gzip"):
        raise WrongMediaError(f"Content-Encoding {encoding[:80]!r} is not taken; want gzip or identity")
    unpacking = Unpacking(UNPACKED_MAX_BYTES)
    try:
        whole = b"".join(unpacking.pieces([data], packed=True))
    except BadLogError as error:
        raise BadRecordsError("the body says that it is gzip, and is not, or is damaged; pack it again") from error
    except TooLargeError as error:
        raise TooLargeError(
            f"the body unpacks to more than the {UNPACKED_MAX_BYTES} bytes that are taken; send several",
            reason="body_too_large",
            status=413,
            limit=UNPACKED_MAX_BYTES,
        ) from error
    if unpacking.cut_off:
        raise BadRecordsError("the gzip ends in the middle; nothing of it was kept, send it again")
    return whole


def read_records(data: bytes, service: str, now_ns: int) -> Recorded:
    """What can be kept of a body's records; one that names no service is of this one.

    A request without a time of arrival arrived now, less what it took.
    """
    found = samples_of(data)
    for record in found.records:
        if record.service is None:
            record.service = service
    rows = rows_of(found.records, [now_ns] * len(found.records), _OLDEST_NS)
    left_out = dict(found.left_out)
    for reason, count in rows.left_out.items():
        left_out[reason] = left_out.get(reason, 0) + count
    frame = rows.frame
    first = pl.col("degree").fill_null(1)
    last = pl.col("degree_final").fill_null(first)
    for reason, good in (
        ("other_service", pl.col("service") == service),
        ("no_service_time", (pl.col("service_us") > 0).fill_null(value=False)),
        (BAD_DEGREE, first.is_between(1, last) & (last <= THREADS_MAX)),
    ):
        kept = frame.filter(good)
        if gone := frame.height - kept.height:
            left_out[reason] = gone
        frame = kept
    bad_degree = _bad_degree(found) if BAD_DEGREE in left_out else ""
    return Recorded(_columns(frame), left_out, tuple(sorted(found.unknown)), bad_degree)


def refuse_useless(recorded: Recorded) -> None:
    """Return where anything is kept, or nothing was there to keep.

    Raises:
        TooLargeError: more records than one body may have.
        BadRecordsError: no record of it can be kept; says why.
    """
    if len(recorded) or not recorded.left_out:
        return
    if "too_many" in recorded.left_out:
        raise TooLargeError(REASONS["too_many"], reason="body_too_large", status=413, limit=100_000)
    why = recorded.why()
    said = "; ".join(f"{reason} ({count}): {why[reason]}" for reason, count in recorded.left_out.items())
    raise BadRecordsError(f"nothing can be kept of the body: {said}")


def _bad_degree(found: Samples) -> str:
    """Which record is the first whose degrees cannot be, and what it says."""
    for number, record in enumerate(found.records, 1):
        first = 1 if record.degree is None else record.degree
        last = first if record.degree_final is None else record.degree_final
        if not 1 <= first <= last <= THREADS_MAX:
            of = " of those that can be read" if found.left_out else ""
            told = {"degree": record.degree, "degree_final": record.degree_final}
            said = " and ".join(f"{name} {value}" for name, value in told.items() if value is not None)
            return f"record {number}{of} has {said}"
    return ""


def _columns(frame: pl.DataFrame) -> dict[str, npt.NDArray[Any]]:
    """As the store takes them, only what any record told."""
    if not frame.height:
        return {}
    columns: dict[str, npt.NDArray[Any]] = {"arrival_ns": frame["ts"].to_numpy()}
    for name in COLUMNS[1:]:
        series = frame[name]
        if series.null_count() == len(series):
            continue
        untold = np.nan if name in TIMES else _INTEGERS.get(name, -1)
        columns[name] = series.fill_null(untold).to_numpy()
    return columns
