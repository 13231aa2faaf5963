"""Notices that a profile has grown old: what is measured no longer stands to the model as it did when things settled.

The model may be off by a factor from the first; only a change of that factor says that costs have changed.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final

from agents import demand
from agents.cost_model import QueryCosts
from agents.shares import EpochSeen

EPOCHS: Final = 10


class Drifts:
    """Those of CPU and of bytes, of one agent."""

    def __init__(self, share: float) -> None:
        """A change by more than `share` is a drift."""
        self._cpu, self._bytes = Drift(share), Drift(share)
        self._added = False

    def configure(self, share: float) -> None:
        """Another share from now on."""
        self._cpu.share = self._bytes.share = share

    def restart(self) -> None:
        """What comes now is the measure."""
        self._cpu.restart()
        self._bytes.restart()

    def add(self, seen: EpochSeen, models: Mapping[str, QueryCosts], taken_s: float, done_s: float) -> bool:
        """Take a stable epoch in, which took so much CPU for what by the model is `done_s`; whether either drifted."""
        self._added = True
        drifted = self._cpu.add(taken_s, done_s)
        if seen.wire_bytes is not None:
            counted = {version: counts for version, counts in seen.counts.items() if version in models}
            sent = sum(seen.wire_bytes.get(version, 0.0) for version in counted)
            modelled = sum(demand.sent_bytes(models[version], counts) for version, counts in counted.items())
            drifted = self._bytes.add(sent, modelled) or drifted
        return drifted

    def end_of_epoch(self) -> None:
        """One that was not added is left out."""
        if not self._added:
            self._bytes.leave_out()
        self._added = False


class Drift:
    """Measured against modelled, summed over the last EPOCHS stable epochs in which anything was measured.

    Bytes come at checkpoints: what the model says of the epochs between two of them is kept for the second. The first
    ones after an epoch that was left out are partly of that epoch, with its shares, and count for nothing.

    Attributes:
        share: a change by more than this is a drift.
    """

    def __init__(self, share: float) -> None:
        """Nothing seen yet."""
        self.share = share
        self._epochs: deque[tuple[float, float]] = deque(maxlen=EPOCHS)
        self._unanswered = 0.0
        self._settled: float | None = None
        self._left_out = False

    def leave_out(self) -> None:
        """An epoch is not added; what it gathered is measured with the next one that is."""
        self._left_out = True

    def restart(self) -> None:
        """A new profile, or other shares by the user's will: what comes now is the measure."""
        self._epochs.clear()
        self._unanswered = 0.0
        self._settled = None

    def add(self, measured: float, modelled: float) -> bool:
        """Take a stable epoch in; returns whether measured has drifted from modelled."""
        self._unanswered += modelled
        if measured == 0:
            return False
        if self._left_out:
            self._left_out, self._unanswered = False, 0.0
            return False
        self._epochs.append((measured, self._unanswered))
        self._unanswered = 0.0
        by_model = sum(each for _, each in self._epochs)
        if len(self._epochs) < EPOCHS or by_model <= 0:
            return False
        ratio = sum(each for each, _ in self._epochs) / by_model
        if self._settled is None:
            self._settled = ratio
        return abs(ratio - self._settled) > self.share * abs(self._settled)
