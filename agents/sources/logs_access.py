"""Access logs of nginx and Apache: common or combined lines, and a request time where one follows.

    CLIENT IDENT USER [22/Nov/2026:10:00:00 +0100] "GET /path?query HTTP/1.1" 200 5316 "REFERER" "USER AGENT" 0.123

Fields are found by the quotes, which are few, and read by position: only those that somebody wants. Behind the user
agent may stand further quoted fields, such as nginx' forwarded address; the number behind the last quote, or in a
common line behind the bytes, is the time that the request took, in seconds.
Measured by benchmarks/sources/logs.py: many times as fast as one regular expression.
"""

from typing import Final

import numpy as np
import polars as pl

from agents.sources.logs_lines import Bools, Ints, Records, cut_out, place_of
from agents.sources.logs_numbers import MOST_DIGITS, decimals_at, digits_at
from agents.sources.logs_pattern import Parsed
from agents.sources.logs_times import access_times
from pipeline.schema import TIME_COLUMN

_QUOTE: Final = ord('"')
_BACKSLASH: Final = ord("\\")
_DASH: Final = ord("-")
_SPACE: Final = ord(" ")
# From `[` to the quote: the bracket, 26 bytes of time, a bracket, a blank.
_TIME_BYTES: Final = 29
# A blank, three digits and a blank, as the word behind the quote has them.
_STATUS_SIGNS: Final = np.uint64(0x20_30_30_30_20)
_STATUS_MASK: Final = np.uint64(0xFF_FF_FF_FF_FF)
_OF_TENS: Final = np.uint64(0x10)


class AccessPattern:
    """Takes the wanted columns of the stream access_log from lines."""

    def __init__(self, wanted: frozenset[str]) -> None:
        self._wanted = wanted

    def parse(self, records: Records, now_ns: int) -> Parsed:
        """Lines without a time in brackets, a quoted request, a status and a size are left out."""
        del now_ns
        quotes, first, count = _quotes_of(records)
        request = quotes[first]
        good = (count >= 2) & (request - records.starts >= _TIME_BYTES)
        if not good.all():
            kept = np.flatnonzero(good)
            if not kept.size:
                return Parsed(pl.DataFrame(schema={TIME_COLUMN: pl.Int64}), good)
            records, first, count, request = records.of(kept), first[kept], count[kept], request[kept]
        end = quotes[first + 1]
        times, right = access_times(records, request - _TIME_BYTES + 1)
        octets = records.octets
        right &= octets[request - _TIME_BYTES] == ord("[")
        right &= (octets[request - 2] == ord("]")) & (octets[request - 1] == _SPACE)
        status, usable = _status(records, end)
        right &= usable
        sent, after, usable = _sent(records, end + 6)
        right &= usable
        columns = [pl.Series(TIME_COLUMN, times)]
        if "status" in self._wanted:
            columns.append(pl.Series("status", status))
        if "sent_bytes" in self._wanted:
            columns.append(pl.Series("sent_bytes", sent))
        if "request_s" in self._wanted:
            last = quotes[first + count - 1]
            columns.append(_request_s(records, np.where(count > 2, last + 2, after + 1)))
        columns += self._texts(records, request, end)
        columns += self._agents(records, quotes, first, count)
        rows = pl.DataFrame(columns)
        if not right.all():
            rows = rows.filter(pl.Series(right))
            good[np.flatnonzero(good)[~right]] = False
        return Parsed(rows, good)

    def _texts(self, records: Records, request: Ints, end: Ints) -> list[pl.Series]:
        """Client, method and path; the path is that before `?`. What is no request has neither."""
        found = []
        if "client" in self._wanted:
            blank = place_of(records, _SPACE, records.starts, request)
            found.append(cut_out(records, records.starts, blank, name="client"))
        if not self._wanted.isdisjoint({"method", "path"}):
            first = place_of(records, _SPACE, request + 1, end)
            second = place_of(records, _SPACE, first + 1, end)
            there = first < end
            if "method" in self._wanted:
                found.append(cut_out(records, request + 1, first, there, "method"))
            if "path" in self._wanted:
                query = place_of(records, ord("?"), first + 1, second)
                found.append(cut_out(records, first + 1, query, there, "path"))
        return found

    def _agents(self, records: Records, quotes: Ints, first: Ints, count: Ints) -> list[pl.Series]:
        """Referer and user agent, NULL in common lines and where a dash stands."""
        found = []
        for number, name in ((2, "referer"), (4, "user_agent")):
            if name in self._wanted:
                begin, end = quotes[first + number] + 1, quotes[first + number + 1]
                there = count > number + 1
                there &= ~((end - begin == 1) & (records.octets[np.where(there, begin, 0)] == _DASH))
                found.append(cut_out(records, np.where(there, begin, 0), np.where(there, end, 0), there, name))
        return found


def _quotes_of(records: Records) -> tuple[Ints, Ints, Ints]:
    """The places of all quotes that are not escaped, which is the first of each record, and how many it has."""
    octets = records.octets
    quotes = np.flatnonzero(octets == _QUOTE)
    escaped = np.flatnonzero(octets[quotes - 1] == _BACKSLASH)
    if escaped.size:
        odd = [place for place in escaped.tolist() if _is_escaped(records.data, int(quotes[place]))]
        quotes = np.delete(quotes, odd)
    first = np.searchsorted(quotes, records.starts)
    count = np.searchsorted(quotes, records.ends) - first
    # Behind the last one stand some that belong to nobody, so that looking ahead stays inside.
    return np.append(quotes, np.zeros(8, np.int64)), first, count


def _is_escaped(data: bytes, quote: int) -> bool:
    """Whether an odd number of backslashes stands before it: two are one that was escaped itself."""
    before = quote
    while before > 0 and data[before - 1] == _BACKSLASH:
        before -= 1
    return (quote - before) % 2 == 1


def _status(records: Records, quote: Ints) -> tuple[Ints, Bools]:
    """The three digits behind the request, with a blank on both sides."""
    word = (records.words[quote + 1] & _STATUS_MASK) ^ _STATUS_SIGNS
    hundreds, tens, ones = ((word >> np.uint64(shift)) & np.uint64(0xFF) for shift in (8, 16, 24))
    good = (hundreds <= 9) & (tens <= 9) & (ones <= 9) & ((word & np.uint64(0xFF_00_00_00_FF)) == 0)
    return (hundreds * np.uint64(100) + tens * np.uint64(10) + ones).astype(np.int64), good


def _sent(records: Records, at: Ints) -> tuple[Ints, Ints, Bools]:
    """The bytes sent, what stands behind them, and whether there are any; a dash is how Apache writes 0."""
    sent, digits = digits_at(records.words, at)
    dash = (digits == 0) & (records.octets[at] == _DASH)
    after = at + digits + dash
    ended = (after >= records.ends) | (records.octets[after] == _SPACE)
    return sent, after, (dash | (digits > 0)) & (digits <= MOST_DIGITS) & ended


def _request_s(records: Records, at: Ints) -> pl.Series:
    """Seconds, NULL where there is no number."""
    here = np.minimum(at, records.ends)
    seconds, good, after = decimals_at(records, here)
    ended = (after >= records.ends) | (records.octets[after] == _SPACE)
    there = good & ended & (at < records.ends) & (records.octets[here - 1] == _SPACE)
    found = pl.Series("request_s", seconds)
    return found if there.all() else pl.select(pl.when(pl.Series(there)).then(found).alias("request_s")).to_series()
