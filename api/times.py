"""Times and durations as people write them in a URL, to int64 ns UTC and back.

A time is relative to now (`now`, `-5m`, `now-1h30m`), Unix seconds with decimals (`1795324920.25`) or RFC 3339
(`2026-11-22T07:00:00Z`). A duration is units from large to small (`1h30m`, `10s`, `250ms`) or plain seconds (`0.5`).
Arithmetic is on integers and decimals, never on floats: a nanosecond written is a nanosecond read.
"""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache

from api.errors import ParameterError

SECOND_NS = 1_000_000_000
_UNIT_NS = {
    "w": 7 * 86_400 * SECOND_NS,
    "d": 86_400 * SECOND_NS,
    "h": 3_600 * SECOND_NS,
    "m": 60 * SECOND_NS,
    "s": SECOND_NS,
    "ms": 1_000_000,
}
_DURATION = re.compile("".join(rf"(?:([0-9]{{1,9}}){unit})?" for unit in _UNIT_NS))
_SECONDS = re.compile(r"[0-9]{1,24}(?:\.[0-9]{0,12})?")
_PLAIN_SECONDS = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
_RFC_3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:([Zz])|([+-])([0-9]{2}):([0-9]{2}))"
)
_LOST_PLUS = re.compile(r"[0-9] [0-9]{2}:[0-9]{2}$")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# 1970 to 2200: well inside int64 ns (1677 to 2262), so that aligning a time to any window cannot leave the type.
_LAST_NS = 7_258_118_400 * SECOND_NS

ACCEPTED_TIMES = (
    "accepted: -5m, now-1h30m, now, Unix seconds such as 1795324920.25, or RFC 3339 such as 2026-11-22T07:00:00Z"
)
ACCEPTED_DURATIONS = "accepted: 10s, 1h30m, 250ms (units w d h m s ms, large to small), or seconds such as 60 or 0.5"


def parse_time(text: str, now_ns: int, parameter: str) -> int:
    """The instant that `text` means, in ns UTC, between the years 1970 and 2200.

    Raises:
        ParameterError: not one of the accepted forms, or out of range; says which `parameter`, and what is accepted.
    """
    text = text.strip()
    if text.startswith(("now", "-")):
        time_ns = now_ns + _relative(text, parameter)
    elif _SECONDS.fullmatch(text):
        time_ns = int(Decimal(text) * SECOND_NS)
    else:
        time_ns = _absolute(text, parameter)
    if not 0 <= time_ns <= _LAST_NS:
        raise ParameterError(
            f"{parameter}={_shown(text)} is not between the years 1970 and 2200{_unit_hint(text, now_ns)}; "
            f"{ACCEPTED_TIMES}",
            parameter=parameter,
        )
    return time_ns


def parse_duration(text: str, parameter: str) -> int:
    """A length of time in ns, greater than 0 and at most 230 years.

    Raises:
        ParameterError: unreadable, zero, negative or too long; says which `parameter`, and what is accepted.
    """
    text = text.strip()
    duration_ns = int(Decimal(text) * SECOND_NS) if _PLAIN_SECONDS.fullmatch(text) else _sum_of_units(text)
    if duration_ns is None:
        raise ParameterError(f"{parameter}={_shown(text)} is not a duration; {ACCEPTED_DURATIONS}", parameter=parameter)
    if not 0 < duration_ns <= _LAST_NS:
        raise ParameterError(
            f"{parameter}={_shown(text)} must be longer than 0 and at most 230 years; {ACCEPTED_DURATIONS}",
            parameter=parameter,
        )
    return duration_ns


@lru_cache(maxsize=4096)  # the same windows are shown again and again
def rfc_3339(time_ns: int) -> str:
    """The instant in UTC with as many decimals as it needs (none, 3, 6 or 9); any int64 is fine."""
    seconds, fraction_ns = divmod(time_ns, SECOND_NS)
    whole = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    decimals = f"{fraction_ns:09d}"
    while decimals.endswith("000"):
        decimals = decimals[:-3]
    return f"{whole}.{decimals}Z" if decimals else f"{whole}Z"


