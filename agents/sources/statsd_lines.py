"""StatsD and DogStatsD lines as columns, without a Python object per line.

    NAME:VALUE[:VALUE...]|TYPE[|@RATE][|#TAG,KEY:VALUE,...][|cCONTAINER][|TSECONDS]

A line is taken apart by the places of its bars and colons, which are found for a whole block at once. What stands
between them becomes text and numbers by Polars. Each value is a row. Nothing is known here of what came before: rates
become weights, and steps of gauges become readings, in statsd_values.py.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from agents.sources.bad_input import BadInput
from agents.sources.logs_lines import Bools, Ints, Records, broken_in, cut_out, is_text

#: The kinds by their number in `Lines.kinds`.
KINDS: Final = ("counter", "gauge", "timer", "histogram", "distribution")
COUNTER, GAUGE, TIMER, HISTOGRAM, DISTRIBUTION = range(len(KINDS))
LONGEST_NAME: Final = 255
LONGEST_TAG: Final = 255
#: A line of this rate stands for as many values as a sketch takes at once, 2**32.
LEAST_RATE: Final = 2.0**-32
#: No value is beyond it, so that nothing that is made of it is infinite.
LARGEST: Final = 1e290

_SET: Final = len(KINDS)
_UNKNOWN: Final = _SET + 1
_ONE_LETTER: Final = {"c": COUNTER, "g": GAUGE, "h": HISTOGRAM, "d": DISTRIBUTION, "s": _SET}
_LETTERS: Final = np.array([_ONE_LETTER.get(chr(octet), _UNKNOWN) for octet in range(256)])
_MS: Final = int.from_bytes(b"ms", "little")
# What begins so is no metric: its first bytes, as a word has them.
_IGNORED: Final = (
    ("events", np.uint64(int.from_bytes(b"_e{", "little")), np.uint64(0xFFFFFF)),
    ("service_checks", np.uint64(int.from_bytes(b"_sc|", "little")), np.uint64(0xFFFFFFFF)),
)
_BYTES_1, _BYTES_2 = np.uint64(0xFF), np.uint64(0xFFFF)
_FIRST_PRINTABLE: Final = 32
_DELETE: Final = 127
_NEWLINE: Final = 10
# Of one batch, so many different texts of tags are looked into for names that are not declared.
_LOOKED_AT: Final = 20
_NAMES_KEPT: Final = 200
_SHOWN_CHARACTERS: Final = 60


@dataclass(frozen=True, slots=True)
class Lines:
    """One entry per value, in order.

    Attributes:
        which: the number of its record.
        names: without NULL.
        kinds: places in KINDS.
        values: at most LARGEST, whatever their sign.
        signed: whether a sign stands before the value.
        rates: in (0, 1]; 1 where there is none.
        tags: what stands behind `#`, NULL where there is none.
        times_s: whole seconds since 1970, NULL where there are none.
    """

    which: Ints
    names: pl.Series
    kinds: Ints
    values: pl.Series
    signed: Bools
    rates: pl.Series
    tags: pl.Series
    times_s: pl.Series


def taken_apart(records: Records, bad: BadInput, ignored: Counter[str]) -> Lines:
    """All that can be used; the rest is counted, by line or by value. Events and service checks are `ignored`."""
    numbers = np.arange(len(records))
    wholesome = _wholesome(records, bad)
    if not wholesome.all():
        records, numbers = records.of(wholesome), numbers[wholesome]
    for reason, sign, mask in _IGNORED:
        found = records.words[records.starts] & mask == sign
        if found.any():
            ignored[reason] += int(found.sum())
            records, numbers = records.of(~found), numbers[~found]
    bars, colons = _places(records, "|"), _places(records, ":")
    first_bar = np.searchsorted(bars, records.starts)
    bar_count = np.searchsorted(bars, records.ends) - first_bar
    bar = np.where(bar_count > 0, bars[first_bar], records.ends)
    first_colon = np.searchsorted(colons, records.starts)
    value_count = np.searchsorted(colons, bar) - first_colon
    name_ends = np.where(value_count > 0, colons[first_colon], records.starts)
    kinds = _kinds(records, bar, np.where(bar_count > 1, bars[first_bar + 1], records.ends))
    lengths = name_ends - records.starts
    good = (lengths > 0) & (lengths <= LONGEST_NAME) & (bar_count > 0) & (kinds != _UNKNOWN)
    if not good.all():
        bad.add("malformed", records.example(int(np.argmin(good))), int((~good).sum()))
    sets = good & (kinds == _SET)
    if sets.any():
        bad.add("sets", records.example(int(np.argmax(sets))), int(sets.sum()))
        good &= ~sets
    if not good.all():
        records, numbers, kinds = records.of(good), numbers[good], kinds[good]
        first_bar, bar_count, bar = first_bar[good], bar_count[good], bar[good]
        first_colon, value_count, name_ends = first_colon[good], value_count[good], name_ends[good]
    extras = _Extras(records, bars, first_bar + 1, bar_count - 1)
    rates = _rates(extras, bad)
    names = cut_out(records, records.starts, name_ends)
    columns = pl.DataFrame({"names": names, "tags": extras.texts("#"), "times_s": extras.texts("T"), "rates": rates})
    owner, place = _spread(first_colon, value_count)
    begins = colons[place] + 1
    last = np.cumsum(value_count) - 1
    ends = colons[place + 1] if place.size else place
    ends[last] = bar
    if owner.size > len(records):
        columns, kinds, numbers = columns[owner], kinds[owner], numbers[owner]
    values = cut_out(records, begins, ends).cast(pl.Float64, strict=False)
    signs = records.octets[begins]
    usable = (values.abs() <= LARGEST).fill_null(value=False)
    kept = (usable & columns["rates"].is_not_null()).to_numpy()
    if not kept.all():
        wrong = ~usable.to_numpy()
        example = records.example(int(owner[int(np.argmax(wrong))])) if wrong.any() else b""
        bad.add("bad_values", example, int(wrong.sum()))
        columns, values, kinds, numbers, signs = (
            columns.filter(kept), values.filter(kept), kinds[kept], numbers[kept], signs[kept],
        )  # fmt: skip
    return Lines(
        numbers, columns["names"], kinds, values, (signs == ord("+")) | (signs == ord("-")),
        columns["rates"], columns["tags"], columns["times_s"].cast(pl.Int64, strict=False),
    )  # fmt: skip


class TagColumns:
    """The tags that are declared as columns, and the names of those that are not."""

    def __init__(self, columns: Sequence[str]) -> None:
        """In a column's name `_` stands for any sign but letters and digits in the tag's."""
        self.undeclared: Counter[str] = Counter()
        self._columns = tuple(columns)
        self._expressions = [
            pl.col("tags").str.extract(rf"(?:^|,){_loosely(name)}:([^,]{{1,{LONGEST_TAG}}})(?:,|$)").alias(name)
            for name in columns
        ]
        self._known = re.compile("|".join(map(_loosely, columns)) or r"(?!)")

    def read(self, tags: pl.Series) -> pl.DataFrame:
        """The columns, NULL where a line has no such tag, it has no value, or one of more than LONGEST_TAG characters.

        Lines repeat their tags, so mostly only a few different ones are looked into.
        """
        tags = tags.alias("tags")
        different = tags.unique()
        self._note(different)
        if not self._columns:
            return pl.DataFrame(height=tags.len())
        if 2 * different.len() > tags.len():
            return tags.to_frame().select(self._expressions)
        known = different.to_frame().with_columns(self._expressions)
        joined = tags.to_frame().join(known, on="tags", how="left", maintain_order="left")
        return joined.select(self._columns)

    def _note(self, tags: pl.Series) -> None:
        """Remember names that are not declared, from a few of many lines."""
        for text in tags.head(_LOOKED_AT).to_list():
            for tag in (text or "").split(",")[:_LOOKED_AT]:
                name = tag.partition(":")[0][:_SHOWN_CHARACTERS]
                if name and not self._known.fullmatch(name):
                    self.undeclared[name] += 1
        if len(self.undeclared) > _NAMES_KEPT:
            self.undeclared = Counter(dict(self.undeclared.most_common(_NAMES_KEPT // 2)))


class _Extras:
    """The fields behind the type: which record each belongs to, its first sign, and where it stands."""

    def __init__(self, records: Records, bars: Ints, first: Ints, count: Ints) -> None:
        self._records = records
        self._owner, place = _spread(first, count)
        self._begins = bars[place] + 1
        ends = bars[place + 1]
        filled = count > 0
        ends[(np.cumsum(count) - 1)[filled]] = records.ends[filled]
        self._ends = ends
        self._signs = records.octets[self._begins]

    def texts(self, sign: str) -> pl.Series:
        """Of each record what follows that sign, NULL where it is not there; the last one where it is there twice."""
        begins = np.zeros(len(self._records), np.int64)
        ends, there = begins.copy(), begins.astype(np.bool_)
        mine = (self._signs == ord(sign)) & (self._ends > self._begins)
        owner = self._owner[mine]
        begins[owner], ends[owner], there[owner] = self._begins[mine] + 1, self._ends[mine], True
        if not owner.size:
            return pl.Series([None], dtype=pl.String).new_from_index(0, len(self._records))
        return cut_out(self._records, begins, ends, there)

    def example(self, which: int) -> bytes:
        """The line of one record."""
        return self._records.example(which)


def _wholesome(records: Records, bad: BadInput) -> Bools:
    """Records of UTF-8 without control characters: those can be in no name, and some databases refuse them."""
    good = np.ones(len(records), np.bool_)
    octets = records.octets[: records.ends[-1] if len(records) else 0]
    control = np.flatnonzero((octets < _FIRST_PRINTABLE) | (octets == _DELETE))
    control = control[octets[control] != _NEWLINE]
    if control.size:
        owner = np.searchsorted(records.starts, control, "right") - 1
        inside = control < records.ends[owner]  # else it is a carriage return before a line's end
        owner = np.unique(owner[inside])
        good[owner] = False
        if owner.size:
            bad.add("malformed", records.example(int(owner[0])), owner.size)
    if not is_text(records.data):
        broken = [which for which in broken_in(records) if good[which]]
        good[broken] = False
        if broken:
            bad.add("bad_utf8", records.example(broken[0]), len(broken))
    return good


def _places(records: Records, sign: str) -> Ints:
    """Where it stands in the block, and behind the last one two places more, which belong to nobody."""
    return np.append(np.flatnonzero(records.octets == ord(sign)), [len(records.data) - 32] * 2)


def _kinds(records: Records, bar: Ints, end: Ints) -> Ints:
    """What stands behind each bar up to `end`, as a place in KINDS, or _SET or _UNKNOWN."""
    words = records.words[bar + 1]
    length = end - bar - 1
    kinds = np.where(length == 1, _LETTERS[(words & _BYTES_1).astype(np.int64)], _UNKNOWN)
    kinds[(length == len("ms")) & (words & _BYTES_2 == _MS)] = TIMER
    return kinds


def _rates(extras: _Extras, bad: BadInput) -> pl.Series:
    """Of each record; NULL where it is none, and counted."""
    texts = extras.texts("@")
    if texts.null_count() == texts.len():
        return pl.Series([1.0]).new_from_index(0, texts.len())
    rates = texts.cast(pl.Float64, strict=False)
    usable = rates.is_between(LEAST_RATE, 1.0).fill_null(value=False)
    wrong = ~usable & texts.is_not_null()
    if wrong.any():
        bad.add("bad_rate", extras.example(int(wrong.arg_max() or 0)), int(wrong.sum()))
    return pl.select(pl.when(usable).then(rates).when(texts.is_null()).then(1.0)).to_series()


def _spread(first: Ints, count: Ints) -> tuple[Ints, Ints]:
    """For each record i, count[i] places from first[i] on: whose they are, and the places."""
    owner = np.repeat(np.arange(count.size), count)
    before = np.cumsum(count) - count
    return owner, first[owner] + np.arange(owner.size) - before[owner]


def _loosely(column: str) -> str:
    return re.escape(column).replace("_", "[^A-Za-z0-9,:|]")
