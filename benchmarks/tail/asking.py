"""Table 3: forecasts from recordings beside what the candidate does to other requests of the same kind, simulated.

A case is one recording and one candidate. Speed-ups are learned from the recording itself, in the classes that the
service's settings name; whether a case is answered is decided by the gates. What a refused case would have said is
looked at as well: a refusal is right where that is wrong.
"""

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain, product
from typing import Final

import numpy as np

from analytics.errors import DataError, TooFewDataError
from analytics.tail.comparison import quantiles_of
from analytics.tail.learning import LearnedProfile, learn_profile
from analytics.tail.policies import Adaptive, Fixed, Policy, Predictive, RampUp, Sequential
from analytics.tail.policy_table import Workload
from analytics.tail.samples import Samples
from analytics.tail.speedup import WEB_SEARCH
from analytics.tail.table_search import WARM_UP
from analytics.tail.what_if import Forecast, Question, what_if
from benchmarks.tables import Column, Row, Table
from benchmarks.tail.goals import ANSWERED, ERROR, WRONG_ANSWERS
from benchmarks.tail.recorded import SERVER, recording
from benchmarks.tail.service_times import workloads
from benchmarks.tail.simulating import TPC
from benchmarks.tail.sizing import Sizing
from benchmarks.targets import Scoreboard

RECORDED: Final[tuple[Policy, ...]] = (Predictive(3), Adaptive(), TPC)
CANDIDATES: Final[tuple[Policy, ...]] = (TPC, RampUp(10.0), Sequential(), Fixed(2))
#: A forecast that is further off than this has to be refused.
FAR_OFF_PCT: Final = 20.0
_SEED, _OTHER_SEED = 41, 42
_PROCESSES: Final = 2
COLUMNS = [
    Column("workload", "workload"), Column("recorded", "recorded under"), Column("candidate", "candidate"),
    Column("cases", "cases"), Column("answered", "answered"), Column("median", "p99 off, median, %"),
    Column("most", "most, %"), Column("inside", "truth within the interval"),
    Column("right", "refused and far off"), Column("needless", "refused and near"),
]  # fmt: skip
GATES = [Column("gate", "gate that does not hold"), Column("cases", "cases"), Column("far", "of them far off")]


@dataclass(frozen=True, slots=True)
class Case:
    """What was asked, what was answered, and how far off that was.

    Attributes:
        off_pct: None where nothing was computed. inside: the truth lies within the interval; None: there is none.
    """

    workload: str
    recorded: str
    candidate: str
    load: float
    explore: float
    forecast: Forecast
    off_pct: float | None
    inside: bool | None

    @property
    def far(self) -> bool:
        """Further off than any answer may be; what could not be computed counts as such."""
        return self.off_pct is None or self.off_pct > FAR_OFF_PCT


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """By workload, recorded policy and candidate; then which gates refused."""
    at_hand, told = workloads()
    cases = _all_cases(at_hand, size)
    table = Table("asking_cases", "3.1 What-if answers beside the truth", COLUMNS)
    table.notes.append(
        f"simulated, 12 hardware threads: recordings of {size.recorded:,} requests at loads {_listed(size.loads)}, "
        f"with {_listed(size.shares, 100)} % of them on a degree by chance, and at one load none; the truth is the "
        "candidate on other requests"
    )
    table.notes.append(told)
    groups = dict.fromkeys((case.workload, case.recorded, case.candidate) for case in cases)
    table.rows = [
        _row([case for case in cases if (case.workload, case.recorded, case.candidate) == group]) for group in groups
    ]
    _score(cases, board)
    return [table, _gates(cases)]


