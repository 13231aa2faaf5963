"""Recorded requests of services: batches as they came, each once, and read back by time.

A batch that has a name is kept once, however often and to how many processes it is sent: service, instance and name are
unique. One without a name is kept as often as it comes. Numbers of batches become visible in their order
(store/gpu_counters.py), so whoever follows them misses none. A damaged body costs its own requests, and is named.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from store.errors import CorruptPageError, ServiceRowError
from store.gpu_counters import take_numbers
from store.postgresql import binary
from store.tail_blobs import COLUMNS, TIMES, RequestColumns, decode, encode
from store.tail_services import check_name, ensure_service
from store.tail_tables import BATCH_NAME_MAX, tail_batches
from store.upsert import batched, insert

#: Requests of one batch.
REQUESTS_MAX: Final = 100_000
#: What those who add batches take their turns by.
COUNTER: Final = "tail batches"
#: The column that no request tells: a number that its batch stands for.
INSTANCE: Final = "instance"
_LONGEST_US: Final = 86_400e6
_T = tail_batches
_LISTED_AT_ONCE: Final = 5_000
_AT_ONCE: Final = 64  # bodies of some ten kilobytes to some megabytes


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A batch without its requests: when the first and the last of them arrived, how many, and when it came."""

    id: int
    service: str
    from_ns: int
    to_ns: int
    requests: int
    received_ns: int


@dataclass(frozen=True, slots=True)
class RecordedColumns:
    """Requests that were recorded in a stretch of time, in order of arrival.

    Attributes:
        columns: as analytics/tail/samples.py takes them, each of n: COLUMNS, and as INSTANCE the number of the instance
            that each request ran on, in `instances`, their names.
        requests_seen: recorded in the stretch, as far as can be told without reading them; n where all were read.
        batches: that were read.
        since_ns: from then on no request is missing. Where more were recorded than `most`, of those before it some are
            here and some are not: whole batches are left out.
        damaged: of batches that could not be read, which they are and why.
    """

    columns: dict[str, npt.NDArray[Any]]
    instances: tuple[str, ...]
    requests_seen: int
    batches: int
    since_ns: int
    damaged: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        """How many requests were read."""
        return int(self.columns["arrival_ns"].size)


def add_batch(
    connection: sa.Connection,
    service: str,
    instance: str,
    batch: str | None,
    columns: RequestColumns,
    now_ns: int,
    *,
    synthetic: bool = False,
) -> bool:
    """Keep a batch; False when this instance of the service has sent one of that name before, and nothing is written.

    Must come first in its transaction, which the batches of others wait for; the caller commits.

    Args:
        batch: what its sender calls it. None: it is kept, whatever was sent before.
        columns: some of COLUMNS, among them arrival_ns and service_us, all of one length.
    Raises:
        ServiceRowError: a name or a column that cannot be kept. ServiceLimitError: there are too many services.
    """
    check_name("instance", instance)
    if batch is not None:
        check_name("batch", batch, BATCH_NAME_MAX)
    ordered = _checked(columns)
    body = encode(ordered)
    arrivals, weights = ordered["arrival_ns"], ordered.get("weight")
    number = take_numbers(connection, COUNTER, 1)
    ensure_service(connection, service, now_ns, synthetic=synthetic)
    written = connection.execute(
        insert(connection, _T)
        .values(
            id=number,
            service=service,
            instance=instance,
            batch=batch,
            from_ns=int(arrivals[0]),
            to_ns=int(arrivals[-1]),
            requests=arrivals.size,
            weight=arrivals.size if weights is None else int(weights.sum()),
            received_ns=now_ns,
            body=body,
        )
        .on_conflict_do_nothing()
        .returning(_T.c.id)
    )
    return written.scalar_one_or_none() is not None


def has_batch(connection: sa.Connection, service: str, instance: str, batch: str) -> bool:
    """Whether a batch of this name is kept."""
    same = (_T.c.service == service, _T.c.instance == instance, _T.c.batch == batch)
    return connection.execute(sa.select(_T.c.id).where(*same)).first() is not None


def batches_after(connection: sa.Connection, after_id: int, most: int) -> list[BatchRow]:
    """Batches with a larger number than `after_id`, by number; 0 is before all. Going on after the last misses none."""
    query = _rows().where(_T.c.id > after_id).order_by(_T.c.id).limit(most)
    return [BatchRow(*row) for row in connection.execute(query)]


def requests_within(connection: sa.Connection, service: str, since_ns: int, until_ns: int) -> int:
    """How many requests are in batches that lie in [since_ns, until_ns) as a whole; none of them is read."""
    whole = (_T.c.to_ns >= since_ns, _T.c.to_ns < until_ns, _T.c.from_ns >= since_ns)
    return _requests(connection, _T.c.service == service, *whole)


