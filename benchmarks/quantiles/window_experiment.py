"""The paper's experiment: quantiles of the newest 128K values, answered after each period, with and without bursts.

Set-up of Lim et al. (arXiv 1906.00228, ICDE 2020), recalled and not checked against their text: window 131,072 values,
periods 1K to 64K, levels p50, p90, p99 and p99.9; a burst multiplies the N(1 - 0.999) largest values of one sub-window
per window by 10. All methods see the same sub-windows, in an order drawn anew each time.
Errors are relative to the exact value at the nearest rank, max(1, ceil(q n)).

Beside the comparison, both AOMG windows are checked against the exact answer at every period, on more data sets and at
far more levels, full windows or not: that is where max_error_pct and tail_exact come from.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from benchmarks.quantiles import window_methods as methods
from benchmarks.quantiles.data_sets import GENERATORS, REAL, generated, service_times
from benchmarks.quantiles.window_methods import AomgMethod, ExactMethod, WindowMethod, at_ranks
from benchmarks.tables import Table
from quantiles.array_types import FloatArray

WINDOW = 131_072
PERIODS = (1024, 2048, 4096, 8192, 16_384, 32_768, 65_536)
MAIN_PERIOD = 16_384  # of the paper's main table, as we recall it
LEVELS = (0.5, 0.9, 0.99, 0.999)
PAPERS_DATA = ("NetMon-like", "Pareto")
BURST_LEVEL, BURST_FACTOR = 0.999, 10.0
STREAM = 1_310_720  # values per data set: ten windows
# What the profile is drawn at, and what AOMG is checked at besides.
PROFILE_LEVELS = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99),
    *(0.993, 0.995, 0.997, 0.998, 0.999, 0.9993, 0.9995, 0.9997, 0.9999, 0.99995),
)
CHECKED_LEVELS = (0.0, 1e-6, 0.001, *PROFILE_LEVELS, 0.15, 0.25, 0.75, 0.85, 0.985, 0.9985, 0.99985, 0.99999, 1.0)
TIMELINE_LEVEL = 0.999
TIMELINE_BEFORE, TIMELINE_AFTER = 8, 8  # periods drawn before the burst comes and after it has left


@dataclass(frozen=True, slots=True)
class Case:
    """One run of methods over one stream."""

    data_set: str
    burst: bool
    period: int
    slides: int  # windows measured, after the first is full
    names: tuple[str, ...] = methods.METHODS
    levels: tuple[float, ...] = LEVELS


@dataclass(slots=True)
class Guarantee:
    """What the checks of AOMG found, over all cases."""

    max_error_pct: float = 0.0
    worst: str = "none"
    tail_exact: bool = True
    answers: int = 0

    def check(self, method: AomgMethod, ordered: FloatArray, where: str) -> None:
        """Compares one window's answers with the exact ones, also just inside and outside the reach of few-k."""
        n, k = len(ordered), method.tail
        edges = [1 - above / n for above in (k - 1, k - 0.5, k, k + 0.5) if above < n]
        levels = [*CHECKED_LEVELS, *edges]
        truth, answers = at_ranks(ordered, levels), method.window.quantiles(levels)
        errors = 100 * relative_errors(answers, truth)
        worst = int(np.argmax(errors))
        if errors[worst] > self.max_error_pct:
            self.max_error_pct = float(errors[worst])
            self.worst = f"{where}, k={k}, q={levels[worst]:.8g}: {answers[worst]:.8g} for {truth[worst]:.8g}"
        reached = np.array([n - methods.nearest_rank(q, n) < k for q in levels])  # the same as n (1 - q) < k
        right = (answers == truth) & method.window.exact(levels)
        self.tail_exact &= bool(np.all(right | ~reached))
        self.answers += len(levels)


@dataclass(frozen=True, slots=True)
class WindowResults:
    """Everything the tables and plots show; rows are ready for JSON."""

    max_error_pct: float  # of both AOMG windows, over everything checked
    tail_exact: bool  # wherever n (1 - q) < k
    worst: str  # the case of max_error_pct
    answers_checked: int
    rows: list[dict[str, object]]  # per data set, burst, period, method and level
    profile: list[dict[str, object]]  # the same at PROFILE_LEVELS, period MAIN_PERIOD, the paper's data
    timeline: list[dict[str, object]]  # per period of a stream with a single burst: exact p99.9 and each method's
    notes: list[str] = field(default_factory=list)

    def tables(self) -> list[Table]:
        """For text, Markdown or JSON."""
        from benchmarks.quantiles.window_tables import tables_of

        return tables_of(self)

    def print_tables(self) -> None:
        for table in self.tables():
            print(table.text())


def run(quick: bool) -> WindowResults:
    """All cases; a quick run takes fewer periods and windows, and leaves out the plots' finest steps."""
    streams = {name: generated(name, STREAM) for name in PAPERS_DATA}
    real, sentence = service_times()
    if real is not None:
        streams[REAL] = np.random.default_rng(3).choice(real, STREAM)
        sentence += " Drawn from them at random with replacement: their order in time is not known."
    warm_up()
    guarantee = Guarantee()
    rows: list[dict[str, object]] = []
    for name, stream in streams.items():
        for burst in (False, True):
            for period in (1024, MAIN_PERIOD, 65_536) if quick else PERIODS:
                case = Case(name, burst, period, slides=4 if quick else slides_of(period))
                rows += measure(case, stream, guarantee)
    for name in (name for name in GENERATORS if name not in PAPERS_DATA):
        stream = generated(name, STREAM)
        for burst in (True,) if quick else (False, True):
            for period in (MAIN_PERIOD,) if quick else PERIODS:
                case = Case(name, burst, period, 4, (methods.EXACT, *methods.OURS))
                rows += measure(case, stream, guarantee)
    profile: list[dict[str, object]] = []
    for name in PAPERS_DATA:
        for burst in (False, True):
            case = Case(name, burst, MAIN_PERIOD, 8 if quick else slides_of(MAIN_PERIOD), levels=PROFILE_LEVELS)
            profile += measure(case, streams[name], guarantee)
    timeline = through_a_burst(streams["NetMon-like"])
    return WindowResults(
        guarantee.max_error_pct,
        guarantee.tail_exact,
        guarantee.worst,
        guarantee.answers,
        rows,
        profile,
        timeline,
        [sentence],
    )


