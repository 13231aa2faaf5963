"""What the tail of a service would be under another policy, load, server or predictor: its own requests, run again.

Works are what recorded times come to on one thread alone, by learned speed-ups. The same arrivals then run as the
candidate would have them. Before anything is told, gates (forecast_gates.py) look at whether the record and the model
bear it; where one does not hold, the answer is why, and no figure.

Intervals hold what is not known of speed-ups and of how threads slow each other (both are drawn from their intervals)
and which blocks of time happened to be recorded (bootstrap), and are widened by what the model was found to be off.
They do not hold what it leaves out.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from analytics.errors import DataError, TooFewDataError
from analytics.tail import forecast_gates as gates
from analytics.tail import record_gates
from analytics.tail.comparison import QUANTILES, Figure, quantiles_of
from analytics.tail.effective import EffectiveTimes, between, effective_ms, effective_of
from analytics.tail.forecast_gates import Gate, UsedCell
from analytics.tail.learning import LearnedProfile, as_learned, class_edges, learn_profile, works_ms
from analytics.tail.load_levels import load_levels
from analytics.tail.policies import Policy, Predictive, Sequential, Server
from analytics.tail.replay import Played, Replay, replay_of, told_predictions
from analytics.tail.samples import Samples
from analytics.tail.simulation import Int32Array
from analytics.tail.slowdown import own
from analytics.tail.speedup import Float64Array, Int64Array, SpeedupProfile
from analytics.tail.workloads import ModelledPredictor

#: The most samples of one question; more would fill the memory of whoever asks.
MOST_SAMPLES: Final = 20_000_000
#: Draws of speed-ups and of blocks of time that intervals come from.
SEEDS: Final = tuple(range(1, 21))
_P99: Final = 0.99
_BLOCKS: Final = 40
# What the model is off by where draws know all: of 49 answers about simulated recordings, draws alone held the truth of
# 37, and with this, chosen on them, of 42.
_MODEL: Final = 0.01
_NEAR_EDGE: Final = 1.5

Progress = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        current: the policy that ran the recorded requests. None: not known; then each runs on the threads that it had.
        candidate: the policy in question.
        server: that ran them. candidate_server: None: the same.
        load_multiplier: requests come so many times as often.
        fan_out: quantiles of the slowest of so many servers that are alike.
        predictor: instead of recorded predictions, ones with modelled errors.
    """

    current: Policy | None
    candidate: Policy
    server: Server
    load_multiplier: float = 1.0
    fan_out: int = 1
    predictor: ModelledPredictor | None = None
    candidate_server: Server | None = None

    def __post_init__(self) -> None:
        """Refuses what cannot be asked."""
        if not 0.01 <= self.load_multiplier <= 100:
            raise DataError(f"a load multiplier of {self.load_multiplier}; want 0.01 to 100")
        if not 1 <= self.fan_out <= 100_000:
            raise DataError(f"a fan-out of {self.fan_out}; want 1 to 100,000 servers")


@dataclass(frozen=True, slots=True)
class Latencies:
    """Mean and quantiles, in milliseconds; a quantile that too few requests lie beyond is left out."""

    mean_ms: Figure
    quantiles_ms: dict[float, Figure]


@dataclass(frozen=True, slots=True)
class AtLoad:
    """The same at one level of load of the record (load_levels.py); NaN where too few requests tell a p99."""

    sequential_load: float
    share_of_time: float
    requests: int
    observed_p99_ms: float
    current_p99_ms: float
    candidate_p99_ms: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """The answer.

    Attributes:
        answered: all gates hold. refusals: what those that do not hold say.
        observed: of the record. current: of its replay as it was run. Both None where it could not be replayed.
        candidate: None where it is not answered. Quantiles beyond the p99 only where the record bears them
            (forecast_gates.bears_beyond).
        gain_p99_pct: by how much the p99 of the candidate is below that of the current policy, both replayed.
        mean_change_pct: how much longer the mean is.
        by_load: one for each level of load that was recorded.
        requests: replayed, without those of the warm-up.
        used_cells: that the candidate uses.
        learned_basis: of effective times; empty where nothing was learned.
        withheld: what the candidate came to although a gate does not hold; to measure gates by, never as an answer.
    """

    answered: bool
    refusals: tuple[str, ...]
    gates: tuple[Gate, ...]
    observed: Latencies | None = None
    current: Latencies | None = None
    candidate: Latencies | None = None
    gain_p99_pct: Figure | None = None
    mean_change_pct: Figure | None = None
    by_load: tuple[AtLoad, ...] = ()
    requests: int = 0
    used_cells: tuple[UsedCell, ...] = ()
    learned_basis: str = ""
    withheld: Latencies | None = None


