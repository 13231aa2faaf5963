"""Metrics that OpenTelemetry's SDKs and collectors send: OTLP over HTTP, protobuf or JSON, at POST /v1/metrics.

A request is read in the thread that received it, so that the answer can tell how many points were refused; its rows
wait for the next poll. While too many wait, and while the agent closes, clients are told to come back: what was
answered with success has been taken. Without the extra `otlp` the source cannot be opened, the agent runs on.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
import polars as pl

from agents.errors import SourceError
from agents.sources.bad_input import BadInput
from agents.sources.configs import OtlpConfig
from agents.sources.http_bodies import Refused
from agents.sources.http_intake import Answer, HttpIntake, HttpLimits, Request, Service
from agents.sources.series_limit import SeriesLimit
from agents.sources.source import Batch
from agents.sources.streams import OTLP
from pipeline.schema import Schema

if TYPE_CHECKING:
    from agents.sources.otlp_points import PointReader

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
PATH: Final = "/v1/metrics"
WAITING_ROWS: Final = 2**17
WAITING_BYTES: Final = 2**25
# The standard library's reader of JSON makes many times as much of it in memory.
LONGEST_JSON_BYTES: Final = 2**22
_LIMITED_BY: Final = ("name", "unit", "kind", "service")
_SHOWN_NAMES: Final = 5
# Of google.rpc.Code.
_CODES: Final = {400: 3, 404: 5, 413: 8, 429: 8, 503: 14}
_UNKNOWN: Final = 2


class OtlpSource(Service):
    """The stream otlp."""

    name: Final = "otlp"
    replayable: Final = False
    finished: Final = False
    lag_rows: Final = None

    def __init__(self, config: OtlpConfig, schema: Schema = OTLP, clock_ns: Callable[[], int] = time.time_ns) -> None:
        """`schema` is the stream's with its declared columns."""
        self.routes = {PATH: frozenset({PROTOBUF, JSON})}
        self._schema = schema
        self._clock_ns = clock_ns
        self._columns = [column for column in schema if column not in OTLP]
        self._max_series = config.max_series
        self._intake = HttpIntake(self.name, config.listen, self, HttpLimits(config.max_body_bytes))
        self._bad = BadInput(self.name)
        self.series_limit = SeriesLimit(config.max_series, [*_LIMITED_BY, *self._columns], "name")
        self._lock = threading.Lock()
        self._waiting: deque[pl.DataFrame] = deque()
        self._waiting_rows = 0
        self._waiting_bytes = 0
        self._counters = {"points": 0}
        self._reader: PointReader | None = None
        self._messages: Any = None

    @property
    def streams(self) -> Mapping[str, Schema]:
        """The one stream."""
        return {"otlp": self._schema}

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._intake.port

    def open(self, position: bytes | None) -> None:
        """Listen.

        Raises:
            SourceError: the extra is missing, or the port is taken.
        """
        del position
        try:
            from agents.sources import otlp_messages  # noqa: PLC0415  # brings protobuf
            from agents.sources.otlp_points import PointReader  # noqa: PLC0415
        except ImportError as error:
            raise SourceError(f"otlp source: {error}; install tailwatch with its extra: tailwatch[otlp]") from error
        if self._reader is None:
            self._messages = otlp_messages
            self._reader = PointReader(self._schema, self._columns, self._max_series)
        self._reader.increments.begin(self._clock_ns())
        self._intake.open()

    def poll(self) -> list[Batch]:
        """The points of all requests answered before this call."""
        with self._lock:
            waiting, self._waiting = self._waiting, deque()
            self._waiting_rows = self._waiting_bytes = 0
        return [Batch("otlp", pl.concat(waiting, rechunk=False))] if waiting else []

    def position(self) -> bytes | None:
        """None: clients send once."""
        return None

    def measured_to_ns(self, polled_ns: int) -> int | None:
        """Up to the poll: what was answered before has been given."""
        return polled_ns

    def counters(self) -> Mapping[str, int]:
        """Requests and points taken, and what was left out, by reason."""
        events: Mapping[str, int] = {}
        if self._reader is not None:
            events = {**self._reader.events, "resets": self._reader.increments.resets}
        found = {**self._counters, **self._intake.counters(), **events}
        for reason, count in dict(self._bad.counts).items():
            found[reason] = max(found.get(reason, 0), count)
        return found

    def missing(self) -> Mapping[str, str]:
        """Attributes that are no columns, and metrics that have too many series."""
        found = {}
        undeclared = dict(self._reader.attributes.undeclared) if self._reader is not None else {}
        if undeclared:
            names = sorted(undeclared, key=lambda name: (-undeclared[name], name))[:_SHOWN_NAMES]
            found["attributes"] = f"not declared under `streams`, left out: {', '.join(names)}"
        if offenders := self.series_limit.offenders():
            names = [f"{name} ({count} points)" for name, count in offenders]
            found["series"] = f"above max_series, {self._max_series}: {', '.join(names)}"
        return found

    def close(self) -> None:
        """Stop listening; what waits can still be polled once."""
        self._intake.close()

    def is_full(self) -> bool:
        """Whether so much waits for the next poll that nothing more is taken."""
        return self._waiting_rows >= WAITING_ROWS or self._waiting_bytes >= WAITING_BYTES

    def take(self, request: Request) -> Answer:
        """Take a request's points; raises Refused for what is no request."""
        assert self._reader is not None
        json, now_ns = request.kind == JSON, self._clock_ns()
        try:
            body = self._from_json(request.body) if json else request.body
            read = self._reader.read(body, now_ns, self._note)
        except (ValueError, self._messages.DecodeError) as error:
            self._bad.add("not_otlp", request.body)
            raise Refused(400, "not_otlp", f"no ExportMetricsServiceRequest: {str(error)[:200]}") from error
        rows = self.series_limit.admit(read.rows, now_ns)
        over = read.rows.height - rows.height
        if over:
            self._note("series_limit", self.series_limit.offenders(1)[0][0], over)
        self._put(rows)
        refused = {**read.refused}
        if over:
            refused["series_limit"] = refused.get("series_limit", 0) + over
        told = ", ".join(f"{reason}: {count}" for reason, count in sorted(refused.items()))
        return Answer(
            200,
            self._messages.success(sum(refused.values()), told and f"points refused: {told}", json=json),
            JSON if json else PROTOBUF,
        )

    def refusal(self, kind: str, refused: Refused) -> Answer:
        """A google.rpc.Status in the client's own form."""
        code = _CODES.get(refused.status, _UNKNOWN)
        if kind == PROTOBUF:
            return Answer(refused.status, self._messages.status(code, refused.message), PROTOBUF)
        return Answer(refused.status, msgspec.json.encode({"code": code, "message": refused.message}), JSON)

    def _from_json(self, body: bytes) -> bytes:
        if len(body) > LONGEST_JSON_BYTES:
            message = f"{len(body)} bytes of JSON; the most is {LONGEST_JSON_BYTES}, protobuf may have more"
            raise Refused(413, "too_large", message)
        return bytes(self._messages.from_json(body))

    def _put(self, rows: pl.DataFrame) -> None:
        size = int(rows.estimated_size()) if rows.height else 0
        with self._lock:
            if rows.height:
                self._waiting.append(rows)
            self._waiting_rows += rows.height
            self._waiting_bytes += size
            self._counters["points"] += rows.height

    def _note(self, reason: str, name: str, count: int) -> None:
        self._bad.add(reason, name, count)
