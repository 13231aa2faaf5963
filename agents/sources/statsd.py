"""The source `statsd`: StatsD and DogStatsD lines over UDP and a Unix socket, as rows of the stream `statsd`.

A thread takes datagrams off the kernel (udp.py); a poll parses what has gathered, about a block at a time. A row is
a value: that of a counter is divided by its rate, so that values can be added up, that of a gauge is where it stands,
and others bring a weight, how many values they stand for. What is lost on the way is lost in rows, as many as a
datagram had on average, so that coverage shows it.
"""

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from agents.sources.bad_input import BadInput, shown
from agents.sources.configs import StatsdConfig
from agents.sources.logs_lines import lines_of
from agents.sources.series_limit import SeriesLimit
from agents.sources.source import Batch, Lost
from agents.sources.statsd_lines import COUNTER, GAUGE, KINDS, Lines, TagColumns, taken_apart
from agents.sources.statsd_values import Gauges, Weights
from agents.sources.streams import STATSD
from agents.sources.udp import Arrived, LostDatagrams, Receiver, udp_socket, unix_socket
from pipeline.schema import HOST_COLUMN, TIME_COLUMN, Schema, polars_schema

STREAM: Final = "statsd"
# Lines of the benchmark are parsed fastest in blocks of 1 to 4 MiB: 1.6 million a second, 1.3 in those of 256 KiB.
BLOCK_BYTES: Final = 2**20
#: What a poll gives, but for the block that exceeds it: two bytes of a datagram can become a row.
MOST_ROWS: Final = 2**19
#: A line's own time is believed within an hour of the clock.
BELIEVED_NS: Final = 3600 * 10**9
_SECOND_NS: Final = 10**9
# Anybody on this host may send, as over UDP, and nobody else can read or remove the file's contents.
_SOCKET_MODE: Final = 0o722
_EVENTS: Final = (
    "datagrams", "records", "malformed", "bad_utf8", "bad_values", "bad_rate", "sets", "events", "service_checks",
    "time_off", "too_long", "kernel_full", "queue_full", "series_limit", "gauges_forgotten",
)  # fmt: skip
_RECEIVED: Final = ("datagrams", "too_long", "kernel_full", "queue_full")
_NAMES_SHOWN: Final = 5