def what_if(
    samples: Samples,
    question: Question,
    learned: LearnedProfile | None = None,
    *,
    seeds: Sequence[int] = SEEDS,
    progress: Progress | None = None,
) -> Forecast:
    """Forecast the candidate, or say why that cannot be done.

    Args:
        learned: speed-ups; None: learned from these samples.
        seeds: of the draws for intervals, two or more.
        progress: told the share done, in [0, 1], and what comes next; may raise to end it.
    Raises:
        DataError: more samples than MOST_SAMPLES, a policy that cannot be meant, or fewer than two seeds.
        MissingLibraryError: numba is not installed.
    Cost: two replays of at most replay.MOST_REQUESTS for each seed, some 0.1 s each.
    """
    say = progress or (lambda _share, _text: None)
    if len(samples) > MOST_SAMPLES:
        raise DataError(f"{len(samples)} requests in one question; want at most {MOST_SAMPLES}: take a shorter time")
    if len(seeds) < 2:
        raise DataError(f"{len(seeds)} seeds; want two or more, so that an interval can be told")
    early = [gates.enough_requests(len(samples), _quantile(question)), record_gates.told_predictions_share(samples)]
    say(0.0, "learning speed-ups")
    try:
        record = _Record(samples, question, learned)
    except (DataError, TooFewDataError) as error:
        return _refused([*early, gates.failed("learning", str(error))])
    say(0.1, "replaying the current policy and the candidate")
    current, candidate = record.current(), record.candidate()
    found = [*early, *record.gates(current, candidate)]
    drawn: list[_Drawn] = []
    for nth, seed in enumerate(seeds if all(gate.passed for gate in found) else ()):
        say(0.2 + 0.8 * nth / len(seeds), f"drawing speed-ups and blocks of time, {nth + 1} of {len(seeds)}")
        drawn.append(record.draw(seed, question.fan_out))
    return _forecast(record, current, candidate, drawn, found)


def edges_for(current: Policy | None, edges_ms: tuple[float, ...]) -> tuple[float, ...]:
    """Edges of classes with that from which on a predictive policy gives more threads; those near to it give way.

    In a class with that threshold inside, those on one thread would all be shorter than those on more.
    """
    if not isinstance(current, Predictive):
        return edges_ms
    at = current.long_ms
    return tuple(sorted({*(edge for edge in edges_ms if max(edge / at, at / edge) > _NEAR_EDGE), at}))


def _quantile(question: Question) -> float:
    return float(_P99 ** (1.0 / question.fan_out))


