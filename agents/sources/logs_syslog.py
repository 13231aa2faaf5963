"""The pattern `syslog`: the three forms in which syslog daemons write files.

    Nov 22 10:00:00 web1 sshd[812]: message                                      RFC 3164, perhaps with <PRI> before
    2026-11-22T10:00:00.123456+01:00 web1 sshd[812]: message                     the same with a full time
    <34>1 2026-11-22T09:00:00.003Z web1 su - ID47 [data] message                 RFC 5424

The year that the first form leaves out is the latest in which the time is at most a day ahead; its zone is the
source's. Facility and severity are known only where <PRI> stands. The host that a line names is the column `sender`.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import polars as pl

from agents.sources.logs_columns import typed
from agents.sources.logs_lines import Bools, Ints, Records, cut_out
from agents.sources.logs_pattern import Parsed
from agents.sources.logs_times import Zone, iso8601_times, syslog_times
from pipeline.schema import TIME_COLUMN

FACILITIES: Final = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
)  # fmt: skip
SEVERITIES: Final = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")

# Other scripts have digits, too, which are no number to a cast: \d would take them.
_PRIORITY: Final = r"^<([0-9]{1,3})>(1 )?"
# What stands behind the time: RFC 3164 has a tag with a number in brackets; without a colon all of it is message.
_TAGGED: Final = r"(?s)^ (?P<sender>\S+) (?:(?P<program>[^\s:\[]+)(?:\[(?P<pid>[0-9]*)\])?: ?)?(?P<message>.*)$"
# RFC 5424 has fields, then data in brackets or a dash, then the message, with a byte order mark perhaps.
_FIELDS: Final = (
    r"(?s)^ (?P<sender>\S+) (?P<program>\S+) (?P<pid>\S+) \S+ "
    r'(?:-|(?:\[[^ "\]]+(?: [^= "\]]+="(?:[^"\\]|\\.)*")*\])+)(?: \x{FEFF}?(?P<message>.*))?$'
)


class SyslogPattern:
    """Takes the wanted columns of the stream syslog from records."""

    def __init__(self, wanted: Mapping[str, str], zone: Zone) -> None:
        """`wanted` has the columns with their types."""
        self._wanted = wanted
        self._zone = zone

    def parse(self, records: Records, now_ns: int) -> Parsed:
        """Records that begin with no time in one of the forms are left out."""
        priority, fields, at = _priorities(records)
        times, good, after = iso8601_times(records, at, self._zone)
        good &= after <= records.ends
        if not good.all():
            short, dated = syslog_times(records, at, self._zone, now_ns)
            dated &= ~good & ~fields & (at + 15 <= records.ends)
            times, after, good = np.where(dated, short, times), np.where(dated, at + 15, after), good | dated
        columns: dict[str, pl.Series] = {TIME_COLUMN: pl.Series(times)}
        parts = self._parts(records, after, fields, good)
        if parts is not None:
            good &= parts["sender"].is_not_null().to_numpy()
        bad: dict[str, int] = {}
        for name, kind in self._wanted.items():
            if name == "facility":
                columns[name] = _named(FACILITIES, priority >> 3, priority)
            elif name == "severity":
                columns[name] = _named(SEVERITIES, priority & 7, priority)
            elif parts is not None:
                texts = parts[name]
                if name == "pid":  # RFC 5424 lets it be any word
                    texts = texts.str.extract(r"^([0-9]{1,18})$")
                columns[name], bad[name] = typed(texts, kind)
        return Parsed(pl.DataFrame(columns).filter(pl.Series(good)), good, bad)

    def _parts(self, records: Records, after: Ints, fields: Bools, good: Bools) -> pl.DataFrame | None:
        """Sender, program, pid and message; None where nobody wants any of them."""
        if self._wanted.keys() <= {"facility", "severity"}:
            return None
        rest = cut_out(records, np.where(good, after, 0), np.where(good, records.ends, 0))
        if not fields.any():
            return rest.str.extract_groups(_TAGGED).struct.unnest()
        newer = rest.str.extract_groups(_FIELDS).struct.unnest()
        older = rest.str.extract_groups(_TAGGED).struct.unnest()
        which = pl.Series(fields)
        return pl.select(
            pl.when(which).then(_known(newer[name])).otherwise(older[name]).alias(name) for name in older.columns
        )


def _priorities(records: Records) -> tuple[Ints, Bools, Ints]:
    """The number in <> (-1 where there is none), whether RFC 5424's version follows, and where the time begins."""
    starts = records.starts
    priority = np.full(len(records), -1, np.int64)
    fields = np.zeros(len(records), np.bool_)
    marked = np.flatnonzero(records.octets[starts] == ord("<"))
    if not marked.size:
        return priority, fields, starts
    heads = cut_out(records, starts[marked], np.minimum(starts[marked] + 7, records.ends[marked]))
    found = heads.str.extract_groups(_PRIORITY).struct.unnest()
    number = found.to_series(0).cast(pl.Int64).fill_null(-1)
    known = (number >= 0) & (number < 8 * len(FACILITIES))
    length = pl.select(pl.when(known).then(found.to_series(0).str.len_bytes() + 2).otherwise(0)).to_series()
    newer = (known & found.to_series(1).is_not_null()).to_numpy()
    priority[marked] = np.where(known.to_numpy(), number.to_numpy(), -1)
    fields[marked] = newer
    at = starts.copy()
    at[marked] += length.to_numpy().astype(np.int64) + 2 * newer
    return priority, fields, at


def _named(names: tuple[str, ...], number: Ints, priority: Ints) -> pl.Series:
    """The word for each number, NULL where the record has no priority."""
    places = pl.Series(np.where(priority >= 0, number, 0)).cast(pl.UInt32)
    words = pl.Series(names)[places]
    return pl.select(pl.when(pl.Series(priority >= 0)).then(words)).to_series()


def _known(texts: pl.Series) -> pl.Series:
    """RFC 5424 writes what it does not know as a dash."""
    return pl.select(pl.when(texts != "-").then(texts)).to_series() if texts.name != "sender" else texts
