"""The search for a target table on a service's own requests, each level of load counted by the time spent at it.

What is found is forecast against what is run now, with all gates: a table is no better than its record. Degrees that
the record tells nothing of are not searched.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from analytics.errors import DataError
from analytics.tail.effective import effective_ms
from analytics.tail.forecast_gates import NOTICEABLE, Gate, failed
from analytics.tail.learning import OWN_DATA, LearnedProfile, works_ms
from analytics.tail.load_levels import LoadLevels, load_levels
from analytics.tail.policies import DEFAULT_WIDTHS, Metric, Policy, Sequential, Server, Tpc
from analytics.tail.replay import replay_of, told_predictions
from analytics.tail.samples import Samples
from analytics.tail.simulation import Requests
from analytics.tail.speedup import Float64Array
from analytics.tail.table_search import GRID_MS, LEAST_REQUESTS, FoundTable, Objective, search_table
from analytics.tail.what_if import SEEDS, Forecast, Progress, Question, what_if

#: Requests of a level that each table is tried on, at most.
MOST_AT_A_LEVEL: Final = 60_000
# Evaluations that a search is thought to take, to tell how far it is.
_EXPECTED: Final = 1_500
# Hardware threads and p99 of the work that default widths and targets were chosen for.
_DEFAULT_THREADS: Final = 12
_DEFAULT_P99_MS: Final = 198.0


@dataclass(frozen=True, slots=True)
class RecordedSearch:
    """What was found.

    Attributes:
        found: None where the record does not bear a search; forecast.refusals say why.
        forecast: of the found table against the current policy; of the record alone where nothing was found.
        max_degree: the largest degree that was searched; the table is one for servers that allow no more.
        levels: loads that were searched at, and their weights.
    """

    found: FoundTable | None
    forecast: Forecast
    max_degree: int
    levels: tuple[tuple[float, float], ...] = ()


def search_recorded(
    samples: Samples,
    server: Server,
    learned: LearnedProfile,
    *,
    current: Policy | None = None,
    metric: Metric = "threads_and_queue",
    objective: Objective | None = None,
    width: float | None = None,
    buckets: int = 7,
    fan_out: int = 1,
    progress: Progress | None = None,
) -> RecordedSearch:
    """Search a target table and forecast it, or say why the record does not bear that.

    Widths and targets scale with the hardware threads and with the work of the service.

    Args:
        current: the policy that ran the requests; None: not known.
        fan_out: of the forecast; the search counts the quantiles of one server.
        progress: told the share done, in [0, 1], and what comes next; may raise to end the search.
    Raises:
        DataError: as what_if.
        MissingLibraryError: numba is not installed.
    Cost: as table_search.search_table with at most MOST_AT_A_LEVEL requests at each level, some minutes.
    """
    say = progress or (lambda _share, _text: None)
    say(0.0, "looking at the record")
    question = Question(current, Sequential() if current is None else current, server, fan_out=fan_out)
    bare = what_if(samples, question, learned, seeds=SEEDS[:2])
    if not bare.answered:
        return RecordedSearch(None, bare, server.max_degree)
    degree = told_degrees(learned, bare, server.max_degree)
    if degree < 2:
        text = f"fewer than {OWN_DATA} requests of the longest class ran on each of two degrees"
        return _none(bare, failed("identifiability", f"{text}: run 1 % of the requests on degrees drawn by chance"), 1)
    limited = replace(server, max_degree=degree, slowdown=learned.slowdown.value)
    works = works_ms(samples, effective_ms(samples, server.threads, limited.slowdown), learned.profile)
    levels = load_levels(samples, server.threads, works)
    campaign = campaign_of(samples, works, levels)
    if not campaign:
        text = f"no level of load has {LEAST_REQUESTS} requests to search on: take a longer time"
        return _none(bare, failed("requests", text), degree)
    weights = _weights(levels, tuple(campaign))
    found = search_table(
        campaign,
        limited,
        learned.profile,
        metric,
        width=_width(metric, server) if width is None else width,
        buckets=buckets,
        grid_ms=_grid_ms(works),
        objective=objective,
        weights=weights,
        progress=lambda n: say(0.1 + 0.7 * min(1.0, n / _EXPECTED), f"searching targets: {n} tables tried"),
    )
    asked = replace(question, candidate=Tpc(found.table), candidate_server=limited)
    forecast = what_if(samples, asked, learned, progress=_from(say, 0.8))
    return RecordedSearch(found, forecast, degree, tuple(weights.items()))


def told_degrees(learned: LearnedProfile, bare: Forecast, most: int) -> int:
    """The largest degree up to which each was seen often enough in the longest class that takes noticeable time."""
    used = [cell.work_class for cell in bare.used_cells if cell.share >= NOTICEABLE]
    counts = learned.counts[max(used, default=learned.counts.shape[0] - 1), :most]
    few = np.flatnonzero(counts < OWN_DATA)
    return int(few[0]) if few.size else int(counts.size)


def campaign_of(
    samples: Samples, works: Float64Array, levels: LoadLevels, most: int = MOST_AT_A_LEVEL
) -> dict[float, Requests]:
    """Requests by the sequential load of their level, its windows joined; levels of too few requests left out."""
    predictions = told_predictions(samples)
    place = _places(samples)
    campaign = {}
    for level in np.flatnonzero(levels.requests >= LEAST_REQUESTS):
        inside = np.flatnonzero(levels.level == level)
        replay = replay_of(samples.where(inside), most)
        arrivals = np.concatenate(
            [
                _joined(times, place[inside[source]])
                for times, source in zip(replay.stretches, replay.sources, strict=True)
            ]
        )
        steps = np.diff(arrivals, prepend=arrivals[0])
        steps[steps < 0] = 0.0  # where the next stretch begins at 0
        source = inside[np.concatenate(replay.sources)]
        if source.size >= LEAST_REQUESTS:
            load = float(levels.sequential_load[level])
            campaign[load] = Requests(np.cumsum(steps), works[source], predictions[source])
    return campaign


def _joined(times_ms: Float64Array, place: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Float64Array:
    """Times from 0 on, with what lies between windows of the level left out."""
    gaps = np.diff(times_ms, prepend=times_ms[0])
    apart = np.diff(place, prepend=place[0]) > 1
    within = gaps[~apart]
    gaps[apart] = within.mean() if within.size else 0.0
    return np.cumsum(gaps)


def _places(samples: Samples) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """The number of each request among those of its instance."""
    place = np.empty(len(samples), np.int64)
    for instance in np.unique(samples.instances):
        chosen = np.flatnonzero(samples.instances == instance)
        place[chosen] = np.arange(chosen.size)
    return place


def _weights(levels: LoadLevels, loads: tuple[float, ...]) -> dict[float, float]:
    """Share of time by load, so that they add up to the number of loads."""
    shares = dict(zip(levels.sequential_load.tolist(), levels.share_of_time.tolist(), strict=True))
    total = sum(shares[load] for load in loads)
    return {load: shares[load] * len(loads) / total for load in loads}


def _width(metric: Metric, server: Server) -> float:
    return float(max(1.0, round(DEFAULT_WIDTHS[metric] * server.threads / _DEFAULT_THREADS)))


def _grid_ms(works: Float64Array) -> tuple[float, ...]:
    scale = float(np.quantile(works, 0.99)) / _DEFAULT_P99_MS
    if not scale > 0:
        raise DataError("works of 0 ms have no targets to search; send service_us of requests that did something")
    return tuple(float(f"{target * scale:.3g}") for target in GRID_MS)


def _from(say: Progress, begin: float) -> Callable[[float, str], None]:
    return lambda share, text: say(begin + (1.0 - begin) * share, text)


def _none(bare: Forecast, gate: Gate, degree: int) -> RecordedSearch:
    refused = replace(
        bare, answered=False, candidate=None, gain_p99_pct=None, mean_change_pct=None, by_load=(), used_cells=(),
        refusals=(gate.text,), gates=(*bare.gates, gate),
    )  # fmt: skip
    return RecordedSearch(None, refused, degree)
