"""Requests that a service recorded, out of files: Parquet, CSV or lines of JSON, the latter two also with gzip.

Columns are those of the stream `requests`, times with their unit in the name (wait_ms, service_us); others are ignored.
Files are read piece by piece, and of more requests than are wanted the newest are kept, so memory goes with what is
kept and not with what the files hold.
"""

import gzip
import io
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from analytics.tail.samples import INSTANCE_COLUMN, REASONS, Samples, take_samples
from tailwatch.errors import RequestFileError
from tailwatch.request_columns import columns_of, names_of

#: What is kept where nobody says: half an hour of a thousand requests a second, some 250 MB.
DEFAULT_MOST: Final = 2_000_000
_FORMS: Final = (".parquet", ".csv", ".csv.gz", ".ndjson", ".ndjson.gz", ".jsonl", ".jsonl.gz")
_BLOCK_BYTES: Final = 32 << 20
_ROWS_AT_ONCE: Final = 1_000_000
#: A clock may be so far ahead of ours; a request from later than that would push all others out of the newest.
_AHEAD_NS: Final = 3_600 * 10**9

Columns = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True, eq=False)
class RecordedFiles:
    """What files hold.

    Attributes:
        samples: in order of arrival; what could not be used is counted in them.
        features: float32[n, k] of the same requests, k as asked for; NaN where a cell is empty.
        seen: requests in the files, of the chosen service and instance. kept: of these, before any was left out.
        future: left out for arriving more than an hour from now.
        ignored: columns that mean nothing here, by name.
        service: whose requests they are; empty where the files do not say.
        instances: that ran them, by the number that samples have; empty where the files do not say.
    """

    samples: Samples
    features: npt.NDArray[np.float32]
    seen: int
    kept: int
    future: int
    ignored: tuple[str, ...]
    service: str
    instances: tuple[str, ...]

    def notes(self) -> list[str]:
        """What a reader of the answer must know of how it was read."""
        found = []
        if self.kept < self.seen - self.future:
            found.append(f"the newest {self.kept:,} of {self.seen:,} requests; --most takes more")
        if self.future:
            found.append(f"{self.future:,} left out: they arrive more than an hour from now, so their clock is wrong")
        left_out = self.samples.left_out or {}
        found += [f"{count:,} left out: {REASONS[reason]}" for reason, count in left_out.items()]
        if self.ignored:
            found.append(f"columns that were not read: {', '.join(self.ignored)}")
        return found


def read_requests(
    paths: Sequence[Path],
    *,
    most: int = DEFAULT_MOST,
    service: str | None = None,
    instance: str | None = None,
    features: Sequence[str] = (),
    now_ns: int | None = None,
) -> RecordedFiles:
    """The requests of all files together.

    Args:
        most: the newest so many are kept.
        service: only its requests; None: files may hold those of one only.
        instance: only those that it ran; None: of all, each of which has threads of its own.
        features: further columns of numbers, for a predictor.
        now_ns: since 1970 UTC; None: what the clock says.
    Raises:
        RequestFileError: a file is of no known form, lacks a column, holds text where a number is wanted, or mixes
            services; or no request in any of them can be used.
    Cost: a pass over the files; memory some 250 bytes for each request that is kept, and one piece of a file.
    """
    newest = _Newest(most, (time.time_ns() if now_ns is None else now_ns) + _AHEAD_NS)
    whose = _Whose(service, instance)
    ignored: dict[str, None] = {}
    for path in paths:
        for piece in _pieces(path):
            ignored |= dict.fromkeys(names_of(piece, features).ignored)
            newest.add(columns_of(whose.chosen(piece, path), features, path))
    columns = newest.columns()
    named = {name: columns.pop(f"feature {name}") for name in features if f"feature {name}" in columns}
    shown = " ".join(str(path) for path in paths)
    if not columns:
        raise RequestFileError(
            f"{shown}: no requests{whose.asked()}; {newest.future:,} arrive more than an hour from now"
        )
    samples = take_samples(columns)
    if not len(samples):
        why = ", ".join(f"{count:,}: {REASONS[reason]}" for reason, count in (samples.left_out or {}).items())
        raise RequestFileError(f"{shown}: none of {newest.seen:,} requests can be used ({why})")
    places = _places(columns) if named else np.zeros(0, np.int64)
    matrix = np.column_stack([named[name][places] for name in features]) if named else np.zeros((len(samples), 0))
    return RecordedFiles(
        samples, matrix.astype(np.float32), newest.seen, newest.kept, newest.future, tuple(ignored),
        whose.service, tuple(whose.instances),
    )  # fmt: skip


def _places(columns: Mapping[str, npt.NDArray[np.generic]]) -> npt.NDArray[np.int64]:
    """Where each sample stood among the columns: weights go along with requests, so let them carry the place."""
    numbered = np.arange(1, columns["arrival_ns"].size + 1, dtype=np.float64)
    return take_samples({**columns, "weight": numbered}).weights.astype(np.int64) - 1