def slides_of(period: int) -> int:
    """How many windows a full run measures: at most 64, and no more than the stream holds."""
    return min(64, (STREAM - WINDOW) // period + 1)


def sub_windows(stream: FloatArray, period: int, burst_every: int | None, offset: int = 0) -> Iterator[FloatArray]:
    """The stream in sub-windows; each burst_every-th, from the offset-th on, has its largest values times 10."""
    values = max(1, round(WINDOW * (1 - BURST_LEVEL)))
    for number in range(len(stream) // period):
        piece = stream[number * period : (number + 1) * period]
        if burst_every is not None and number % burst_every == offset:
            piece = piece.copy()
            piece[np.argpartition(piece, -values)[-values:]] *= BURST_FACTOR
        yield piece


def measure(case: Case, stream: FloatArray, guarantee: Guarantee) -> list[dict[str, object]]:
    """One case: its rows, per method and level."""
    panes = WINDOW // case.period
    made = {name: methods.make(name, WINDOW, case.period, case.levels) for name in case.names}
    exact = made[methods.EXACT]
    assert isinstance(exact, ExactMethod)
    errors: dict[str, list[FloatArray]] = {name: [] for name in made}
    cpu_s = dict.fromkeys(made, 0.0)
    for number, piece in enumerate(sub_windows(stream, case.period, panes if case.burst else None, panes - 1), 1):
        full = number >= panes
        answers: dict[str, FloatArray] = {}
        for name in shuffled(case.names, number):
            answers[name], spent_s = step(made[name], piece, ask=full or name == methods.EXACT)
            cpu_s[name] += spent_s if full else 0.0
        if full:
            for name, found in answers.items():
                errors[name].append(100 * relative_errors(found, answers[methods.EXACT]))
        if full or number & (number - 1) == 0:  # and while it fills, whenever its length has doubled
            where = f"{case.data_set}, burst {case.burst}, period {case.period}, sub-window {number}"
            for method in made.values():
                if isinstance(method, AomgMethod):
                    guarantee.check(method, exact.ordered, where)
        if number == panes - 1 + case.slides:
            break
    state_bytes = {name: method.state_bytes() for name, method in made.items()}
    return [
        {
            "data_set": case.data_set,
            "burst": case.burst,
            "period": case.period,
            "method": name,
            "quantile": q,
            "windows": len(errors[name]),
            "mean_error_pct": float(np.mean([found[column] for found in errors[name]])),
            "max_error_pct": float(np.max([found[column] for found in errors[name]])),
            "state_bytes": state_bytes[name],
            "cpu_us_per_value": 1e6 * cpu_s[name] / (len(errors[name]) * case.period),
        }
        for name in made
        for column, q in enumerate(case.levels)
    ]


def step(method: WindowMethod, piece: FloatArray, ask: bool) -> tuple[FloatArray, float]:
    """Adds a sub-window and, when wanted, asks; the answers and the CPU seconds of both."""
    begin = time.process_time()
    method.add(piece)
    answers = method.quantiles() if ask else np.empty(0)
    return answers, time.process_time() - begin


def shuffled(names: tuple[str, ...], seed: int) -> list[str]:
    """The names in another order for each seed: two AOMG windows in a row would share warm caches."""
    return [names[i] for i in np.random.default_rng(seed).permutation(len(names))]


def through_a_burst(stream: FloatArray) -> list[dict[str, object]]:
    """One burst: each method's p99.9 from before it comes until after it has left the window."""
    panes = WINDOW // MAIN_PERIOD
    burst_at = panes + TIMELINE_BEFORE
    made = {name: methods.make(name, WINDOW, MAIN_PERIOD, (TIMELINE_LEVEL,)) for name in methods.METHODS}
    rows: list[dict[str, object]] = []
    pieces = sub_windows(stream, MAIN_PERIOD, len(stream), burst_at)
    for number, piece in enumerate(pieces):
        answers = {}
        for name, method in made.items():
            found, _ = step(method, piece, ask=number >= panes)
            answers[name] = found
        if number < panes:
            continue
        truth = float(answers[methods.EXACT][0])
        age = number + 1 - burst_at  # sub-windows since the one with the burst came, itself included
        for name, found in answers.items():
            rows.append(
                {
                    "method": name,
                    "values_since_burst": age * MAIN_PERIOD,
                    "burst_in_window": 0 < age <= panes,
                    "exact": truth,
                    "estimate": float(found[0]),
                    "error_pct": float(100 * abs(found[0] - truth) / truth),
                }
            )
        if age == panes + TIMELINE_AFTER:
            break
    return rows


def relative_errors(answers: FloatArray, truth: FloatArray) -> FloatArray:
    """|answer - truth| / truth; all truths are positive here."""
    errors: FloatArray = np.abs(answers - truth) / truth
    return errors


def warm_up() -> None:
    """Builds tables and caches that the first measured call would pay for."""
    for name in methods.METHODS:
        method = methods.make(name, 4096, 1024, LEVELS)
        for seed in range(6):
            step(method, generated("NetMon-like", 1024, seed), ask=True)
