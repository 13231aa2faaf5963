"""Sketches added to rows that are there already, in NumPy: a pass per size of a count, none per sketch."""

import numpy as np

from quantiles.array_types import CellArray, IntArray, Slots

WORDS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.int64}
MOST = {1: 2**8 - 1, 2: 2**16 - 1, 4: 2**32 - 1, 8: 2**63 - 1}
SLOTS_AT_ONCE = 1 << 20


def cells_of_gaps(gaps: IntArray, counts: IntArray, offsets: IntArray, highest: int) -> tuple[CellArray, int]:
    """See Kernels.cells_of_gaps."""
    sizes = np.diff(offsets)
    starts = offsets[:-1][sizes > 0]
    running = np.cumsum(gaps, dtype=np.int64)
    before = np.repeat(running[starts] - gaps[starts], sizes[sizes > 0])
    cells = running - before
    wrong = (gaps < 1) & ~np.isin(np.arange(len(gaps)), starts, assume_unique=True)
    wrong |= (counts < 1) | (cells > highest) | (cells < -highest)
    sketch = int(np.searchsorted(offsets, np.argmax(wrong), side="right")) - 1 if wrong.any() else -1
    return cells.astype(np.int32), sketch


def add_to_slots(slots: Slots, rows: IntArray, offsets: IntArray, cells: CellArray, counts: IntArray) -> IntArray:
    """See Kernels.add_to_slots. No two sketches share a slot, for no row comes twice: gather, add, scatter."""
    _, places, firsts, widths, sizes = slots
    lengths = np.diff(offsets)
    filled = np.flatnonzero(lengths)
    mine = rows[filled]
    lowest, highest = cells[offsets[filled]], cells[offsets[filled + 1] - 1]
    inside = (sizes[mine] > 0) & (lowest >= firsts[mine]) & (highest - firsts[mine] < widths[mine])
    refused = [filled[~inside]]
    for size, word in WORDS.items():
        these = filled[inside & (sizes[mine] == size)]
        if not these.size:
            continue
        words, n = slots.memory.view(word), lengths[these]
        begins = np.cumsum(n) - n
        pairs = np.arange(int(n.sum())) + np.repeat(offsets[these] - begins, n)
        at = cells[pairs] + np.repeat(places[rows[these]] // size - firsts[rows[these]], n)
        held = words[at].astype(np.int64)
        full = counts[pairs] > MOST[size] - held
        too_full = np.logical_or.reduceat(full, begins)
        refused.append(these[too_full])
        if too_full.any():
            kept = np.repeat(~too_full, n)
            at, held, pairs = at[kept], held[kept], pairs[kept]
        words[at] = (held + counts[pairs]).astype(word)
    return np.sort(np.concatenate(refused))


def pairs_of_slots(slots: Slots) -> tuple[IntArray, CellArray, IntArray]:
    """See Kernels.pairs_of_slots."""
    memory, places, firsts, widths, sizes = slots
    found = np.zeros(len(places), np.int64)
    parts: list[tuple[IntArray, CellArray, IntArray]] = []
    for size, word in WORDS.items():
        rows = np.flatnonzero(sizes == size)
        ends = np.cumsum(widths[rows])
        cuts = np.searchsorted(ends, np.arange(SLOTS_AT_ONCE, ends[-1] if ends.size else 0, SLOTS_AT_ONCE))
        for some in np.split(rows, np.unique(cuts)):
            n = widths[some]
            owners = np.repeat(some, n)
            steps = np.arange(int(n.sum())) - np.repeat(np.cumsum(n) - n, n)
            counts = memory.view(word)[steps + (places // size)[owners]]
            used = np.flatnonzero(counts)
            owners, steps = owners[used], steps[used]
            found += np.bincount(owners, minlength=len(places))
            parts.append((owners, (steps + firsts[owners]).astype(np.int32), counts[used].astype(np.int64)))
    offsets = np.zeros(len(places) + 1, np.int64)
    np.cumsum(found, out=offsets[1:])
    owners, cells, counts = (np.concatenate(column) for column in zip(*parts, strict=True))
    if np.any(owners[1:] < owners[:-1]):  # rows of several sizes
        order = np.argsort(owners, kind="stable")
        cells, counts = cells[order], counts[order]
    return offsets, cells, counts
