"""The source `requests`: samples of requests that services send, by HTTP POST or UDP, for the analysis of tails.

A POST is taken apart before it is answered, so that its sender learns what was taken and what was left out, and why;
what finds the queue full is refused with 503 and can be sent again. A datagram is answered by nobody: what is
lost of them is counted as lost samples.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import polars as pl

from agents.sources.bad_input import BadInput, shown
from agents.sources.configs import RequestsConfig
from agents.sources.http_bodies import Refused
from agents.sources.http_intake import Answer, HttpIntake, HttpLimits, Request, Service
from agents.sources.series_limit import SeriesLimit
from agents.sources.source import Batch, Lost
from agents.sources.streams import REQUESTS
from agents.sources.udp import Receiver, udp_socket
from pipeline.schema import HOST_COLUMN, Schema, polars_schema
from wire.request_rows import rows_of
from wire.request_samples import CONTENT_TYPES, REASONS, Samples, samples_of

_TYPES: Final = polars_schema({name: kind for name, kind in REQUESTS.items() if name != HOST_COLUMN})
_ROWS_AT_ONCE: Final = 2**15
_SECOND_NS: Final = 10**9
PATH: Final = "/v1/requests"
#: With so many rows waiting, a POST is told to come back.
MOST_WAITING_ROWS: Final = 2**18
_SERIES_LIMIT: Final = "series_limit"
_EVENTS: Final = ("records", "datagrams", "kernel_full", "too_long", "unknown_fields", "time_off")
_REFUSALS: Final = (
    "too_many_connections", "too_busy", "queue_full", "too_large", "too_slow", "unknown_path", "unknown_type",
    "unknown_encoding", "bad_gzip", "bad_request", "cut_short", "disconnected", "failed",
)  # fmt: skip


class Taken(msgspec.Struct, frozen=True):
    """What became of a batch, as its sender is told."""

    accepted: int
    left_out: dict[str, int] = {}
    why: dict[str, str] = {}
    ignored_fields: list[str] = []


class RequestsSource(Service):
    """The stream requests."""

    name: Final = "requests"
    replayable: Final = False
    finished: Final = False
    lag_rows: Final = None
    routes: Mapping[str, frozenset[str]] = {PATH: frozenset(CONTENT_TYPES)}

    def __init__(self, config: RequestsConfig, *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        """Nothing is listened to before `open`."""
        self._config = config
        self._clock_ns = clock_ns
        self._bad = BadInput(self.name)
        self.series_limit = SeriesLimit(config.max_services, ["service"], "service")
        limits = HttpLimits(body_bytes=config.max_body_bytes)
        self._intake = HttpIntake(self.name, config.listen, self, limits) if config.listen else None
        self._receiver: Receiver | None = None
        self._lock = threading.Lock()
        self._waiting: list[pl.DataFrame] = []
        self._waiting_rows = 0
        self._beyond: dict[int, int] = {}  # second -> rows of services beyond the limit
        self._counters = dict.fromkeys(_EVENTS, 0)
        self._seen_datagrams = self._seen_samples = 0

    @property
    def streams(self) -> Mapping[str, Schema]:
        """The one stream."""
        return {"requests": REQUESTS}

    @property
    def port(self) -> int:
        """The port of HTTP that is listened on."""
        assert self._intake is not None
        return self._intake.port

    @property
    def udp_address(self) -> str:
        """HOST:PORT that datagrams can be sent to."""
        assert self._receiver is not None
        return self._receiver.address

    def open(self, position: bytes | None) -> None:
        """Listen.

        Raises:
            SourceError: an address cannot be listened on.
        """
        del position
        if self._config.listen_udp:
            self._receiver = Receiver(udp_socket(self._config.listen_udp), f"{self.name} udp")
        if self._intake is not None:
            try:
                self._intake.open()
            except BaseException:
                self.close()
                raise

    def poll(self) -> list[Batch]:
        """What was taken since the last poll, and all datagrams that were sent before it."""
        lost = self._take_datagrams()
        with self._lock:
            waiting, self._waiting, self._waiting_rows = self._waiting, [], 0
            lost += [Lost(ts_ns, count, _SERIES_LIMIT) for ts_ns, count in self._beyond.items()]
            self._beyond = {}
        if not waiting and not lost:
            return []
        rows = pl.concat(waiting) if waiting else pl.DataFrame(schema=_TYPES)
        return [Batch("requests", rows, tuple(lost))]

    def position(self) -> bytes | None:
        """None: what was answered is not sent again."""
        return None

    def measured_to_ns(self, polled_ns: int) -> int | None:
        """Up to the poll: what was received before has been returned."""
        return polled_ns

    def counters(self) -> Mapping[str, int]:
        """Records taken, and what was left out or refused, by reason."""
        found = dict.fromkeys((*_EVENTS, *REASONS, _SERIES_LIMIT, "requests", *_REFUSALS), 0)
        found |= self._counters
        if self._intake is not None:
            found |= self._intake.counters()
        for reason, count in self._bad.counts.items():
            found[reason] += count
        if self._receiver is not None:
            found["datagrams"] = self._receiver.datagrams
            found["kernel_full"] = self._receiver.kernel_full
            found["too_long"] = self._receiver.too_long
            found["queue_full"] += self._receiver.queue_full
        return found

    def missing(self) -> Mapping[str, str]:
        """Services beyond the limit; a kernel that does not tell what it drops."""
        found = {}
        if self._receiver is not None and not self._receiver.tells_drops:
            found["kernel_drops"] = "the kernel does not tell how many datagrams it drops; Linux 4.12 does"
        if self.series_limit.refused:
            names = ", ".join(f"{shown(name)} ({rows} rows)" for name, rows in self.series_limit.offenders())
            found["series"] = f"more than max_services, {self._config.max_services}; most rows were left out of {names}"
        return found

    def close(self) -> None:
        """Listen no more; what was received can still be polled once."""
        if self._intake is not None:
            self._intake.close()
        if self._receiver is not None:
            self._receiver.close()

    def is_full(self) -> bool:
        """Whether a POST has to wait for the agent's next poll."""
        return self._waiting_rows >= MOST_WAITING_ROWS

    def take(self, request: Request) -> Answer:
        """Take a batch apart and keep what can be kept."""
        received_ns = self._clock_ns()
        samples = samples_of(request.body)
        taken = self._take(samples, [received_ns] * len(samples.records), received_ns)
        refused = not taken.accepted and taken.left_out
        status = 413 if "too_many" in taken.left_out else 400 if refused else 200
        return Answer(status, msgspec.json.encode(taken) + b"\n")

    def refusal(self, kind: str, refused: Refused) -> Answer:
        """In JSON, whatever was sent."""
        del kind
        return Answer(refused.status, msgspec.json.encode({"error": refused.message, "reason": refused.reason}) + b"\n")

    def _take_datagrams(self) -> list[Lost]:
        """Many at once: what a frame costs, however few rows it has, is much for one datagram."""
        if self._receiver is None:
            return []
        arrived, lost = self._receiver.take()
        batches: list[tuple[Samples, int]] = []
        records = 0
        for one in arrived:
            for data in one.datagrams:
                batches.append((samples_of(data), one.at_ns))
                records += len(batches[-1][0].records)
            if records >= _ROWS_AT_ONCE:
                self._take_all(batches)
                batches, records = [], 0
        if batches:
            self._take_all(batches)
        each = max(1, round(self._seen_samples / max(1, self._seen_datagrams)))
        return [Lost(one.ts_ns, one.count * each, one.reason) for one in lost]

    def _take_all(self, batches: list[tuple[Samples, int]]) -> None:
        self._seen_datagrams += len(batches)
        together, times = Samples(), []
        for samples, at_ns in batches:
            together.add(samples)
            times += [at_ns] * len(samples.records)
        self._seen_samples += self._take(together, times, batches[-1][1]).accepted

    def _take(self, found: Samples, times: list[int], received_ns: int) -> Taken:
        rows = rows_of(found.records, times)
        left_out = dict(found.left_out)
        for reason, count in rows.left_out.items():
            left_out[reason] = left_out.get(reason, 0) + count
        with self._lock:
            admitted = self.series_limit.admit(rows.frame.select(list(_TYPES)), received_ns)
            if over := rows.frame.height - admitted.height:
                left_out[_SERIES_LIMIT] = over
                second_ns = received_ns - received_ns % _SECOND_NS
                self._beyond[second_ns] = self._beyond.get(second_ns, 0) + over
            if admitted.height:
                self._waiting.append(admitted)
                self._waiting_rows += admitted.height
            self._counters["records"] += admitted.height
            self._counters["time_off"] += rows.time_off
            self._counters["unknown_fields"] += bool(found.unknown)
        for reason, count in left_out.items():
            example = found.examples.get(reason) or _example(found.records, rows.examples.get(reason))
            self._bad.add(reason, example, count)
        why = {reason: self._why(reason) for reason in left_out}
        return Taken(admitted.height, left_out, why, sorted(found.unknown))

    def _why(self, reason: str) -> str:
        if reason == _SERIES_LIMIT:
            return f"there are {self._config.max_services} other services already; max_services is the limit"
        return REASONS[reason]


def _example(records: list[object], place: int | None) -> bytes:
    return b"" if place is None else msgspec.json.encode(records[place])[:400]
