"""Checks of a log source's settings when the configuration is decoded: what is wrong is told before an agent starts."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import polars as pl

from pipeline.sql_extracts import groups_of

if TYPE_CHECKING:
    from agents.sources.configs import LogsConfig

_FORMATS: Final = ("", "iso8601", "s", "ms", "us", "ns")
_OWN_TIMES: Final = ("access", "syslog")
_OWN_STREAMS: Final = (*_OWN_TIMES, "text")


def check_logs(entry: "LogsConfig") -> None:
    """Raises ValueError naming the setting, the value and what to do."""
    own_times = entry.pattern in _OWN_TIMES
    if entry.pattern not in _OWN_STREAMS and not entry.stream:
        raise ValueError(f"pattern {entry.pattern} has no stream of its own; name one that `streams` declares")
    if (entry.pattern == "regex") != bool(entry.regex):
        raise ValueError("regex goes with the pattern regex, and with no other; set both or neither")
    if own_times and (entry.time_column or entry.time_format):
        raise ValueError(f"pattern {entry.pattern} knows its time; leave time_column and time_format out")
    if entry.pattern == "text" and entry.time_column:
        hint = r"(?P<text>(?P<at>\d{4}-\d\d-\d\dT[\d:.]+Z)?.*)"
        raise ValueError(f"pattern text reads no times; where lines begin with one, use the pattern regex: {hint}")
    if entry.time_format and not entry.time_column:
        raise ValueError("time_format is set, but time_column is not; name the column that holds the time")
    if entry.pattern == "access" and entry.record_start:
        raise ValueError("an access log has a record per line; leave record_start out")
    for name, regex in (("regex", entry.regex), ("record_start", entry.record_start)):
        if regex:
            _check_regex(name, regex)
    _check_zone(entry.time_zone)
    if entry.time_format not in _FORMATS:
        _check_format(entry.time_format)


def _check_regex(name: str, regex: str) -> None:
    try:
        groups = groups_of(regex) if "(" in regex else []
        if not groups:
            pl.Series([""]).str.contains(regex, strict=True)
    except pl.exceptions.PolarsError as error:
        told = str(error).partition("\n\nThis error")[0]
        raise ValueError(f"{name}: {told}") from error
    if name == "regex" and not [group for group in groups if not group.isdigit()]:
        raise ValueError(f"regex {regex!r} has no named group, such as (?P<status>\\d+); each becomes a column")


def _check_zone(name: str) -> None:
    if not name:
        return
    try:
        ZoneInfo(name)
    except (ValueError, OSError) as error:  # a zone that is not found is a KeyError
        raise ValueError(f"time_zone {name!r} cannot be used: {error}; want a name such as Europe/Berlin") from error
    except KeyError as error:
        raise ValueError(f"time_zone {name!r} is not known here; want a name such as Europe/Berlin") from error


def _check_format(time_format: str) -> None:
    """A format that cannot read what it has written itself reads nothing."""
    sample = pl.Series([datetime(2026, 11, 22, 10, 0, 30, tzinfo=UTC)])
    try:
        read = sample.dt.strftime(time_format).str.to_datetime(time_format, strict=False, time_unit="us")
        good = not read.null_count()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        good = False
    if not good:
        raise ValueError(
            f"time_format {time_format!r} reads no times with date and time of day; want iso8601, s, ms, us, ns, or a "
            "format such as %Y-%m-%d %H:%M:%S"
        )