def read_columns(
    connection: sa.Connection, service: str, since_ns: int, until_ns: int, most: int, *, instance: str | None = None
) -> RecordedColumns:
    """Requests that arrived in [since_ns, until_ns): all of them, or the newest `most`.

    Args:
        most: requests; memory is some 250 bytes for each, and for those of one batch more.
        instance: only those of this one.
    Cost: a core reads some two million requests a second.
    """
    where = _stretch(service, since_ns, until_ns, instance)
    query = sa.select(_T.c.id, _T.c.to_ns, _T.c.requests).where(*where).order_by(_T.c.to_ns.desc(), _T.c.id.desc())
    taken: list[int] = []
    left, complete_ns, unread = most, since_ns, 0
    # Some at a time: a stretch may hold millions of batches, of which but the newest are wanted.
    with connection.execute(query.execution_options(yield_per=_LISTED_AT_ONCE)) as found:
        for row in found:
            if left <= 0:
                # Whatever is in a batch that is not read arrived when that one's last request did, or before.
                complete_ns = max(since_ns, row.to_ns + 1)
                break
            taken.append(row.id)
            left -= row.requests
    if left <= 0:
        unread = max(0, _requests(connection, *where) - (most - left))
    parts = _Parts(since_ns, until_ns)
    for some in batched(taken, _AT_ONCE):
        bodies = sa.select(_T.c.id, _T.c.instance, _T.c.body).where(_T.c.id.in_(some)).order_by(_T.c.to_ns.desc())
        for row in binary(connection).execute(bodies):
            parts.add(row.id, row.instance, bytes(row.body))
    return parts.joined(most, parts.requests + unread, complete_ns)


def _stretch(service: str, since_ns: int, until_ns: int, instance: str | None) -> "tuple[sa.ColumnElement[bool], ...]":
    mine = [] if instance is None else [_T.c.instance == instance]
    return (_T.c.service == service, _T.c.to_ns >= since_ns, _T.c.from_ns < until_ns, *mine)


def _requests(connection: sa.Connection, *where: "sa.ColumnElement[bool]") -> int:
    query = sa.select(sa.func.coalesce(sa.func.sum(_T.c.requests), 0)).where(*where)
    return int(connection.execute(query).scalar_one())


class _Parts:
    """What was read of a stretch so far."""

    def __init__(self, since_ns: int, until_ns: int) -> None:
        self._since_ns, self._until_ns = since_ns, until_ns
        self._columns: list[dict[str, npt.NDArray[Any]]] = []
        self._instances: dict[str, int] = {}
        self._of: list[npt.NDArray[np.int32]] = []
        self._damaged: list[str] = []
        self.requests = 0

    def add(self, number: int, instance: str, body: bytes) -> None:
        try:
            columns = decode(body)
        except CorruptPageError as error:
            self._damaged.append(f"batch {number} of instance {instance[:80]!r}: {error}")
            return
        arrivals = columns["arrival_ns"]
        low, high = np.searchsorted(arrivals, [self._since_ns, self._until_ns])
        code = self._instances.setdefault(instance, len(self._instances))
        self._columns.append({name: values[low:high] for name, values in columns.items()})
        self._of.append(np.full(int(high - low), code, np.int32))
        self.requests += int(high - low)

    def joined(self, most: int, seen: int, complete_ns: int) -> RecordedColumns:
        """In order of arrival, the newest `most`."""
        batches = len(self._columns)
        arrivals = self._take("arrival_ns")
        order = np.argsort(arrivals, kind="stable")[max(0, arrivals.size - most) :]
        if order.size < arrivals.size and order.size:
            # Of those that arrived in the same nanosecond as the oldest one here, some may be left out.
            complete_ns = max(complete_ns, int(arrivals[order[0]]) + 1)
        # Column by column, so that no more than one of them is there twice.
        columns = {"arrival_ns": arrivals[order]} | {name: self._take(name)[order] for name in COLUMNS[1:]}
        columns[INSTANCE] = np.concatenate([*self._of, np.zeros(0, np.int32)])[order]
        return RecordedColumns(
            columns=columns,
            instances=tuple(self._instances),
            requests_seen=seen,
            batches=batches,
            since_ns=complete_ns,
            damaged=tuple(self._damaged),
        )

    def _take(self, name: str) -> npt.NDArray[Any]:
        return np.concatenate([*(part.pop(name) for part in self._columns), _nothing(name)])


def _nothing(name: str) -> npt.NDArray[Any]:
    return np.zeros(0, np.float64 if name in TIMES else np.int64)


def _checked(columns: RequestColumns) -> dict[str, npt.NDArray[Any]]:
    """The columns in order of arrival.

    Raises:
        ServiceRowError: what cannot be kept.
    """
    for name in ("arrival_ns", "service_us"):
        if name not in columns:
            raise ServiceRowError(f"a batch with the columns {', '.join(sorted(columns))[:200]}; {name} is wanted, too")
    n = columns["arrival_ns"].size
    if not 1 <= n <= REQUESTS_MAX:
        raise ServiceRowError(f"a batch of {n} requests; want 1 to {REQUESTS_MAX}, send several")
    for name, values in columns.items():
        if name not in COLUMNS or values.shape != (n,):
            raise ServiceRowError(
                f"column {name[:80]!r} of shape {values.shape} in a batch of {n}; want {n} of {', '.join(COLUMNS)}"
            )
    order = np.argsort(columns["arrival_ns"], kind="stable")
    ordered = {name: np.asarray(values)[order] for name, values in columns.items()}
    for name, values in ordered.items():
        _check_range(name, values)
    return ordered


_LEAST: Final = {"arrival_ns": 1, "explored": 0, "weight": 1}
_MOST: Final = {"arrival_ns": 2**62, "explored": 1, "weight": 2**32}


def _check_range(name: str, values: npt.NDArray[Any]) -> None:
    low, high = (0, _LONGEST_US) if name in TIMES else (_LEAST.get(name, -1), _MOST.get(name, 2**53))
    with np.errstate(invalid="ignore"):
        wrong = (values < low) | (values > high)
    if wrong.any():
        raise ServiceRowError(f"{name} is {values[wrong][0].item()!r} in a batch; want {low:g} to {high:g}")


def _rows() -> "sa.Select[Any]":
    return sa.select(*(_T.c[name] for name in BatchRow.__slots__))