@dataclass(slots=True)
class _Whose:
    """Whose requests are read: of one service, and of which instances, which are numbered as they come."""

    asked_service: str | None
    asked_instance: str | None
    service: str = ""
    instances: dict[str, int] = field(default_factory=dict)

    def asked(self) -> str:
        asked = (("service", self.asked_service), ("instance", self.asked_instance))
        return "".join(f" of {what} {name}" for what, name in asked if name)

    def chosen(self, piece: pl.DataFrame, path: Path) -> pl.DataFrame:
        """The rows that are meant.

        Raises:
            RequestFileError: another service stands beside one that nobody chose, or a name is a number.
        """
        piece = self._of_service(piece, path)
        named = next((name for name in ("instance", "host") if name in piece.columns), None)
        if named is None:
            if self.asked_instance is not None:
                raise RequestFileError(f"{path} has no column instance, nor host; --instance chooses nothing there")
            return piece
        if self.asked_instance is not None:
            piece = piece.filter(pl.col(named).cast(pl.String) == self.asked_instance)
        names = piece[named].cast(pl.String).fill_null("")
        for name in names.unique(maintain_order=True):
            self.instances.setdefault(name, len(self.instances))
        numbers = names.replace_strict(self.instances, return_dtype=pl.Int64)
        return piece.with_columns(numbers.alias(INSTANCE_COLUMN))

    def _of_service(self, piece: pl.DataFrame, path: Path) -> pl.DataFrame:
        if "service" not in piece.columns:
            if self.asked_service is not None:
                raise RequestFileError(f"{path} has no column service; --service chooses nothing there")
            return piece
        names = piece["service"]
        if names.dtype.is_numeric():
            raise RequestFileError(
                f"{path}: column service holds numbers; it names the service, and times have units, as service_ms has"
            )
        if self.asked_service is not None:
            self.service = self.asked_service
            return piece.filter(names == self.asked_service)
        found = sorted({self.service, *names.drop_nulls().unique().to_list()} - {""})
        if len(found) > 1:
            shown = ", ".join(found[:5]) + (" ..." if len(found) > 5 else "")
            raise RequestFileError(
                f"{path}: column service holds {shown}; each is looked at alone, choose with --service"
            )
        self.service = found[0] if found else ""
        return piece


class _Newest:
    """Columns of the newest requests so far; twice as many as wanted are held before older ones are let go."""

    def __init__(self, most: int, before_ns: int) -> None:
        self._most, self._before_ns = most, before_ns
        self._held: list[Columns] = []
        self.seen = self.kept = self.future = 0

    def add(self, columns: Columns) -> None:
        arrivals = columns["arrival_ns"].astype(np.int64, copy=False)
        self.seen += arrivals.size
        if late := int(np.count_nonzero(arrivals > self._before_ns)):
            self.future += late
            columns = {name: values[arrivals <= self._before_ns] for name, values in columns.items()}
        self._held.append(columns)
        self.kept += columns["arrival_ns"].size
        if self.kept >= 2 * self._most:
            self._shrink()

    def columns(self) -> Columns:
        self._shrink()
        return self._held[0] if self._held and self.kept else {}

    def _shrink(self) -> None:
        joined = _joined(self._held)
        if self.kept > self._most:
            chosen = np.argpartition(joined["arrival_ns"], self.kept - self._most)[self.kept - self._most :]
            joined = {name: values[np.sort(chosen)] for name, values in joined.items()}
            self.kept = self._most
        self._held = [joined] if joined else []


def _joined(pieces: Sequence[Columns]) -> Columns:
    """One after the other; a column that some pieces lack is filled as take_samples understands it."""
    names = dict.fromkeys(name for piece in pieces for name in piece)
    return {name: np.concatenate([_or_untold(piece, name) for piece in pieces]) for name in names}


def _or_untold(piece: Columns, name: str) -> npt.NDArray[np.generic]:
    if name in piece:
        return piece[name]
    return np.full(piece["arrival_ns"].size, 1.0 if name == "weight" else np.nan)


def _pieces(path: Path) -> Iterator[pl.DataFrame]:
    """The rows of a file, some hundred thousand at a time."""
    form = next((one for one in sorted(_FORMS, key=len, reverse=True) if path.name.endswith(one)), None)
    if form is None:
        raise RequestFileError(f"{path} is of no form that is known here; want {', '.join(_FORMS)}")
    try:
        if form == ".parquet":
            yield from _parquet(path)
        else:
            yield from _text(path, is_csv=form.startswith(".csv"))
    except (pl.exceptions.PolarsError, EOFError, gzip.BadGzipFile) as error:
        told = str(error).partition("\n")[0]
        raise RequestFileError(f"{path} cannot be read: {told}") from error


def _parquet(path: Path) -> Iterator[pl.DataFrame]:
    path.open("rb").close()  # a folder or a missing file is the system's to name
    rows = pl.scan_parquet(path, glob=False)
    many = rows.select(pl.len()).collect().item()
    for begin in range(0, max(many, 1), _ROWS_AT_ONCE):
        yield rows.slice(begin, _ROWS_AT_ONCE).collect()


def _text(path: Path, *, is_csv: bool) -> Iterator[pl.DataFrame]:
    with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
        head = file.readline().removeprefix(b"\xef\xbb\xbf") if is_csv else b""
        if is_csv and not head.strip():
            raise RequestFileError(f"{path} is empty; want a line of column names first")
        first = True
        while (block := file.read(_BLOCK_BYTES)) or (first and is_csv):
            first = False
            if not block.endswith(b"\n"):
                block += file.readline()
            if is_csv:
                yield pl.read_csv(io.BytesIO(head + block), infer_schema=False)
            elif block.strip():
                yield pl.read_ndjson(io.BytesIO(block), infer_schema_length=None)
