"""Which lines first_lines and last_lines keep, so that it is the same however the records were split.

Lines stand in the order of (time, place, text). A line is kept while the lines that come before it, seen from the end
that the aggregate keeps, cost less than enough; so the one with which it becomes enough is kept whole, and nothing is
looked for behind it. Each line costs its bytes and LINE_COST, or lines without text would never be enough.
Why this merges: whoever has only a part of the lines sees fewer before each, and so drops none that counts in the end;
and what counts in the end is enough by itself to drop all that a part has kept beyond it. Taking lines "as long as they
fit" would not merge: a part without the long line that ended the others' list would fill up behind it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import polars as pl

from pipeline.coded import IntArray
from pipeline.grouping import rows_of

# What a line takes beside its text: its time and its place.
LINE_COST: Final = 16
# A longer text is cut, so that a line costs at most 4 KiB.
MAX_TEXT_BYTES: Final = 4_096 - LINE_COST
_CONTINUES: Final = 0b1100_0000, 0b1000_0000  # mask and value of a byte inside a character of UTF-8

# The texts at some positions, in UTF-8.
Texts: TypeAlias = Callable[[IntArray], list[bytes]]


@dataclass(frozen=True, slots=True)
class Rule:
    """What one aggregate keeps: the oldest or the newest lines; together they cost at most `most_bytes`."""

    function: str
    newest: bool
    enough_bytes: int

    @property
    def most_bytes(self) -> int:
        """No group's lines cost more: all but the last cost less than enough."""
        return self.enough_bytes - 1 + LINE_COST + MAX_TEXT_BYTES


FIRST: Final = Rule("first_lines", newest=False, enough_bytes=12 * 1_024)
LAST: Final = Rule("last_lines", newest=True, enough_bytes=4 * 1_024)


def kept(rule: Rule, codes: IntArray, times: IntArray, places: IntArray, lengths: IntArray, texts: Texts) -> IntArray:
    """Positions of the lines that each group keeps, by group, then in the order of lines.

    Args:
        codes, times, places, lengths: int64[m], the group, time, place and bytes of each line.
        texts: is asked only for lines of one group, time and place, and only near those that are kept.
    Cost: a sort of all lines, faster where they are nearly in order.
    """
    if not codes.size:
        return np.empty(0, np.int64)
    if rule.newest:  # the bits turned round turn the order round, of the lowest number too
        times, places = ~times, ~places
    order = np.lexsort((places, times, codes))
    begins = _begins(order, codes)
    ties = ~begins
    ties[1:] &= (times[order[1:]] == times[order[:-1]]) & (places[order[1:]] == places[order[:-1]])
    before = _cost_before(lengths[order], begins)
    if ties.any():
        # All of a tie are near as soon as one may be: which one comes first only their texts tell.
        near = before[_firsts(ties)] < rule.enough_bytes
        order = _by_text(rule, order[near], ties[near], (codes, times, places), texts)
        before = _cost_before(lengths[order], _begins(order, codes))
    order = order[before < rule.enough_bytes]
    if rule.newest:
        order = order[::-1]
        order = order[np.argsort(codes[order], kind="stable")]
    return order


def cut_texts(texts: pl.Series) -> tuple[IntArray, IntArray, Texts]:
    """(bytes of each text as it came, bytes of it that a line keeps, the texts that lines keep); no NULL among them.

    A text is cut before the first character that does not fit.
    """
    whole = texts.str.len_bytes().to_numpy().astype(np.int64)
    lengths = np.minimum(whole, MAX_TEXT_BYTES)
    for place in np.flatnonzero(whole > MAX_TEXT_BYTES).tolist():
        lengths[place] = _cut_at(texts[place].encode())

    def at(places: IntArray) -> list[bytes]:
        found = rows_of(texts, places).to_list() if places.size else []
        return [text.encode()[:length] for text, length in zip(found, lengths[places].tolist(), strict=True)]

    return whole, lengths, at


def cost_before(lengths: IntArray, counts: IntArray) -> IntArray:
    """What the lines before each one of its group cost, given how many lines each group has."""
    begins = np.zeros(lengths.size, np.bool_)
    begins[(np.cumsum(counts) - counts)[counts > 0]] = True
    return _cost_before(lengths, begins)


def _begins(order: IntArray, codes: IntArray) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Whether each line is the first of its group."""
    ordered = codes[order]
    begins = np.ones(ordered.size, np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=begins[1:])
    return begins


def _firsts(follows: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> IntArray:
    """For each place that of the nearest one, at or before it, that does not follow another."""
    return np.maximum.accumulate(np.where(follows, 0, np.arange(follows.size)))


def _cost_before(lengths: IntArray, begins: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> IntArray:
    if not lengths.size:
        return np.empty(0, np.int64)
    costs = lengths + LINE_COST
    before = np.cumsum(costs) - costs
    found: IntArray = before - before[_firsts(~begins)]
    return found


def _by_text(
    rule: Rule,
    order: IntArray,
    ties: np.ndarray[tuple[int], np.dtype[np.bool_]],
    keys: tuple[IntArray, IntArray, IntArray],
    texts: Texts,
) -> IntArray:
    """The same lines, those that tie with one another by their texts."""
    tied = ties.copy()
    tied[:-1] |= ties[1:]
    found = texts(order[tied])
    ranks_of = {text: rank for rank, text in enumerate(sorted(set(found), reverse=rule.newest))}
    ranks = np.zeros(order.size, np.int64)
    ranks[tied] = [ranks_of[text] for text in found]
    codes, times, places = keys
    ordered: IntArray = order[np.lexsort((ranks, places[order], times[order], codes[order]))]
    return ordered


def _cut_at(text: bytes) -> int:
    """How many bytes of a text that is too long are kept."""
    at, (mask, value) = MAX_TEXT_BYTES, _CONTINUES
    while text[at] & mask == value:
        at -= 1
    return at
