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
from agents.sources.logs_text import KeyValuePattern, RegexPattern, TextPattern
from agents.sources.logs_times import Zone
from agents.sources.streams import ACCESS_LOG, JOB_LOGS, SYSLOG
from pipeline.errors import nearest
from pipeline.schema import HOST_COLUMN, TIME_COLUMN, Schema
from pipeline.sql_extracts import groups_of

#: The column that holds the path of the file, whatever the pattern.
FILE_COLUMN: Final = "file"
#: The column that holds the byte at which the record begins in its file, with patterns that have no such key.
PLACE_COLUMN: Final = "place"
_OWN_STREAMS: Final[Mapping[str, tuple[str, Schema]]] = {
    "access": ("access_log", ACCESS_LOG),
    "syslog": ("syslog", SYSLOG),
    "text": ("job_logs", JOB_LOGS),
}


def stream_of(entry: LogsConfig) -> str:
    """The stream that it feeds: the named one, or the pattern's own."""
    return entry.stream or _OWN_STREAMS[entry.pattern][0]


def of_the_file(entry: LogsConfig, columns: Schema) -> frozenset[str]:
    """Those of the wanted columns that say where a record stands, which no pattern needs to give.

    Raises:
        SourceError: `place` is of another type.
    """
    found = {FILE_COLUMN} & columns.keys()
    has_place = entry.pattern == "text" or (entry.pattern == "regex" and PLACE_COLUMN not in groups_of(entry.regex))
    if has_place and PLACE_COLUMN in columns:
        if columns[PLACE_COLUMN] != "int64":
            where = f"logs source for {stream_of(entry)!r}"
            raise SourceError(f"{where}: place is declared as {columns[PLACE_COLUMN]}; it is a count of bytes: int64")
        found.add(PLACE_COLUMN)
    return frozenset(found)


def pattern_of(entry: LogsConfig, columns: Schema) -> Pattern:
    """The pattern that gives `columns`: those wanted of the stream but for ts, host and what is `of_the_file`.

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
        case "text":
            _check(entry, columns, {"text": "string"})
            return TextPattern()
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
