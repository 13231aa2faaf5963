"""The alphabet of cell tokens in a sketch body (FORMAT.md): the tables that codec.py and the kernels share.

One-byte tokens hold a whole cell: 0..95 is count 1..96 in the next cell, 96..127 is count 1..4 after 1..8 empty cells.
From 128 on an even rest is a larger count, an odd rest a longer gap whose cell follows as a token of its own.
"""

import numpy as np

from quantiles.bins import MAX_SCALE, bins_of

DENSE_COUNTS, GAP_COUNTS, SHORT_GAPS = 96, 4, 8
ONE_BYTE = 128
COUNT_LIMIT = 1 << 62  # one sketch holds fewer values than this
WIDEST_GAP = 2 * bins_of(MAX_SCALE).infinity_cell  # no gap of any scale is wider; sums of gaps stay within int64

TOKEN_GAP = np.array([0 if t < DENSE_COUNTS else 1 + (t - DENSE_COUNTS) // GAP_COUNTS for t in range(ONE_BYTE)])
TOKEN_COUNT = np.array([1 + t if t < DENSE_COUNTS else 1 + (t - DENSE_COUNTS) % GAP_COUNTS for t in range(ONE_BYTE)])

NO_TOKEN = 0xFFFF
ONE_TOKEN = np.full((SHORT_GAPS + 2) * (DENSE_COUNTS + 1), NO_TOKEN, np.uint64)  # by gap and count, both cut off
ONE_TOKEN[TOKEN_GAP * (DENSE_COUNTS + 1) + TOKEN_COUNT - 1] = np.arange(ONE_BYTE)

# What Kernels.cells_of_tokens reports: the rule that a body breaks.
OBEYED, GAP_FIRST, GAP_LAST, GAP_AFTER_GAP, GAP_IN_TWO, GAP_TOO_WIDE, COUNT_TOO_LARGE, CELL_TOO_LARGE = range(8)
RULES = (
    "is right",
    "has a gap before its first cell",
    "ends with a gap",
    "has two gaps in a row",
    "spells a short gap in two tokens",
    "has a gap wider than all cells of its scale",
    "counts more than 2**62 values",
    "has a cell outside its scale",
)
