"""Will the same failure repeat? A model that learns from each outcome, one at a time.

    log-odds of getting past = log-odds of the reason's own record + sum of the weights of the situation's features

The record is a Beta distribution: the prior's pseudo-outcomes and those seen since, first of the reason as a whole,
then of the reason after so many repetitions, which begins as the reason's. Old outcomes fade, so that what was mended
counts no longer. The weights learn what the record leaves unexplained (run time, GPUs, node, user, words of the error)
by stochastic gradients of the log loss with a step per weight (AdaGrad); without evidence they are 0, and the answer is
the prior's. Same outcomes in the same order: the same model, bit for bit.
"""

import math
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

import numpy as np
import numpy.typing as npt

from analytics.gpu.retry_features import SLOTS, Situation, features
from analytics.gpu.retry_nodes import NodeHistory
from analytics.gpu.retry_priors import Priors, shipped_priors
from analytics.gpu.retry_quality import Quality

#: Outcomes after which one of the same reason counts half.
HALF_LIFE: Final = 400.0
#: How many outcomes of the reason as a whole stand in for its record after a repetition.
POOLED: Final = 4.0
#: Repetitions that the record tells apart: none, one, two or more.
LEVELS: Final = 3
#: First step of a weight, pull towards 0, and how fast old gradients fade so that steps never vanish.
STEP: Final = 0.15
SHRINK: Final = 1e-3
FADE: Final = 0.999
#: Added to the squares: the first outcomes of a feature move its weight little.
DAMPING: Final = 0.25
#: What features may add to the record's log-odds, either way.
MOST_SHIFT: Final = 3.0
_LOWEST: Final = 0.005
#: Names of outcomes that are remembered, so that none is learned twice.
MOST_REMEMBERED: Final = 100_000
#: Reasons with a record of their own; what comes after shares that of the unknown.
MOST_REASONS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """How likely a retry gets past the failure.

    Attributes:
        probability: in [0.005, 0.995].
        prior: what was known before any outcome.
        record: of the reason after so many repetitions, before features.
        outcomes: of this reason, faded; 0 means that the answer is the prior's.
    """

    probability: float
    prior: float
    record: float
    outcomes: float


@dataclass(slots=True)
class RetryModel:
    """Everything that was learned. `retry_state.py` turns it into bytes and back.

    Attributes:
        seed: of the explorations (retry_advice.py); learning itself draws nothing.
        generation: raised by each saving.
        weights, squares: float64[SLOTS], and the faded sums of squared gradients.
        records: reason -> (got past, repeated) by level, faded.
        nodes: which nodes failed jobs lately.
        remembered: hashes of the names of outcomes that were learned, the oldest first.
        origin: what the state was made of, in words.
    """

    seed: int = 0
    generation: int = 0
    priors: Priors = field(default_factory=shipped_priors)
    weights: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(SLOTS))
    squares: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(SLOTS))
    records: dict[str, list[list[float]]] = field(default_factory=dict)
    nodes: NodeHistory = field(default_factory=NodeHistory)
    remembered: dict[int, None] = field(default_factory=dict)
    quality: Quality = field(default_factory=Quality)
    origin: str = "priors"

    def estimate(self, seen: Situation) -> Estimate:
        """How likely a retry gets past this failure. Cost: some 20 microseconds and 1 a word of its text."""
        slots, value = features(seen)
        return self._estimate(seen, self.weights[list(slots)].tolist(), value)

    def learn(self, seen: Situation, passed: bool, name: str = "") -> bool:
        """Learn one outcome; False and nothing else where that of this name was learned before."""
        if name:
            digest = int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
            if digest in self.remembered:
                return False
            self.remembered[digest] = None
            if len(self.remembered) > MOST_REMEMBERED:
                del self.remembered[next(iter(self.remembered))]
        slots, value = features(seen)
        places = np.array(slots)
        weights = self.weights[places]
        said = self._estimate(seen, weights.tolist(), value)
        self.quality.model.add(said.probability, passed)
        self.quality.prior.add(said.prior, passed)
        gradient = (said.probability - passed) * value
        squares = self.squares[places] * FADE + gradient * gradient
        self.squares[places] = squares
        self.weights[places] = weights * (1 - SHRINK) - STEP * gradient / np.sqrt(squares + DAMPING)
        self._note(seen, passed)
        return True

    def _estimate(self, seen: Situation, weights: list[float], value: float) -> Estimate:
        prior = self.priors.of(seen.reason)
        got_past, repeated = prior.counts()
        record = self.records.get(seen.reason)
        outcomes = 0.0
        if record is not None:
            won, lost = (math.fsum(level[side] for level in record) for side in (0, 1))
            outcomes = won + lost
            mean = (got_past + won) / (got_past + repeated + outcomes)
            here = record[min(seen.repeats, LEVELS - 1)]
            mean = (POOLED * mean + here[0]) / (POOLED + here[0] + here[1])
        else:
            mean = prior.success
        shift = math.fsum(weights) * value  # fsum: exact, so the same in any order and on any processor
        odds = math.log(mean / (1 - mean)) + max(-MOST_SHIFT, min(MOST_SHIFT, shift))
        probability = 1 / (1 + math.exp(-odds))
        return Estimate(max(_LOWEST, min(1 - _LOWEST, probability)), prior.success, mean, outcomes)

    def _note(self, seen: Situation, passed: bool) -> None:
        reason = seen.reason if seen.reason in self.records or len(self.records) < MOST_REASONS else ""
        record = self.records.setdefault(reason, [[0.0, 0.0] for _ in range(LEVELS)])
        kept = 0.5 ** (1 / HALF_LIFE)
        for level in record:
            level[0] *= kept
            level[1] *= kept
        record[min(seen.repeats, LEVELS - 1)][0 if passed else 1] += 1.0
