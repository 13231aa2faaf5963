"""Decimal numbers that stand somewhere in a block, read for all records at once, eight digits to a word."""

from typing import Final

import numpy as np
import numpy.typing as npt

from agents.sources.logs_lines import Bools, Ints, Records, Words

#: More digits than this may not fit an int64; such numbers are told by their count.
MOST_DIGITS: Final = 18
POWERS_OF_10: Final = 10 ** np.arange(19, dtype=np.int64)

_ZEROS: Final = np.uint64(0x3030303030303030)
_ABOVE_NINE: Final = np.uint64(0x7676767676767676)
_HIGHS: Final = np.uint64(0x8080808080808080)
_PAIRS: Final = np.uint64(0x000000FF000000FF)
_HUNDREDS: Final = np.uint64(100 + (1_000_000 << 32))
_ONES: Final = np.uint64(1 + (10_000 << 32))


def digits_at(words: Words, at: Ints) -> tuple[Ints, Ints]:
    """The digits from each place on: their value and how many they are; the value of more than 18 says nothing."""
    values, counts = _up_to_eight(words[at])
    longer, passed = np.flatnonzero(counts == 8), 8
    while longer.size and passed <= MOST_DIGITS:
        more, further = _up_to_eight(words[at[longer] + passed])
        with np.errstate(over="ignore"):
            values[longer] = values[longer] * POWERS_OF_10[further] + more
        counts[longer] += further
        longer = longer[further == 8]
        passed += 8
    return values, counts


def decimals_at(records: Records, at: Ints) -> tuple[npt.NDArray[np.float64], Bools, Ints]:
    """Numbers such as 12 or 0.125 from each place on, correctly rounded, whether there is one, and what follows it."""
    whole, digits = digits_at(records.words, at)
    after = at + digits
    pointed = records.octets[after] == ord(".")
    part, places = digits_at(records.words, after + 1)
    places = np.where(pointed, places, 0)
    fits = digits + places <= 15  # both exact as float64, so one division rounds once
    power = POWERS_OF_10[np.where(fits, places, 0)]
    values = (whole * power + np.where(pointed & fits, part, 0)) / power
    return values, (digits > 0) & fits & (~pointed | (places > 0)), after + pointed + places


def _up_to_eight(words: Words) -> tuple[Ints, Ints]:
    digits = words ^ _ZEROS
    # Only the lowest byte that is no digit counts, and those below it carry nothing into it.
    others = ((digits + _ABOVE_NINE) | digits) & _HIGHS
    counts = np.bitwise_count((others & (~others + np.uint64(1))) - np.uint64(1)) >> 3
    # The digits go to the top, zeros below: those are leading ones. A shift by 64 gives 0.
    digits = digits << ((8 - counts.astype(np.uint64)) << np.uint64(3))
    digits = digits * np.uint64(10) + (digits >> np.uint64(8))
    values = ((digits & _PAIRS) * _HUNDREDS + ((digits >> np.uint64(16)) & _PAIRS) * _ONES) >> np.uint64(32)
    return values.astype(np.int64), counts.astype(np.int64)