def short_duration(duration_ns: int) -> str:
    """A duration as parse_duration takes it, such as 1h30m; what is below a millisecond is in seconds with decimals."""
    if duration_ns % 1_000_000:
        return f"{Decimal(duration_ns) / SECOND_NS:f}"
    parts = []
    for unit, unit_ns in _UNIT_NS.items():
        n, duration_ns = divmod(duration_ns, unit_ns)
        if n:
            parts.append(f"{n}{unit}")
    return "".join(parts) or "0s"


def _relative(text: str, parameter: str) -> int:
    """ns from now to what `now`, `now-5m`, `now+5m` or `-5m` means."""
    rest = text.removeprefix("now")
    if text == "now":
        return 0
    sign = rest[:1]
    duration_ns = _sum_of_units(rest[1:]) if sign in {"-", "+"} else None
    if duration_ns is None:
        hint = "; a + in a URL is written %2B" if rest.startswith(" ") else ""
        if _PLAIN_SECONDS.fullmatch(rest[1:]):
            hint = f"; it needs a unit: {text}s for seconds"
        raise ParameterError(
            f"{parameter}={_shown(text)} is not a relative time{hint}; {ACCEPTED_TIMES}", parameter=parameter
        )
    return -duration_ns if sign == "-" else duration_ns


def _sum_of_units(text: str) -> int | None:
    """ns of a duration such as 1h30m, or None when it is not one."""
    match = _DURATION.fullmatch(text) if text else None
    if match is None:
        return None
    return sum(int(n) * unit_ns for n, unit_ns in zip(match.groups(), _UNIT_NS.values(), strict=True) if n)


def _absolute(text: str, parameter: str) -> int:
    """ns UTC of an RFC 3339 time."""
    match = _RFC_3339.fullmatch(text)
    if match is None:
        hint = ""
        if _LOST_PLUS.search(text):
            hint = "; a + in a URL is written %2B"
        elif _RFC_3339.fullmatch(text + "Z"):
            hint = f"; add the zone: {text}Z for UTC"
        raise ParameterError(f"{parameter}={_shown(text)} is not a time{hint}; {ACCEPTED_TIMES}", parameter=parameter)
    day, clock, decimals, _, sign, hours, minutes = match.groups()
    leap_s = int(clock.endswith(":59:60"))  # a leap second, which Unix time does not have: it is the one after it
    try:
        moment = datetime.fromisoformat(f"{day}T{clock[:-2] + '59' if leap_s else clock}+00:00")
    except ValueError as error:
        raise ParameterError(
            f"{parameter}={_shown(text)} is not a time: {error}; {ACCEPTED_TIMES}", parameter=parameter
        ) from error
    seconds = (moment - _EPOCH) // timedelta(seconds=1) + leap_s
    time_ns = seconds * SECOND_NS + int((decimals or "").ljust(9, "0"))
    if sign is None:
        return time_ns
    if int(hours) > 23 or int(minutes) > 59:
        raise ParameterError(
            f"{parameter}={_shown(text)} has no such zone {sign}{hours}:{minutes}; {ACCEPTED_TIMES}",
            parameter=parameter,
        )
    zone_ns = (int(hours) * 3_600 + int(minutes) * 60) * SECOND_NS
    return time_ns - zone_ns if sign == "+" else time_ns + zone_ns


def _unit_hint(text: str, now_ns: int) -> str:
    """Says so when a number would be a sensible time in another unit."""
    if _SECONDS.fullmatch(text) is None:
        return ""
    for name, unit_ns in (("milliseconds", 1_000_000), ("microseconds", 1_000), ("nanoseconds", 1)):
        if abs(int(Decimal(text) * unit_ns) - now_ns) < 50 * 365 * 86_400 * SECOND_NS:
            return f" (it looks like {name}; Unix times here are in seconds)"
    return ""


def _shown(text: str) -> str:
    """What was given, cut to a length that fits a message."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