def _refused(found: list[Gate]) -> Forecast:
    return Forecast(False, tuple(gate.text for gate in found if not gate.passed), tuple(found))


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Mean and quantiles of one draw, of the record, the current policy and the candidate."""

    observed: dict[float, float]
    current: dict[float, float]
    candidate: dict[float, float]


class _Record:
    """The samples of a question, with what was learned from them, ready to be replayed."""

    def __init__(self, samples: Samples, question: Question, learned: LearnedProfile | None) -> None:
        self.samples, self.question = samples, question
        self.server, self.to = question.server, question.candidate_server or question.server
        most = max(self.server.max_degree, self.to.max_degree)
        plain = effective_ms(samples, self.server.threads, 0.0 if learned is None else learned.slowdown.value)
        self.learned = (
            learn_profile(
                samples,
                self.server.threads,
                max_degree=most,
                edges_ms=edges_for(question.current, class_edges(samples, effective=plain)),
                effective=plain,
                workers=self.server.workers,
            )
            if learned is None
            else learned
        )
        self.effective = as_learned(samples, self.server.threads, plain, self.learned.slowdown)
        self._between: tuple[EffectiveTimes, EffectiveTimes] | None = None
        known = self.learned.profile.max_degree
        if known < most:
            raise DataError(
                f"degrees up to {most} are asked about, and speed-ups are known up to {known}: "
                "ask about fewer, or learn anew, with requests that ran on as many"
            )
        self.works_ms = works_ms(samples, self.effective, self.learned.profile)
        self.predictions_ms = told_predictions(samples)
        self.replay: Replay = replay_of(samples)
        self._replayed = np.unique(np.concatenate(self.replay.sources))
        self.explored: Int32Array = np.where(samples.explored, samples.degrees, 0).astype(np.int32)
        self.levels = load_levels(samples, self.server.threads, self.works_ms)
        kept = self.replay.kept
        self.observed_ms = samples.latencies_ms[kept]
        self._block = _blocks(samples, kept)

    def current(
        self,
        profile: SpeedupProfile | None = None,
        works: Float64Array | None = None,
        slowdown: float | None = None,
    ) -> Played:
        """The record as it was run."""
        policy = self.question.current
        return self.replay.play(
            self.works_ms if works is None else works,
            self.predictions_ms,
            self._slowed(self.server, slowdown),
            self.learned.profile if profile is None else profile,
            Sequential() if policy is None else policy,
            forced=self.samples.degrees if policy is None else self.explored,
        )

    def candidate(
        self,
        profile: SpeedupProfile | None = None,
        works: Float64Array | None = None,
        slowdown: float | None = None,
        seed: int = 0,
    ) -> Played:
        """The record as the candidate would run it; exploration goes on as it was."""
        works = self.works_ms if works is None else works
        predictor = self.question.predictor
        predictions = self.predictions_ms
        if predictor is not None:
            predictions = np.maximum(predictor.predict(works, np.random.default_rng([seed, 1])), 1e-6)
        return self.replay.play(
            works,
            predictions,
            self._slowed(self.to, slowdown),
            self.learned.profile if profile is None else profile,
            self.question.candidate,
            forced=self.explored,
            load_multiplier=self.question.load_multiplier,
        )

    def gates(self, current: Played, candidate: Played) -> list[Gate]:
        """Those that need no draws."""
        question, learned, samples = self.question, self.learned, self.samples
        busiest = float(self.levels.sequential_load.max(initial=0.0))
        load = self.load() * question.load_multiplier * self.server.threads / self.to.threads
        asked = busiest * question.load_multiplier * self.server.threads / self.to.threads
        degrees = np.arange(1, learned.profile.max_degree + 1)
        # With all hardware threads busy, each does less by as much as they slow each other.
        slower = own(degrees, self.to.threads, learned.slowdown.value) / (
            own(np.array([self.to.threads]), self.to.threads, learned.slowdown.value)
        )
        average = learned.profile.average(self.works_ms) * slower
        met = samples.active[samples.active >= 0]
        spread = float(met.std()) if met.size else float(current.active.std())
        moved = max(abs(float(candidate.active.mean() - current.active.mean())), spread / 2)
        first = self._block < _BLOCKS // 2
        now, then = gates.used_cells(current, learned), gates.used_cells(candidate, learned)
        comparable = record_gates.comparable(samples, learned)
        return [
            record_gates.clocks(samples, self.effective, self.server),
            gates.calibration(_p99(self.observed_ms), _p99(current.latencies_ms), _P99),
            record_gates.contention(samples, learned, self.works_ms, moved, self.server.threads),
            gates.extrapolation(asked, busiest),
            gates.identifiability(now, then, learned, comparable),
            record_gates.classes_alike(samples, learned, self.works_ms, now, then),
            record_gates.raised(samples, learned, self.effective, question.current, now, then),
            record_gates.telling_predictions(samples, learned, self.works_ms, (*now, *then)),
            gates.saturation(candidate, question.candidate, self.to, load, average),
            gates.halves(
                (_p99(self.observed_ms[first]), _p99(self.observed_ms[~first])),
                (_p99(candidate.latencies_ms[first]), _p99(candidate.latencies_ms[~first])),
                _P99,
            ),
        ]

    def load(self) -> float:
        """Sequential, of the whole record."""
        return float(self.levels.sequential_load @ self.levels.share_of_time)

    def draw(self, seed: int, fan_out: int) -> _Drawn:
        """Both replays with speed-ups and slowdown from their intervals, in blocks of time drawn with replacement."""
        rng = np.random.default_rng([seed, 0])
        profile = _drawn_profile(self.learned, rng)
        # Only of those that are replayed: the others are many, and play no part.
        some = self._replayed
        works = np.ones(len(self.samples))
        slowdown, effective = self._drawn_slowdown(rng)
        works[some] = works_ms(self.samples.where(some), effective, profile)
        chosen = _drawn_blocks(self._block, rng)
        return _Drawn(
            _figures(self.observed_ms[chosen], fan_out),
            _figures(self.current(profile, works, slowdown).latencies_ms[chosen], fan_out),
            _figures(self.candidate(profile, works, slowdown, seed).latencies_ms[chosen], fan_out),
        )

    def _slowed(self, server: Server, slowdown: float | None) -> Server:
        return replace(server, slowdown=self.learned.slowdown.value if slowdown is None else slowdown)

    def _drawn_slowdown(self, rng: np.random.Generator) -> tuple[float, EffectiveTimes]:
        """A slowdown from its interval, and effective times of what is replayed: between those at its ends.

        Where none was told, none is drawn.
        """
        slowdown = self.learned.slowdown
        if not slowdown.value:
            return 0.0, effective_of(self.effective, self._replayed)
        if self._between is None:
            low, high = (
                effective_of(effective_ms(self.samples, self.server.threads, end), self._replayed)
                for end in (slowdown.low, slowdown.high)
            )
            self._between = low, high
        width = slowdown.high - slowdown.low
        drawn = max(0.0, float(rng.normal(slowdown.value, width / (2 * 1.96))))
        return drawn, between(*self._between, (drawn - slowdown.low) / width)


def _forecast(
    record: _Record, current: Played, candidate: Played, drawn: Sequence[_Drawn], found: list[Gate]
) -> Forecast:
    fan_out = record.question.fan_out
    observed = _latencies(_figures(record.observed_ms, fan_out), [one.observed for one in drawn])
    now = _latencies(_figures(current.latencies_ms, fan_out), [one.current for one in drawn], _MODEL)
    then = _latencies(_figures(candidate.latencies_ms, fan_out), [one.candidate for one in drawn], _MODEL)
    p99 = then.quantiles_ms.get(_P99)
    if p99 is not None and p99.low is not None and p99.high is not None:
        found.append(gates.interval(p99.value, p99.low, p99.high, _P99))
    answered = all(gate.passed for gate in found)
    if answered:
        then = _borne(then, now, observed, int(current.source.size))
    gain = change = None
    if answered:
        gain = _gain([(one.current[_P99], one.candidate[_P99]) for one in drawn], now.quantiles_ms[_P99], p99)
        change = _gain([(one.current[_MEAN], one.candidate[_MEAN]) for one in drawn], now.mean_ms, then.mean_ms, -1.0)
    return Forecast(
        answered=answered,
        refusals=tuple(gate.text for gate in found if not gate.passed),
        gates=tuple(found),
        observed=observed,
        current=now,
        candidate=then if answered else None,
        gain_p99_pct=gain,
        mean_change_pct=change,
        by_load=_by_load(record, current, candidate) if answered else (),
        requests=int(current.source.size),
        used_cells=gates.used_cells(candidate, record.learned),
        learned_basis=record.learned.basis,
        withheld=None if answered else then,
    )


# The mean, among quantiles.
_MEAN: Final = -1.0


def _figures(latencies_ms: Float64Array, fan_out: int) -> dict[float, float]:
    return {_MEAN: float(latencies_ms.mean()), **quantiles_of(latencies_ms, fan_out)}


def _latencies(values: dict[float, float], drawn: Sequence[dict[float, float]], model: float = 0.0) -> Latencies:
    figures = {q: _figure(value, [one[q] for one in drawn], model) for q, value in values.items()}
    return Latencies(figures[_MEAN], {q: figures[q] for q in QUANTILES if q in figures})


def _borne(then: Latencies, now: Latencies, observed: Latencies, requests: int) -> Latencies:
    """Without quantiles beyond the p99 that the record does not bear."""
    told = {
        q: figure
        for q, figure in then.quantiles_ms.items()
        if q <= _P99
        or gates.bears_beyond(
            q,
            requests,
            observed.quantiles_ms[q].value,
            now.quantiles_ms[q].value,
            ((figure.low or 0.0) / figure.value, (figure.high or math.inf) / figure.value),
        )
    }
    return Latencies(then.mean_ms, told)


def _figure(value: float, drawn: Sequence[float], model: float) -> Figure:
    """The value, and an interval as wide as draws spread and the model errs; log-normal, as times are.

    Without draws, there is none.
    """
    if not drawn:
        return Figure(value, None, None)
    spread = math.hypot(1.96 * float(np.std(np.log(np.maximum(drawn, 1e-12)), ddof=1)), model)
    return Figure(value, value * math.exp(-spread), value * math.exp(spread))


def _gain(drawn: Sequence[tuple[float, float]], now: Figure, then: Figure | None, sign: float = 1.0) -> Figure | None:
    if then is None:
        return None
    value = sign * 100.0 * (1.0 - then.value / now.value)
    half = 1.96 * float(np.std([100.0 * (1.0 - after / before) for before, after in drawn], ddof=1))
    return Figure(value, value - half, value + half)


def _by_load(record: _Record, current: Played, candidate: Played) -> tuple[AtLoad, ...]:
    level = record.levels.level[current.source]
    return tuple(
        AtLoad(
            float(record.levels.sequential_load[one]),
            float(record.levels.share_of_time[one]),
            int(record.levels.requests[one]),
            *(
                _p99(values[level == one])
                for values in (record.observed_ms, current.latencies_ms, candidate.latencies_ms)
            ),
        )
        for one in np.flatnonzero(record.levels.requests)
    )


def _p99(latencies_ms: Float64Array) -> float:
    return quantiles_of(latencies_ms).get(_P99, math.nan)


def _blocks(samples: Samples, kept: Int64Array) -> Int64Array:
    """The block of each replayed request, by its time: as many requests in each."""
    order = np.argsort(samples.arrivals_ms[kept], kind="stable")
    block = np.empty(kept.size, np.int64)
    block[order] = np.arange(kept.size) * _BLOCKS // max(1, kept.size)
    return block


def _drawn_blocks(block: Int64Array, rng: np.random.Generator) -> Int64Array:
    """Replayed requests of blocks drawn with replacement."""
    order = np.argsort(block, kind="stable")
    bounds = np.searchsorted(block[order], np.arange(_BLOCKS + 1))
    return np.concatenate([order[bounds[one] : bounds[one + 1]] for one in rng.integers(0, _BLOCKS, _BLOCKS)])


def _drawn_profile(learned: LearnedProfile, rng: np.random.Generator) -> SpeedupProfile:
    """Speed-ups drawn from their intervals.

    All of a class are told beside its requests on one thread, so what is not known of those moves them together.
    """
    profile, counts = learned.profile, np.maximum(learned.counts, 1)
    spread = (np.log(learned.high) - np.log(learned.low)) / (2 * 1.96)
    together = (1 / counts[:, :1]) / (1 / counts[:, :1] + 1 / counts)
    shifts = np.sqrt(together) * rng.normal(size=(counts.shape[0], 1)) + np.sqrt(1 - together) * rng.normal(
        size=counts.shape
    )
    table = np.maximum(profile.table * np.exp(spread * shifts), 1.0)
    table[:, 0] = 1.0
    return SpeedupProfile(profile.edges_ms, np.maximum.accumulate(table, axis=1))
