"""Recorded requests, run again: the same arrivals, works and predictions through the simulator under any policy.

A recording that is too long is cut to stretches, contiguous in time and spread evenly over it; each instance is a
server of its own. Where only a share of the requests was kept, each one that was stands for its weight: the others are
put around it, so that the load is that of all.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from analytics.errors import TooFewDataError
from analytics.tail.policies import Policy, Server
from analytics.tail.samples import BoolArray, Samples
from analytics.tail.simulation import Int32Array, Requests, Run, simulate
from analytics.tail.speedup import Float64Array, Int64Array, SpeedupProfile
from analytics.tail.table_search import WARM_UP

#: Requests that one replay runs at most; more than these say little more about a p99.9.
MOST_REQUESTS: Final = 400_000
# Stretches of an instance, and requests below which one is not worth its warm-up.
_PIECES: Final = 8
_LEAST_PIECE: Final = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """What became of the requests of a replay, those of the warm-up left out; arrays of k.

    Attributes:
        latencies_ms, services_ms, works_ms: of each.
        source: which sample it was.
        first_degrees, last_degrees: threads at its start and end.
        until_raise_ms: of its run, until it got more threads; all of it where it never did.
        active: threads of others at work when it started.
        utilization: of the hardware threads, the mean over stretches.
        collapsed: the queue of a stretch grew without end.
    """

    latencies_ms: Float64Array
    services_ms: Float64Array
    works_ms: Float64Array
    source: Int64Array
    first_degrees: Int32Array
    last_degrees: Int32Array
    until_raise_ms: Float64Array
    active: Int32Array
    utilization: float
    collapsed: bool


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """Stretches of recorded requests, ready to run; what changes between runs is given to `play`.

    Attributes:
        stretches: arrivals of each, never falling. sources: which sample each of its requests is, int64.
    """

    stretches: tuple[Float64Array, ...]
    sources: tuple[Int64Array, ...]

    def __len__(self) -> int:
        """Requests in a run, with those of the warm-up."""
        return sum(one.size for one in self.stretches)

    @property
    def kept(self) -> Int64Array:
        """The samples that a run tells of, as Played.source."""
        return np.concatenate([source[int(WARM_UP * source.size) :] for source in self.sources])

    def play(
        self,
        works_ms: Float64Array,
        predictions_ms: Float64Array,
        server: Server,
        profile: SpeedupProfile,
        policy: Policy,
        *,
        forced: Int32Array | None = None,
        load_multiplier: float = 1.0,
    ) -> Played:
        """Run all stretches, each on an empty server of its own.

        Args:
            works_ms, predictions_ms, forced: of each sample, as Requests has them.
            load_multiplier: requests come so many times as often, in the same order.
        Raises:
            DataError: as `simulate`.
        """
        runs = []
        for arrivals, source in zip(self.stretches, self.sources, strict=True):
            requests = Requests(
                arrivals / load_multiplier,
                works_ms[source],
                predictions_ms[source],
                None if forced is None else np.minimum(forced[source], server.max_degree),
            )
            runs.append(simulate(requests, server, profile, policy))
        return _played(runs, self.kept)


def replay_of(samples: Samples, most: int = MOST_REQUESTS, seed: int = 0) -> Replay:
    """The stretches of a recording, of at most some `most` requests in all.

    Args:
        seed: of the places of requests that were not kept; without weights above 1 nothing is drawn.
    Raises:
        TooFewDataError: there is no request.
    """
    if not len(samples):
        raise TooFewDataError("no requests were recorded in that time; choose another one, or send some")
    pieces = _pieces(samples, most)
    rng = np.random.default_rng(seed)
    filled = [_filled(samples, piece, rng) for piece in pieces]
    return Replay(tuple(arrivals for arrivals, _ in filled), tuple(source for _, source in filled))


def told_predictions(samples: Samples) -> Float64Array:
    """Predictions of all: a request without one counts as the shortest predicted, as a server would take it."""
    told = np.isfinite(samples.predictions_ms)
    least = float(samples.predictions_ms[told].min()) if told.any() else float(samples.services_ms.min(initial=1.0))
    return np.where(told, samples.predictions_ms, least)


def shares_of_cells(played: Played, profile: SpeedupProfile, chosen: BoolArray | None = None) -> Float64Array:
    """How much of the time of runs was spent by requests of each class on each degree, float64[classes, degrees].

    A request that got more threads one after the other spent the time after the first of them on each evenly.

    Args:
        chosen: only of these requests.
    """
    some = np.flatnonzero(np.ones(played.source.size, bool) if chosen is None else chosen)
    classes, columns = profile.classes(played.works_ms[some]), profile.max_degree
    first, last = played.first_degrees[some].astype(np.int64), played.last_degrees[some].astype(np.int64)
    before = played.until_raise_ms[some]
    shares = np.bincount(classes * columns + first - 1, weights=before, minlength=profile.table.size)
    raised = last > first
    each = (played.services_ms[some] - before)[raised] / (last - first)[raised]
    for degree in range(2, profile.max_degree + 1):
        on = raised.copy()
        on[raised] = (first[raised] < degree) & (degree <= last[raised])
        shares += np.bincount(classes[on] * columns + degree - 1, weights=each[on[raised]], minlength=shares.size)
    return shares.reshape(profile.table.shape) / max(float(shares.sum()), 1e-300)


def _pieces(samples: Samples, most: int) -> list[Int64Array]:
    """Samples of each stretch, in order of arrival."""
    instances, sizes = np.unique(samples.instances, return_counts=True)
    total = float(samples.weights.sum())
    if total <= most:
        return [np.flatnonzero(samples.instances == instance) for instance in instances]
    some = np.argsort(-sizes, kind="stable")[: max(1, most // _LEAST_PIECE)]
    share = most / float(samples.weights[np.isin(samples.instances, instances[some])].sum())
    pieces = []
    for instance in instances[some]:
        chosen = np.flatnonzero(samples.instances == instance)
        size = int(chosen.size * min(share, 1.0))
        parts = max(1, min(_PIECES, size // _LEAST_PIECE))
        for part in np.array_split(chosen, parts):
            middle, half = part.size // 2, max(1, size // parts) / 2
            pieces.append(part[max(0, int(middle - half)) : int(middle + half)])
    return [piece for piece in pieces if piece.size]


def _filled(samples: Samples, piece: Int64Array, rng: np.random.Generator) -> tuple[Float64Array, Int64Array]:
    """Arrivals of a stretch, and which sample each is, with those that were not kept put around those that were."""
    arrivals, weights = samples.arrivals_ms[piece], np.round(samples.weights[piece]).astype(np.int64)
    if not np.any(weights > 1):
        return arrivals, piece
    owner = np.repeat(np.arange(piece.size), weights)
    original = np.ones(owner.size, bool)
    original[1:] = owner[1:] != owner[:-1]
    gap_ms = (arrivals[-1] - arrivals[0]) / max(1, piece.size - 1)
    around = rng.uniform(-1.0, 1.0, owner.size) * gap_ms * weights[owner]
    placed = np.clip(arrivals[owner] + np.where(original, 0.0, around), arrivals[0], arrivals[-1])
    order = np.argsort(placed, kind="stable")
    return placed[order], piece[owner[order]]


def _played(runs: list[Run], kept: Int64Array) -> Played:
    def all_of(values: list[Float64Array]) -> Float64Array:
        return np.concatenate([one[int(WARM_UP * one.size) :] for one in values])

    def counts(values: list[Int32Array]) -> Int32Array:
        return np.concatenate([one[int(WARM_UP * one.size) :] for one in values])

    services = all_of([run.ends_ms - run.starts_ms for run in runs])
    until = all_of([run.raised_ms - run.starts_ms for run in runs])
    return Played(
        latencies_ms=all_of([run.latencies_ms for run in runs]),
        services_ms=services,
        works_ms=all_of([run.requests.works_ms for run in runs]),
        source=kept,
        first_degrees=counts([run.first_degrees for run in runs]),
        last_degrees=counts([run.last_degrees for run in runs]),
        until_raise_ms=np.where(np.isnan(until), services, until),
        active=counts([run.active for run in runs]),
        utilization=float(np.mean([run.utilization for run in runs])),
        collapsed=any(run.collapsed for run in runs),
    )
