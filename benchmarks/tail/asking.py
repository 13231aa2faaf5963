"""Table 3: forecasts from recordings beside what the candidate does to other requests of the same kind, simulated.

A case is one recording and one candidate. Speed-ups are learned from the recording itself, in the classes that the
service's settings name; whether a case is answered is decided by the gates. What a refused case would have said is
looked at as well: a refusal is right where that is wrong.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
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
COLUMNS = [
    Column("workload", "workload"), Column("recorded", "recorded under"), Column("candidate", "candidate"),
    Column("cases", "cases"), Column("answered", "answered"), Column("median", "p99 off, median, %"),
    Column("most", "most, %"), Column("right", "refused and far off"), Column("needless", "refused and near"),
]  # fmt: skip
GATES = [Column("gate", "gate that does not hold"), Column("cases", "cases"), Column("far", "of them far off")]


@dataclass(frozen=True, slots=True)
class Case:
    """What was asked, what was answered, and how far off that was; off_pct is None where nothing was computed."""

    workload: str
    recorded: str
    candidate: str
    load: float
    explore: float
    forecast: Forecast
    off_pct: float | None

    @property
    def far(self) -> bool:
        """Further off than any answer may be; what could not be computed counts as such."""
        return self.off_pct is None or self.off_pct > FAR_OFF_PCT


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """By workload, recorded policy and candidate; then which gates refused."""
    at_hand, told = workloads()
    cases = [case for workload in at_hand for case in _cases(workload, size)]
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


def _cases(workload: Workload, size: Sizing) -> Iterator[Case]:
    unexplored = [(size.loads[len(size.loads) // 2], 0.0)]  # of which little can be said
    for recorded, (load, explore) in product(RECORDED, [*product(size.loads, size.shares), *unexplored]):
        seen = recording(workload, load, recorded, size.recorded, explore, _SEED)
        learned = _learned(seen.samples)
        for candidate in CANDIDATES:
            if candidate == recorded:
                continue
            forecast = what_if(seen.samples, Question(recorded, candidate, SERVER), learned, seeds=range(size.draws))
            other = recording(workload, load, candidate, size.recorded, explore, _OTHER_SEED).run.latencies_ms
            p99 = quantiles_of(other[int(WARM_UP * other.size) :])[0.99]
            said = forecast.candidate or forecast.withheld
            figure = None if said is None else said.quantiles_ms.get(0.99)
            off = None if figure is None else 100 * abs(figure.value / p99 - 1)
            yield Case(workload.name, recorded.name, candidate.name, load, explore, forecast, off)


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
        "most": max(answered, default=None), "right": sum(case.far for case in refused),
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
    of = f"simulated, {len(answered)} of {len(cases)} cases answered"
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
