"""Parameters of the Prometheus API: query string and form read as one, times and durations as Prometheus takes them.

Times are Unix seconds with decimals or RFC 3339, durations Prometheus' own (`1h30m`) or seconds with decimals; both are
rounded to milliseconds, which is as fine as Prometheus goes. The texts of refusals are Prometheus' where it has one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import parse_qsl

from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.types import Message, Scope

from api.errors import ParameterError
from api.prometheus.errors import BadDataError
from api.promql.parsing import LATEST_NS
from api.times import parse_time

MILLISECOND_NS = 1_000_000
SECOND_NS = 1_000_000_000
MAX_POINTS = 11_000
_MOST_FIELDS = 1_000
_FLOAT = re.compile(r"[+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,4})?")
_RFC_3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T")
_UNITS_MS = {
    "y": 365 * 86_400_000,
    "w": 7 * 86_400_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1_000,
    "ms": 1,
}
_DURATION = re.compile("".join(rf"(?:([0-9]{{1,18}}){unit})?" for unit in _UNITS_MS))


@dataclass(frozen=True, slots=True)
class Parameters:
    """All values of each parameter, those of the form before those of the query string."""

    values: Mapping[str, list[str]]

    def text(self, name: str) -> str:
        """The first value, empty where there is none."""
        return self.values.get(name, [""])[0]

    def all(self, name: str) -> list[str]:
        """Every value."""
        return self.values.get(name, [])

    def time_ns(self, name: str, default_ns: int) -> int:
        """An instant that may be left out.

        Raises:
            BadDataError: not a time.
        """
        text = self.text(name)
        if not text:
            return default_ns
        try:
            return _time_ns(text)
        except ValueError as error:
            raise BadDataError.of(name, f"Invalid time value for '{name}': {error}") from None

    def needed_time_ns(self, name: str) -> int:
        """An instant that must be given.

        Raises:
            BadDataError: not a time, or none.
        """
        try:
            return _time_ns(self.text(name))
        except ValueError as error:
            raise BadDataError.of(name, error) from None

    def duration_ns(self, name: str) -> int:
        """A length of time, which may be zero or negative.

        Raises:
            BadDataError: not a duration, or none.
        """
        try:
            return _duration_ns(self.text(name))
        except ValueError as error:
            raise BadDataError.of(name, error) from None

    def number(self, name: str) -> int | None:
        """A whole number, None where it is not given.

        Raises:
            BadDataError: not a number.
        """
        text = self.text(name)
        if not text:
            return None
        if re.fullmatch(r"[+-]?[0-9]{1,18}", text) is None:
            raise BadDataError(f"{name} must be a number")
        return int(text)

    def limit(self) -> int | None:
        """The largest number of entries wanted; None for all.

        Raises:
            BadDataError: not a number, or a negative one.
        """
        limit = self.number("limit")
        if limit is not None and limit < 0:
            raise BadDataError.of("limit", "limit must be non-negative")
        return limit or None


@dataclass(frozen=True, slots=True)
class Steps:
    """Which instants a range query asks for."""

    start_ns: int
    end_ns: int
    step_ns: int


def read_steps(given: Parameters) -> Steps:
    """`start`, `end` and `step` of a range query.

    Raises:
        BadDataError: missing, unreadable, backwards, or too many of them.
    """
    start_ns, end_ns = given.needed_time_ns("start"), given.needed_time_ns("end")
    if end_ns < start_ns:
        raise BadDataError.of("end", "end timestamp must not be before start time")
    step_ns = given.duration_ns("step")
    if step_ns <= 0:
        raise BadDataError.of(
            "step", "zero or negative query resolution step widths are not accepted. Try a positive integer"
        )
    if (end_ns - start_ns) // step_ns > MAX_POINTS:
        raise BadDataError(
            f"exceeded maximum resolution of {MAX_POINTS:,} points per timeseries. "
            "Try decreasing the query resolution (?step=XX)"
        )
    return Steps(start_ns, end_ns, step_ns)


async def read_parameters(scope: Scope, body: bytes) -> Parameters:
    """Query string and form as one.

    Raises:
        BadDataError: a form that cannot be read, or more fields than anyone needs.
    """
    values: dict[str, list[str]] = {}
    pairs = await _form(scope, body) if body else []
    for name, value in [*pairs, *_fields(scope["query_string"].decode("latin-1"))]:
        values.setdefault(name, []).append(value)
    return Parameters(values)


async def _form(scope: Scope, body: bytes) -> list[tuple[str, str]]:
    kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"").decode("latin-1")
    if kind.startswith("multipart/form-data"):

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        try:
            form = await Request({**scope, "type": "http"}, receive).form(max_files=0, max_fields=_MOST_FIELDS)
        except (MultiPartException, ValueError, KeyError) as error:
            raise BadDataError(f"the form cannot be read: {error}") from error
        except Exception as error:
            # starlette wraps what it cannot parse into an HTTPException once it runs inside an app.
            raise BadDataError("the form cannot be read: it is no multipart/form-data") from error
        return [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
    if kind.startswith("application/x-www-form-urlencoded"):
        return _fields(body.decode("utf-8", "replace"))
    return []


def _fields(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, keep_blank_values=True, errors="replace", max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise BadDataError(f"more than {_MOST_FIELDS} parameters; send fewer") from error


def _time_ns(text: str) -> int:
    failure = ValueError(f'cannot parse "{_shown(text)}" to a valid timestamp')
    if _FLOAT.fullmatch(text):
        seconds = float(text)
        if not abs(seconds) * SECOND_NS <= LATEST_NS:
            raise failure
        return round(Decimal(text) * 1000) * MILLISECOND_NS
    if _RFC_3339.match(text) is None:
        raise failure
    try:
        time_ns = parse_time(text, 0, "time")
    except ParameterError:
        raise failure from None
    return round(Decimal(time_ns) / MILLISECOND_NS) * MILLISECOND_NS


def _duration_ns(text: str) -> int:
    failure = f'cannot parse "{_shown(text)}" to a valid duration'
    if _FLOAT.fullmatch(text):
        if not abs(float(text)) * SECOND_NS < 2**63:
            raise ValueError(f"{failure}. It overflows int64")
        return round(Decimal(text) * 1000) * MILLISECOND_NS
    match = _DURATION.fullmatch(text) if text else None
    if match is None:
        raise ValueError(failure)
    milliseconds = sum(int(n) * unit for n, unit in zip(match.groups(), _UNITS_MS.values(), strict=True) if n)
    if milliseconds * MILLISECOND_NS >= 2**63:
        raise ValueError(f"{failure}. It overflows int64")
    return milliseconds * MILLISECOND_NS


def _shown(text: str) -> str:
    return text if len(text) <= 100 else text[:97] + "..."
