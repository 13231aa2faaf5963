"""From a configured pattern's name to the pattern, and what streams and columns it can feed."""

from collections.abc import Mapping
from typing import Final

from agents.errors import SourceError
from agents.sources.configs import LogsConfig
from agents.sources.logs_access import AccessPattern
from agents.sources.logs_columns import TimeColumn
from agents.sources.logs_json import JsonPattern
from agents.sources.logs_pattern import Pattern
from agents.sources.logs_syslog import SyslogPattern
from agents.sources.logs_text import KeyValuePattern, RegexPattern
from agents.sources.logs_times import Zone
from agents.sources.streams import ACCESS_LOG, SYSLOG
from pipeline.errors import nearest
from pipeline.schema import HOST_COLUMN, TIME_COLUMN, Schema
from pipeline.sql_extracts import groups_of

#: The column that holds the path of the file, whatever the pattern.
FILE_COLUMN: Final = "file"
_OWN_STREAMS: Final[Mapping[str, tuple[str, Schema]]] = {
    "access": ("access_log", ACCESS_LOG),
    "syslog": ("syslog", SYSLOG),
}


def stream_of(entry: LogsConfig) -> str:
    """The stream that it feeds: the named one, or the pattern's own."""
    return entry.stream or _OWN_STREAMS[entry.pattern][0]


def pattern_of(entry: LogsConfig, columns: Schema) -> Pattern:
    """The pattern that gives `columns`, which are those wanted of the stream but for ts, host and file.

    Raises:
        SourceError: it gives no such column, or one of another type.
    """
    zone = Zone(entry.time_zone)
    time = TimeColumn(entry.time_format, zone)
    match entry.pattern:
        case "access":
            _check(entry, columns, ACCESS_LOG)
            return AccessPattern(frozenset(columns))
        case "syslog":
            _check(entry, columns, SYSLOG)
            return SyslogPattern(columns, zone)
        case "json":
            return JsonPattern(columns, entry.time_column, time)
        case "key_value":
            return KeyValuePattern(columns, entry.time_column, time)
        case "regex":
            groups = groups_of(entry.regex)
            for name in [*columns, *([entry.time_column] if entry.time_column else [])]:
                if name not in groups:
                    where = f"logs source for {stream_of(entry)!r}"
                    raise SourceError(f"{where}: the regex has no group {name!r}; {nearest(name, groups)}")
            return RegexPattern(entry.regex, columns, entry.time_column, time)


def _check(entry: LogsConfig, columns: Schema, given: Schema) -> None:
    own = {name: kind for name, kind in given.items() if name not in (TIME_COLUMN, HOST_COLUMN, FILE_COLUMN)}
    for name, kind in columns.items():
        if own.get(name) != kind:
            known = f"it gives {name} as {own[name]}" if name in own else nearest(name, list(own))
            raise SourceError(
                f"logs source for {stream_of(entry)!r}: the pattern {entry.pattern!r} has no column {name!r} of type "
                f"{kind}; {known}"
            )