class StatsdSource:
    """What arrives at one port, one path, or both."""

    replayable: Final = False
    finished: Final = False
    lag_rows: Final = None

    def __init__(self, entry: StatsdConfig, schema: Schema, *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        """`schema` is that of the stream with the columns that are declared for tags."""
        self.name = f"{STREAM}:{entry.listen or Path(entry.socket_path).absolute()}"
        self._entry = entry
        self._schema = schema
        self._clock_ns = clock_ns
        self._tags = TagColumns([name for name in schema if name not in STATSD])
        self._types = polars_schema({name: kind for name, kind in schema.items() if name != HOST_COLUMN})
        self.series_limit = SeriesLimit(entry.max_series, [n for n in self._types if n not in _NOT_NAMING], "name")
        self._weights = Weights()
        self._gauges = Gauges(entry.max_series)
        self._bad = BadInput(self.name)
        self._ignored: Counter[str] = Counter()
        self._open = False
        self._left: deque[Arrived] = deque()
        self._receivers: list[Receiver] = []
        self._received: Counter[str] = Counter()  # of receivers that were closed
        self._records = 0

    @property
    def streams(self) -> Mapping[str, Schema]:
        """The one stream."""
        return {STREAM: self._schema}

    @property
    def addresses(self) -> list[str]:
        """Where it listens; of an open one."""
        return [one.address for one in self._receivers]

    def open(self, position: bytes | None) -> None:
        """Listen.

        Raises:
            SourceError: the port or path cannot be had.
        """
        del position
        for receiver in self._receivers:
            self._received.update(_counts(receiver))
        self._receivers = []
        self._open = True
        try:
            if self._entry.listen:
                self._receive(Receiver(udp_socket(self._entry.listen), self.name, clock_ns=self._clock_ns))
            if self._entry.socket_path:
                opened = unix_socket(Path(self._entry.socket_path), _SOCKET_MODE)
                self._receive(Receiver(opened, self.name, clock_ns=self._clock_ns))
        except BaseException:
            self.close()
            raise

    def poll(self) -> list[Batch]:
        """The rows of all datagrams sent before this call; beyond MOST_ROWS, the others come with the next."""
        lost: list[LostDatagrams] = []
        if not self._left or not self._open:  # else the receivers go on gathering, up to what they may
            for receiver in self._receivers:
                arrived, gone = receiver.take()
                self._left.extend(arrived)
                lost += gone
        batches: list[Batch] = []
        rows = 0
        while self._left and (rows < MOST_ROWS or not self._open):
            batch = self._batch(self._next_block())
            if batch is not None:
                batches.append(batch)
                rows += batch.rows.height
        if lost:
            each = self._rows_per_datagram()
            losses = tuple(Lost(one.ts_ns, math.ceil(one.count * each), one.reason) for one in lost)
            batches.append(Batch(STREAM, pl.DataFrame(schema=self._types), losses))
        return batches

    def position(self) -> None:
        """A datagram is not sent twice."""
        return

    def measured_to_ns(self, polled_ns: int) -> int | None:
        """Up to the poll: what was sent before has been received; or up to what is left for the next one."""
        return min([polled_ns, *(one.at_ns for one in self._left)])

    def counters(self) -> Mapping[str, int]:
        """Datagrams and rows, and what was left out by reason."""
        found = dict.fromkeys(_EVENTS, 0)
        found.update(self._bad.counts)
        found.update(self._ignored)
        found.update(self._received)
        for receiver in self._receivers:
            for event, count in _counts(receiver).items():
                found[event] += count
        found["records"] = self._records
        found["series_limit"] = self.series_limit.refused
        found["gauges_forgotten"] = self._gauges.forgotten
        return found

    def missing(self) -> Mapping[str, str]:
        """Tags and series that are left out, most often seen first, and a kernel that does not tell its drops."""
        found = {}
        if not all(receiver.tells_drops for receiver in self._receivers):
            found["kernel_full"] = "this kernel does not tell how many datagrams it drops"
        if self._tags.undeclared:
            names = ", ".join(shown(name) for name, _ in self._tags.undeclared.most_common(_NAMES_SHOWN))
            found["tags"] = f"left out, since `streams` declares no such columns of statsd: {names}"
        if self.series_limit.refused:
            names = ", ".join(f"{shown(name)} ({count} rows)" for name, count in self.series_limit.offenders())
            found["series"] = f"more than max_series, {self._entry.max_series}; most rows were left out of {names}"
        return found

    def close(self) -> None:
        """Stop listening; what waits can still be polled once."""
        self._open = False
        for receiver in self._receivers:
            receiver.close()

    def _receive(self, receiver: Receiver) -> None:
        self._receivers.append(receiver)

    def _rows_per_datagram(self) -> float:
        """What one is likely to have; 1 while none is known."""
        datagrams = self.counters()["datagrams"] - self.counters()["queue_full"]
        return max(1.0, self._records / datagrams) if datagrams > 0 else 1.0

    def _next_block(self) -> list[Arrived]:
        """About BLOCK_BYTES."""
        block: list[Arrived] = []
        size = 0
        while self._left and size < BLOCK_BYTES:
            block.append(self._left.popleft())
            size += sum(map(len, block[-1].datagrams))
        return block

    def _batch(self, block: list[Arrived]) -> Batch | None:
        parts = [b"\n".join(one.datagrams) + b"\n" for one in block]
        records = lines_of(b"".join(parts))
        lines = taken_apart(records, self._bad, self._ignored)
        if not lines.which.size:
            return None
        begins = np.cumsum([0, *(len(part) for part in parts)])
        received_ns = np.array([one.at_ns for one in block], np.int64)
        part = np.searchsorted(begins, records.starts[lines.which], "right") - 1
        rows = self._rows(lines, received_ns[part])
        kept = self.series_limit.admit(rows, int(received_ns[-1]))
        lost: tuple[Lost, ...] = ()
        if kept.height < rows.height:
            lost = (Lost(int(received_ns[-1]), rows.height - kept.height, "series_limit"),)
        self._records += kept.height
        return Batch(STREAM, kept, lost)

    def _rows(self, lines: Lines, received_ns: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pl.DataFrame:
        weights = np.ones(lines.kinds.size, np.int64)
        rates = lines.rates.to_numpy()
        counts = lines.kinds == COUNTER
        values = lines.values / pl.Series(np.where(counts, rates, 1.0))
        gauges = lines.kinds == GAUGE
        if gauges.any():
            values = values.scatter(np.flatnonzero(gauges), self._readings(lines, gauges))
        weighted = ~(counts | gauges)
        weights[weighted] = self._weights.of(rates[weighted])
        rows = pl.DataFrame(
            {
                TIME_COLUMN: self._times(lines, pl.Series(received_ns)),
                "name": lines.names,
                "kind": _KIND_NAMES.gather(lines.kinds),
                "value": values,
                "weight": weights,
            }
        )
        return rows.hstack(self._tags.read(lines.tags)).select(list(self._types))

    def _readings(self, lines: Lines, gauges: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> pl.Series:
        moves = lines.signed[gauges] & (self._entry.signed_gauges == "move")
        series = pl.DataFrame({"name": lines.names, "tags": lines.tags}).filter(gauges).hash_rows()
        return self._gauges.readings(series, lines.values.filter(gauges), moves)

    def _times(self, lines: Lines, received_ns: pl.Series) -> pl.Series:
        """Their own within an hour of the receipt, else that of the receipt."""
        given = lines.times_s
        if given.null_count() == given.len():
            return received_ns
        near_s = given - received_ns // _SECOND_NS
        believed = (near_s.abs() <= BELIEVED_NS // _SECOND_NS).fill_null(value=False)
        self._bad.add("time_off", count=int((~believed & given.is_not_null()).sum()))
        own_ns = pl.when(believed).then(given).otherwise(0) * _SECOND_NS
        return pl.select(pl.when(believed).then(own_ns).otherwise(received_ns)).to_series()


_NOT_NAMING: Final = frozenset({TIME_COLUMN, "value", "weight"})
_KIND_NAMES: Final = pl.Series(KINDS)


def _counts(receiver: Receiver) -> dict[str, int]:
    return {event: getattr(receiver, event) for event in _RECEIVED}
