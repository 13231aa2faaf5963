"""Which rows of a live stream are taken in while the agent may not take all: every k-th, not the first of a batch.

Systematic by credit: whatever the batches, of n rows n times the share are taken, give or take one.
"""

import numpy as np

from pipeline.state import BoolArray


class Thinning:
    """The credit of each stream."""

    def __init__(self) -> None:
        """No stream yet."""
        self._credits: dict[str, float] = {}

    def kept(self, stream: str, rows: int, share: float) -> BoolArray:
        """bool[rows]: those to take, evenly spread."""
        credit = self._credits.get(stream, 0.0)
        reached = np.floor(credit + share * np.arange(rows + 1))
        self._credits[stream] = credit + share * rows - float(reached[-1])
        kept: BoolArray = np.diff(reached) > 0
        return kept