def _all_cases(at_hand: Sequence[Workload], size: Sizing) -> list[Case]:
    """Of all workloads and loads; two at a time, as nothing is timed here."""
    unexplored = (size.loads[len(size.loads) // 2], 0.0)  # of which little can be said
    shares = [*product(size.loads, size.shares), unexplored]
    units = [(workload, load, explore, size) for workload in at_hand for load, explore in shares]
    if size.quick:
        return list(chain.from_iterable(_cases(*unit) for unit in units))
    with ProcessPoolExecutor(_PROCESSES, mp_context=multiprocessing.get_context("spawn")) as processes:
        return list(chain.from_iterable(processes.map(_cases, *zip(*units, strict=True))))


def _cases(workload: Workload, load: float, explore: float, size: Sizing) -> list[Case]:
    """At one load, with one share of requests on a degree by chance."""
    truths = {policy: _true_p99_ms(workload, load, explore, policy, size) for policy in CANDIDATES}
    cases = []
    for recorded in RECORDED:
        seen = recording(workload, load, recorded, size.recorded, explore, _SEED)
        learned = _learned(seen.samples)
        for candidate, truth_ms in truths.items():
            if candidate == recorded:
                continue
            forecast = what_if(seen.samples, Question(recorded, candidate, SERVER), learned, seeds=range(size.draws))
            said = forecast.candidate or forecast.withheld
            figure = None if said is None else said.quantiles_ms.get(0.99)
            off = None if figure is None else 100 * abs(figure.value / truth_ms - 1)
            inside = None
            if figure is not None and figure.low is not None and figure.high is not None:
                inside = figure.low <= truth_ms <= figure.high
            cases.append(Case(workload.name, recorded.name, candidate.name, load, explore, forecast, off, inside))
    return cases


def _true_p99_ms(workload: Workload, load: float, explore: float, policy: Policy, size: Sizing) -> float:
    """Of other requests of the same kind."""
    latencies = recording(workload, load, policy, size.recorded, explore, _OTHER_SEED).run.latencies_ms
    return quantiles_of(latencies[int(WARM_UP * latencies.size) :])[0.99]


def _learned(samples: Samples) -> LearnedProfile | None:
    """Once for all candidates, with the classes that the service says it has; None: the questions say why not."""
    try:
        return learn_profile(
            samples, SERVER.threads, max_degree=SERVER.max_degree, edges_ms=WEB_SEARCH.edges_ms, workers=SERVER.workers
        )
    except (DataError, TooFewDataError):
        return None


def _row(cases: Sequence[Case]) -> Row:
    answered = [case.off_pct for case in cases if case.forecast.answered and case.off_pct is not None]
    refused = [case for case in cases if not case.forecast.answered]
    first = cases[0]
    return {
        "workload": first.workload, "recorded": first.recorded, "candidate": first.candidate, "cases": len(cases),
        "answered": len(answered), "median": float(np.median(answered)) if answered else None,
        "most": max(answered, default=None),
        "inside": sum(case.inside is True for case in cases if case.forecast.answered),
        "right": sum(case.far for case in refused),
        "needless": sum(not case.far for case in refused),
    }  # fmt: skip


def _gates(cases: Sequence[Case]) -> Table:
    table = Table("asking_gates", "3.2 Why cases were refused", GATES)
    table.notes = [f"far off: by more than {FAR_OFF_PCT:g} %, or nothing to compute; a case may fail at several gates"]
    failed = [(gate.name, case) for case in cases for gate in case.forecast.gates if not gate.passed]
    for name in dict.fromkeys(gate for gate, _ in failed):
        here = [case for gate, case in failed if gate == name]
        table.rows.append({"gate": name, "cases": len(here), "far": sum(case.far for case in here)})
    return table


def _score(cases: Sequence[Case], board: Scoreboard) -> None:
    answered = [case for case in cases if case.forecast.answered]
    worst = max(answered, key=lambda case: case.off_pct or 0.0, default=None)
    within = sum(case.inside is True for case in answered)
    of = f"simulated, {len(answered)} of {len(cases)} cases answered, {within} with the truth within the interval"
    if worst is None:
        board.fail(ERROR, f"{of}; nothing to measure")
    else:
        board.score(
            ERROR, worst.off_pct or 0.0,
            f"{of}; largest: {worst.workload}, {worst.candidate} from {worst.recorded} at load {worst.load:g} with "
            f"{worst.explore:.0%} explored; median {np.median([case.off_pct or 0.0 for case in answered]):.2f}",
        )  # fmt: skip
    board.score(ANSWERED, len(answered) / len(cases), of)
    board.score(WRONG_ANSWERS, sum(case.far for case in answered), f"answered, and off by more than {FAR_OFF_PCT:g} %")


def _listed(numbers: Sequence[float], times: float = 1) -> str:
    return ", ".join(f"{number * times:g}" for number in numbers)
