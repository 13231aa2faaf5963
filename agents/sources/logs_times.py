"""Times as logs write them, read for all records at once: access logs, ISO 8601, syslog's without a year, counts.

Most neighbours in a log have the same second, so what is common to a run of records is read once. Times are ns UTC; a
flag says where there is none. A time without a zone is in the zone that the source was given.
"""

import time
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from agents.sources.logs_lines import Bools, Ints, Octets, Records
from agents.sources.logs_numbers import POWERS_OF_10, digits_at

SECOND_NS: Final = 10**9
DAY_S: Final = 86_400
_QUARTER_S: Final = 900
_ZONES_KEPT: Final = 4096
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_CODES: Final = np.array([int.from_bytes(month.encode(), "big") for month in _MONTHS], np.int64)
_BY_CODE: Final = np.argsort(_MONTH_CODES)
# Years that int64 nanoseconds hold with room at both ends.
_FIRST_YEAR: Final = 1680
_LAST_YEAR: Final = 2260


class Zone:
    """The zone of times that do not name theirs: one of the IANA names, or the host's own."""

    def __init__(self, name: str = "") -> None:
        """Raises zoneinfo.ZoneInfoNotFoundError or ValueError for an unknown name."""
        self._zone = ZoneInfo(name) if name else None
        self._offsets: dict[int, int] = {}

    def utc_s(self, local_s: Ints) -> Ints:
        """Seconds since 1970 UTC; of the hour that a clock shows twice, the first."""
        quarters, which = np.unique(local_s // _QUARTER_S, return_inverse=True)
        offsets = np.array([self._offset_s(quarter * _QUARTER_S) for quarter in quarters.tolist()], np.int64)
        return local_s - (offsets[which] if offsets.size else 0)

    def _offset_s(self, local_s: int) -> int:
        """How far local time is ahead, where clocks show `local_s`; zones change at quarters of an hour only."""
        found = self._offsets.get(local_s)
        if found is None:
            if len(self._offsets) >= _ZONES_KEPT:
                self._offsets.clear()
            shown = datetime.fromtimestamp(local_s, UTC)
            if self._zone is not None:
                offset = shown.replace(tzinfo=self._zone).utcoffset()
                found = 0 if offset is None else round(offset.total_seconds())
            else:
                found = local_s - round(time.mktime((*shown.timetuple()[:8], -1)))
            self._offsets[local_s] = found
        return found


def access_times(records: Records, at: Ints) -> tuple[Ints, Bools]:
    """Of `22/Nov/2026:10:00:00 +0100`, 26 bytes from each place on."""
    firsts, which = _runs(records, at, 26)
    octets, begin = records.octets, at[firsts]
    day, good = _two(octets, begin)
    month, fits = _month(octets, begin + 3)
    year, there = digits_at(records.words, begin + 7)
    seconds, right = _clock(octets, begin + 12)
    offset_s, zoned = _offset(octets, begin + 21, begin + 24)
    days, real = _days(year, month, day)
    good &= fits & (there == 4) & right & zoned & real
    for place, sign in ((2, "/"), (6, "/"), (11, ":"), (20, " ")):
        good &= octets[begin + place] == ord(sign)
    found = (days * DAY_S + seconds - offset_s) * SECOND_NS
    return np.where(good, found, 0)[which], good[which]


def iso8601_times(records: Records, at: Ints, zone: Zone) -> tuple[Ints, Bools, Ints]:
    """Of `2026-11-22T10:00:00.123456Z`, with T or a blank, point or comma, Z, +01:00, +0100, +01 or no zone.

    The third result is the place behind the time.
    """
    firsts, which = _runs(records, at, 19)
    octets, begin = records.octets, at[firsts]
    year, there = digits_at(records.words, begin)
    month, fits = _two(octets, begin + 5)
    day, sits = _two(octets, begin + 8)
    seconds, right = _clock(octets, begin + 11)
    days, real = _days(year, month, day)
    between = octets[begin + 10]
    good = (there == 4) & fits & sits & right & real & np.isin(between, [ord("T"), ord("t"), ord(" ")])
    for place in (4, 7):
        good &= octets[begin + place] == ord("-")
    local_s, good = np.where(good, days * DAY_S + seconds, 0)[which], good[which]
    part_ns, after = _fraction(records, at + 19)
    offset_s, zoned, after = _zone_at(octets, after)
    utc_s = local_s - offset_s
    bare = ~zoned & good
    if bare.any():
        utc_s[bare] = zone.utc_s(local_s[bare])
    return np.where(good, utc_s * SECOND_NS + part_ns, 0), good, after


def syslog_times(records: Records, at: Ints, zone: Zone, now_ns: int) -> tuple[Ints, Bools]:
    """Of `Nov 22 10:00:00` or `Nov  2 10:00:00`, 15 bytes, in the latest year in which it is at most a day ahead."""
    firsts, which = _runs(records, at, 15)
    octets, begin = records.octets, at[firsts]
    month, fits = _month(octets, begin)
    tens, ones = octets[begin + 4].astype(np.int64) - 48, octets[begin + 5].astype(np.int64) - 48
    tens = np.where(tens == ord(" ") - 48, 0, tens)
    seconds, right = _clock(octets, begin + 7)
    good = fits & right & (tens >= 0) & (tens <= 3) & (ones >= 0) & (ones <= 9)
    for place in (3, 6):
        good &= octets[begin + place] == ord(" ")
    now_s = now_ns // SECOND_NS
    this_year = datetime.fromtimestamp(now_s, UTC).year
    found, dated = np.zeros(begin.size, np.int64), np.zeros(begin.size, np.bool_)
    for year in range(this_year - 8, this_year + 2):  # up to a leap year back; the latest that fits stays
        days, real = _days(np.full(begin.size, year), month, tens * 10 + ones)
        usable = good & real
        utc_s = zone.utc_s(np.where(usable, days * DAY_S + seconds, 0))
        usable &= utc_s <= now_s + DAY_S
        found, dated = np.where(usable, utc_s, found), dated | usable
    return (found * SECOND_NS)[which], dated[which]


def counted_times(records: Records, unit_ns: int) -> tuple[Ints, Bools]:
    """Of records that are nothing but a number such as 1795000000.25, which counts units since 1970."""
    whole, digits = digits_at(records.words, records.starts)
    after = records.starts + digits
    unit_digits = len(str(unit_ns)) - 1
    pointed = records.octets[after] == ord(".")
    part, places = digits_at(records.words, after + 1)
    places = np.where(pointed, places, 0)
    kept = np.minimum(np.minimum(places, unit_digits), 18)
    part = np.where(places > 0, part, 0) // POWERS_OF_10[np.minimum(places, 18) - kept]
    good = (digits > 0) & (places <= 18) & (after + pointed + places == records.ends)
    good &= (digits <= 18) & (whole <= (2**63 - 1) // unit_ns - 1)
    whole, part = np.where(good, whole, 0), np.where(good, part, 0)
    return whole * unit_ns + part * POWERS_OF_10[unit_digits - kept], good


def _runs(records: Records, at: Ints, length: int) -> tuple[Ints, Ints]:
    """Which records begin a run of equal `length` bytes at their places, and the run of each record."""
    new = np.zeros(at.size, np.bool_)
    new[:1] = True
    for step in (*range(0, length - 7, 8), length - 8):
        words = records.words[at + step]
        new[1:] |= words[1:] != words[:-1]
    return np.flatnonzero(new), np.cumsum(new) - 1


def _two(octets: Octets, at: Ints) -> tuple[Ints, Bools]:
    tens, ones = octets[at].astype(np.int64) - 48, octets[at + 1].astype(np.int64) - 48
    return tens * 10 + ones, (tens >= 0) & (tens <= 9) & (ones >= 0) & (ones <= 9)


def _month(octets: Octets, at: Ints) -> tuple[Ints, Bools]:
    codes = (octets[at].astype(np.int64) << 16) | (octets[at + 1].astype(np.int64) << 8) | octets[at + 2]
    place = np.minimum(np.searchsorted(_MONTH_CODES, codes, sorter=_BY_CODE), 11)
    month = _BY_CODE[place]
    return month + 1, _MONTH_CODES[month] == codes


def _clock(octets: Octets, at: Ints) -> tuple[Ints, Bools]:
    """Seconds since midnight of hh:mm:ss; a leap second is the first of the next minute."""
    hour, good = _two(octets, at)
    minute, fits = _two(octets, at + 3)
    second, sits = _two(octets, at + 6)
    good &= fits & sits & (octets[at + 2] == ord(":")) & (octets[at + 5] == ord(":"))
    return hour * 3600 + minute * 60 + second, good & (hour <= 23) & (minute <= 59) & (second <= 60)


def _offset(octets: Octets, at: Ints, minutes_at: Ints) -> tuple[Ints, Bools]:
    """A sign and hours at `at`, minutes at `minutes_at`: seconds ahead of UTC."""
    sign = octets[at]
    hours, good = _two(octets, at + 1)
    minutes, fits = _two(octets, minutes_at)
    good &= fits & (hours <= 23) & (minutes <= 59) & ((sign == ord("+")) | (sign == ord("-")))
    ahead_s = hours * 3600 + minutes * 60
    return np.where(good, np.where(sign == ord("-"), -ahead_s, ahead_s), 0), good


def _days(year: Ints, month: Ints, day: Ints) -> tuple[Ints, Bools]:
    """Days since 1970, and whether there is such a day."""
    good = (year >= _FIRST_YEAR) & (year <= _LAST_YEAR) & (month >= 1) & (month <= 12)
    months = np.where(good, (year - 1970) * 12 + month - 1, 0)
    first, after = (_first_day(months + step) for step in (0, 1))
    good &= (day >= 1) & (day <= after - first)
    return np.where(good, first + day - 1, 0), good


def _first_day(months: Ints) -> Ints:
    return months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)


def _fraction(records: Records, at: Ints) -> tuple[Ints, Ints]:
    """Nanoseconds behind a point or a comma, 0 where there is none, and the place behind."""
    sign = records.octets[at]
    part, places = digits_at(records.words, at + 1)
    there = ((sign == ord(".")) | (sign == ord(","))) & (places > 0) & (places <= 18)
    kept = np.where(there, places, 0)
    scaled = np.where(there, part, 0) // POWERS_OF_10[np.maximum(kept - 9, 0)] * POWERS_OF_10[np.maximum(9 - kept, 0)]
    return scaled, np.where(there, at + 1 + kept, at)


def _zone_at(octets: Octets, at: Ints) -> tuple[Ints, Bools, Ints]:
    """Seconds ahead of UTC, whether a zone stands there, and the place behind it."""
    blank = (octets[at] == ord(" ")) & ((octets[at + 1] == ord("+")) | (octets[at + 1] == ord("-")))
    begin = at + blank
    utc = (octets[begin] == ord("Z")) | (octets[begin] == ord("z"))
    with_colon, colon = _offset(octets, begin, begin + 4)
    colon &= octets[begin + 3] == ord(":")
    plain, four = _offset(octets, begin, begin + 3)
    hours, two = _two(octets, begin + 1)
    signed = (octets[begin] == ord("+")) | (octets[begin] == ord("-"))
    two &= signed & (hours <= 23)
    short = np.where(octets[begin] == ord("-"), -hours * 3600, hours * 3600)
    offset_s = np.select([utc, colon, four, two], [np.zeros_like(plain), with_colon, plain, short], 0)
    length = np.select([utc, colon, four, two], [1, 6, 5, 3], 0)
    zoned = utc | colon | four | two
    return offset_s, zoned, np.where(zoned, begin + length, at)
