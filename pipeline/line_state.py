"""The states of first_lines(x[, place]) and last_lines(x[, place]): the oldest or the newest texts of each group.

A state is small whatever it has seen (line_rule.py says which lines are kept), and it says how many texts and bytes
it has seen, so that readers know whether what they read is all there was. NULLs are no lines.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from typing import ClassVar, Final, Self

import numpy as np
import polars as pl

from pipeline import line_bodies
from pipeline.errors import StateError
from pipeline.grouping import Grouping
from pipeline.line_bodies import ByteArray, Parts, slices, text_bytes
from pipeline.line_rule import FIRST, LAST, MAX_TEXT_BYTES, Rule, cost_before, cut_texts, kept
from pipeline.ragged import Column, Columns, Ragged, lists, plain
from pipeline.state import Described, IntArray, State

# A state of more says nothing that adds up.
_MOST_SEEN: Final = 2**62


@dataclass(frozen=True, slots=True)
class KeptLine:
    """One line: its time, its place among those of one time (bytes into its file, or 0), and its text, maybe cut."""

    ts_ns: int
    place: int
    text: str


@dataclass(frozen=True, slots=True)
class LinesState(State):
    """Kept lines of n groups.

    Attributes:
        n, seen_bytes: int64[n], how many texts were seen, and their bytes before any cut.
        counts: int64[n], how many lines are kept.
        times, places, lengths: int64[sum of counts]; by group, in order of (time, place, text). Lengths are bytes.
        text: uint8[sum of lengths], UTF-8.
    """

    n: IntArray
    seen_bytes: IntArray
    counts: IntArray
    times: IntArray
    places: IntArray
    lengths: IntArray
    text: ByteArray

    rule: ClassVar[Rule]

    def __len__(self) -> int:
        return self.n.size

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        arrays = (self.n, self.seen_bytes, self.counts, self.times, self.places, self.lengths, self.text)
        return sum(array.nbytes for array in arrays)

    def seen(self, i: int) -> tuple[int, int]:
        """(texts seen by group i, their bytes)."""
        return int(self.n[i]), int(self.seen_bytes[i])

    def lines(self, i: int) -> list[KeptLine]:
        """The kept lines of group i, oldest first; of all groups, `each` gives them faster."""
        first = int(self.counts[:i].sum())
        here = slice(first, first + int(self.counts[i]))
        at = int(self.lengths[:first].sum())
        text = self.text[at : at + int(self.lengths[here].sum())].tobytes()
        return list(_lines(self.times[here], self.places[here], self.lengths[here], text))

    def each(self) -> Iterator[list[KeptLine]]:
        """The kept lines of one group after the other, oldest first."""
        lines = _lines(self.times, self.places, self.lengths, self.text.tobytes())
        for count in self.counts.tolist():
            yield list(islice(lines, count))

    def at_most(self, lines: int) -> Self:
        """The same with no more than so many lines of each group, from the end that is kept; only to be read."""
        counts = np.minimum(self.counts, lines)
        ends = np.cumsum(self.counts)
        firsts = ends - counts if self.rule.newest else ends - self.counts
        return self._picked(self.n, self.seen_bytes, counts, _ranges(firsts, counts))

    @classmethod
    def from_lines(cls, texts: pl.Series, times: IntArray, places: pl.Series | None, groups: Grouping) -> Self:
        """One state per group from one text, time and place per row; a NULL place is 0."""
        codes = groups.codes
        if texts.null_count():
            here = texts.is_not_null()
            mask = here.to_numpy()
            codes, times, texts = codes[mask], times[mask], texts.filter(here)
            places = None if places is None else places.filter(here)
        whole, lengths, at = cut_texts(texts)
        n = np.bincount(codes, minlength=groups.n_groups).astype(np.int64, copy=False)
        placed = np.zeros(codes.size, np.int64) if places is None else places.fill_null(0).to_numpy()
        order = kept(cls.rule, codes, times, placed, lengths, at)
        return cls(
            n,
            _added(whole, codes, groups.n_groups),
            np.bincount(codes[order], minlength=groups.n_groups).astype(np.int64, copy=False),
            times[order],
            placed[order],
            lengths[order],
            np.frombuffer(b"".join(at(order)), np.uint8),
        )

    def take(self, indices: IntArray) -> Self:
        counts = self.counts[indices]
        firsts = (np.cumsum(self.counts) - self.counts)[indices]
        return self._picked(self.n[indices], self.seen_bytes[indices], counts, _ranges(firsts, counts))

    @classmethod
    def _joined(cls, states: Sequence[State]) -> Self:
        parts = [state for state in states if isinstance(state, cls)]
        if len(parts) != len(states) or not parts:
            seen = sorted({type(state).__name__ for state in states}) or "nothing"
            raise StateError(
                f"cannot put {seen} together as {cls.__name__}; states of one aggregate only, at least one"
            )
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def reduce(self, groups: IntArray, n_groups: int) -> Self:
        codes = np.repeat(groups, self.counts)
        starts = np.cumsum(self.lengths) - self.lengths
        view = self.text.data

        def texts(places: IntArray) -> list[bytes]:
            spans = zip(starts[places].tolist(), self.lengths[places].tolist(), strict=True)
            return [bytes(view[at : at + length]) for at, length in spans]

        order = kept(self.rule, codes, self.times, self.places, self.lengths, texts)
        counts = np.bincount(codes[order], minlength=n_groups).astype(np.int64, copy=False)
        return self._picked(_added(self.n, groups, n_groups), _added(self.seen_bytes, groups, n_groups), counts, order)

    def _picked(self, n: IntArray, seen_bytes: IntArray, counts: IntArray, order: IntArray) -> Self:
        """The lines at these places of what is here."""
        ends = np.cumsum(self.lengths)
        text = slices(self.text, (ends - self.lengths)[order], ends[order])
        return type(self)(n, seen_bytes, counts, self.times[order], self.places[order], self.lengths[order], text)

    @staticmethod
    def columns(metric: Described, prefix: str) -> dict[str, pl.DataType]:  # noqa: ARG004
        numbers = dict.fromkeys((f"{prefix}.n", f"{prefix}.bytes"), pl.Int64())
        of_lines = dict.fromkeys((f"{prefix}.times", f"{prefix}.places", f"{prefix}.lengths"), pl.List(pl.Int64()))
        return {**numbers, **of_lines, f"{prefix}.text": pl.Binary()}

    def to_columns(self, prefix: str) -> dict[str, Column]:
        """Times and places are steps from the line before; the first of a group is whole."""
        ends = np.cumsum(text_bytes(self.counts, self.lengths)).tolist()
        data, starts = self.text.tobytes(), [0, *ends[:-1]] if ends else []
        texts = [data[start:end] for start, end in zip(starts, ends, strict=True)]
        return {
            f"{prefix}.n": pl.Series(f"{prefix}.n", self.n, dtype=pl.Int64),
            f"{prefix}.bytes": pl.Series(f"{prefix}.bytes", self.seen_bytes, dtype=pl.Int64),
            f"{prefix}.times": Ragged(self.counts, _steps(self.times, self.counts)),
            f"{prefix}.places": Ragged(self.counts, _steps(self.places, self.counts)),
            f"{prefix}.lengths": Ragged(self.counts, self.lengths),
            f"{prefix}.text": pl.Series(f"{prefix}.text", texts, dtype=pl.Binary),
        }

    @classmethod
    def from_columns(cls, metric: Described, prefix: str, columns: Columns) -> Self:  # noqa: ARG003
        n, seen_bytes, text = (plain(columns, f"{prefix}.{part}") for part in ("n", "bytes", "text"))
        times, places, lengths = (lists(columns, f"{prefix}.{part}") for part in ("times", "places", "lengths"))
        if any(column.null_count() for column in (n, seen_bytes, text)):
            raise StateError(f"{prefix}: a part of kept lines is missing; drop the frame and send it again")
        counts = lengths.lengths
        if not all(np.array_equal(counts, other.lengths) for other in (times, places)):
            raise StateError(f"{prefix}: a line has no time, place or length; drop the frame and send it again")
        if not np.array_equal(text_bytes(counts, lengths.wide), text.bin.size().to_numpy()):
            raise StateError(f"{prefix}: texts are not as long as their lines say; drop the frame and send it again")
        joined = np.frombuffer(b"".join(text.to_list()), np.uint8)
        return cls._checked(
            prefix,
            Parts(
                n.to_numpy(), seen_bytes.to_numpy(), counts, _summed(times.wide, counts), _summed(places.wide, counts),
                lengths.wide, joined,
            ),
        )  # fmt: skip

    def to_bodies(self) -> tuple[bytes, IntArray]:
        return line_bodies.encode(
            self.rule.function,
            Parts(self.n, self.seen_bytes, self.counts, self.times, self.places, self.lengths, self.text),
        )

    @classmethod
    def from_bodies(cls, metric: Described, buffer: bytes | memoryview, lengths: IntArray) -> Self:  # noqa: ARG003
        return cls._checked(cls.rule.function, line_bodies.decode(cls.rule.function, buffer, lengths))

    @classmethod
    def _checked(cls, name: str, parts: Parts) -> Self:
        wrong = _fault(cls.rule, parts)
        if wrong:
            raise StateError(f"{name}: {wrong}; the bytes are damaged")
        return cls(parts.n, parts.seen_bytes, parts.counts, parts.times, parts.places, parts.lengths, parts.text)

    def answers(self) -> list[int | float | None]:
        """How many texts were seen."""
        return list(self.n.tolist())


@dataclass(frozen=True, slots=True)
class FirstLinesState(LinesState):
    """The oldest lines."""

    rule: ClassVar[Rule] = FIRST

    @staticmethod
    def concat(states: Sequence[State]) -> "FirstLinesState":
        return FirstLinesState._joined(states)


@dataclass(frozen=True, slots=True)
class LastLinesState(LinesState):
    """The newest lines."""

    rule: ClassVar[Rule] = LAST

    @staticmethod
    def concat(states: Sequence[State]) -> "LastLinesState":
        return LastLinesState._joined(states)


def _lines(times: IntArray, places: IntArray, lengths: IntArray, text: bytes) -> Iterator[KeptLine]:
    at = 0
    for time, place, length in zip(times.tolist(), places.tolist(), lengths.tolist(), strict=True):
        yield KeptLine(time, place, text[at : at + length].decode())
        at += length


def _added(amounts: IntArray, groups: IntArray, n_groups: int) -> IntArray:
    total = np.zeros(n_groups, np.int64)
    np.add.at(total, groups, amounts)
    return total


def _firsts(counts: IntArray) -> IntArray:
    """Where the lines of each group that has some begin."""
    return (np.cumsum(counts) - counts)[counts > 0]


def _ranges(firsts: IntArray, counts: IntArray) -> IntArray:
    """firsts[i], firsts[i] + 1, ... counts[i] of them, one range behind the other."""
    places: IntArray = np.arange(int(counts.sum())) + np.repeat(firsts - (np.cumsum(counts) - counts), counts)
    return places


def _steps(values: IntArray, counts: IntArray) -> IntArray:
    """The first of each group, and what is added from each to the next; wraps around, as `_summed` does back."""
    steps = np.diff(values, prepend=np.int64(0))
    firsts = _firsts(counts)
    steps[firsts] = values[firsts]
    return steps


def _summed(steps: IntArray, counts: IntArray) -> IntArray:
    """The values of which `_steps` are the steps."""
    sums = np.cumsum(steps)
    firsts = _firsts(counts)
    return sums - np.repeat(sums[firsts] - steps[firsts], counts[counts > 0])


def _fault(rule: Rule, parts: Parts) -> str:
    """What no state of the rule looks like, in words; empty where all holds."""
    n, seen, counts, lengths = parts.n, parts.seen_bytes, parts.counts, parts.lengths
    if np.any((n < 0) | (n > _MOST_SEEN) | (seen < 0) | (seen > _MOST_SEEN)):
        return "a number of texts or bytes seen is negative or beyond all bounds"
    if np.any((lengths < 0) | (lengths > MAX_TEXT_BYTES)):
        return f"a text has {lengths.min()} to {lengths.max()} bytes, which is not 0 to {MAX_TEXT_BYTES}"
    if np.any((counts > n) | ((counts == 0) & (n > 0)) | (text_bytes(counts, lengths) > seen)):
        return "more lines are kept than were seen, or none of some"
    return _text_fault(parts) or _order_fault(rule, parts)


def _text_fault(parts: Parts) -> str:
    try:
        parts.text.tobytes().decode()
    except UnicodeDecodeError as error:
        return f"a text is not UTF-8 ({error.reason})"
    starts = (np.cumsum(parts.lengths) - parts.lengths)[parts.lengths > 0]
    if np.any(parts.text[starts] & 0b1100_0000 == 0b1000_0000):
        return "a text begins inside a character"
    return ""


def _order_fault(rule: Rule, parts: Parts) -> str:
    """Whether merging the lines with nothing would change them."""
    codes = np.repeat(np.arange(parts.n.size), parts.counts)
    same = codes[1:] == codes[:-1]
    steps, place_steps = _compared(parts.times), _compared(parts.places)
    ties = np.flatnonzero(same & (steps == 0) & (place_steps == 0))
    if np.any(same & ((steps < 0) | ((steps == 0) & (place_steps < 0)))):
        return "lines are out of order"
    ends = np.cumsum(parts.lengths)
    view = parts.text.data
    for at in ties.tolist():
        start, middle, end = int(ends[at]) - int(parts.lengths[at]), int(ends[at]), int(ends[at + 1])
        if bytes(view[start:middle]) > bytes(view[middle:end]):
            return "lines of one time and place are out of order"
    if rule.newest:
        before = cost_before(parts.lengths[::-1], parts.counts[::-1])
    else:
        before = cost_before(parts.lengths, parts.counts)
    if np.any(before >= rule.enough_bytes):
        return f"more lines are kept than are enough ({rule.enough_bytes} bytes)"
    return ""


def _compared(values: IntArray) -> IntArray:
    """-1, 0 or 1 from each to the next; a difference might not fit."""
    return (values[1:] > values[:-1]).astype(np.int64) - (values[1:] < values[:-1])
