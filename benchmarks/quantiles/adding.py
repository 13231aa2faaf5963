"""Table 1: how fast values go in, how far the answers are off, and how many bytes 10,000 values take."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np

from benchmarks.quantiles.data_sets import GENERATORS, REAL, SYNTHETIC, generated, service_times
from benchmarks.quantiles.errors import errors_pct
from benchmarks.quantiles.peers.exact import SORT, SUM
from benchmarks.quantiles.peers.method import HISTOGRAM, LEVELS, Method
from benchmarks.quantiles.peers.registry import Field
from benchmarks.quantiles.peers.tailwatch import NUMBA, NUMPY
from benchmarks.quantiles.sizing import BATCH, Sizing
from benchmarks.rounds import Candidate, Rounds, interleaved
from benchmarks.tables import Column, Row, Table
from benchmarks.targets import Scoreboard
from quantiles.array_types import FloatArray

LARGEST_ERROR_PCT = 1.0  # a sketch that is further off, at any of the four levels, is no match
BYTES_OF = 10_000

COLUMNS = [
    Column("method", "method"), Column("kind", "kind"), Column("guarantee", "guarantee"), Column("takes", "takes"),
    Column("n", "values"), Column("rate", "M/s", 2), Column("low", "lowest", 2), Column("high", "highest", 2),
    Column("vs_sum", "x np.sum", 3), Column("vs_sort", "x np.sort", 3), Column("vs_peer", "x peer", 3),
    Column("p50", "err% p50", 3), Column("p90", "p90", 3), Column("p99", "p99", 3), Column("p99.9", "p99.9", 3),
    Column("bytes", "bytes"),
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one data set gave."""

    name: str
    rounds: Rounds
    errors: dict[str, list[float]]
    bytes: dict[str, int]
    peer: str | None

    def speedup(self, method: str, over: str | None) -> float:
        """Median of the ratios; NaN where one of them did not run."""
        if over is None or not {method, over} <= self.rounds.seconds.keys():
            return math.nan
        return self.rounds.speedup(method, over).median


def run(field: Field, size: Sizing, board: Scoreboard) -> list[Table]:
    """Measures every method on every data set, and scores the targets of adding."""
    tables, outcomes = [], []
    absent = field.notes()
    sets: list[tuple[str, str, Callable[[int], FloatArray]]] = [
        (name, SYNTHETIC, partial(generated, name)) for name in GENERATORS
    ]
    real, where = service_times()
    if real is not None:
        sets.append((REAL, f"{where} Repeated in their order as often as needed.", lambda n: np.resize(real, n)))
    else:
        absent.append(where)
    for name, origin, make in sets:
        outcome, table = _measured(field, size, name, make)
        table.notes += [origin, *absent, *(f"{who} failed: {why}" for who, why in outcome.rounds.failed.items())]
        outcomes.append(outcome)
        tables.append(table)
    score(outcomes, board)
    return [_summary(outcomes, [NUMBA, NUMPY, HISTOGRAM]), *tables]


def _measured(field: Field, size: Sizing, name: str, make: Callable[[int], FloatArray]) -> tuple[Outcome, Table]:
    values = make(size.values_for(max(method.most_values for method in field.methods)))
    given = {method.name: values[: size.values_for(method.most_values)] for method in field.methods}
    candidates = {method.name: filling(method, given[method.name]) for method in field.methods}
    rounds = interleaved(candidates, size.rounds)
    errors: dict[str, list[float]] = {}
    sizes: dict[str, int] = {}
    for method in field.methods:
        try:
            errors[method.name] = _errors(method, given[method.name])
            if method.to_bytes is not None:
                sizes[method.name] = len(method.to_bytes(filled(method, values[:BYTES_OF])))
        except Exception as error:  # noqa: BLE001  # a peer's fault is a result to show, not a reason to stop
            rounds.failed[method.name] = f"{type(error).__name__}: {error}"
            rounds.seconds.pop(method.name, None)
    outcome = Outcome(name, rounds, errors, sizes, fastest_peer(field, rounds, errors))
    table = Table(f"adding {name}", f"1. Adding values: {name}", COLUMNS)
    table.notes = [
        f"Batches of {BATCH:,}; M/s = million values per CPU second, median of {size.rounds} rounds.",
        f"bytes = of the first {BYTES_OF:,} values.",
        "err% = value error at the nearest rank; for others than ours, the closest of it and the ranks beside it.",
        f"x peer = times the fastest mergeable sketch within {LARGEST_ERROR_PCT:g} % here: {outcome.peer}.",
    ]
    table.rows = [_row(m, outcome, len(given[m.name])) for m in field.methods if m.name in rounds.seconds]
    return outcome, table


def filling(method: Method, values: FloatArray, batch: int = BATCH) -> Candidate:
    """A candidate that adds all values in batches to a new state, or asks an engine about their column."""
    if method.load is not None and method.ask is not None:
        loaded, ask = method.load(values), method.ask
        return Candidate(lambda _: ask(loaded, LEVELS), method.ready, len(values))
    new, add = method.new, method.add
    assert new is not None
    assert add is not None
    batches = [values[i : i + batch] for i in range(0, len(values), batch)]

    def prepare() -> object:
        method.ready()
        return new()

    def fill(state: object) -> None:
        for part in batches:
            add(state, part)

    return Candidate(fill, prepare, len(values))


def filled(method: Method, values: FloatArray) -> object:
    """A new state that holds the values."""
    candidate = filling(method, values)
    state = candidate.prepare()
    candidate.run(state)
    return state


def fastest_peer(field: Field, rounds: Rounds, errors: dict[str, list[float]]) -> str | None:
    """The fastest third-party mergeable sketch whose measured error is small enough at every level."""
    fit = [
        method.name
        for method in field.of("sketch")
        if method.merge is not None and method.name in rounds.seconds and max(errors[method.name]) <= LARGEST_ERROR_PCT
    ]
    return max(fit, key=lambda name: rounds.rate(name).median, default=None)


def _errors(method: Method, values: FloatArray) -> list[float]:
    method.ready()
    if method.load is not None and method.ask is not None:
        answers = method.ask(method.load(values), LEVELS)
    elif method.quantiles is not None:
        answers = method.quantiles(filled(method, values), LEVELS)
    else:
        return []
    return errors_pct(np.sort(values), LEVELS, answers, ranks_beside(method))


def ranks_beside(method: Method) -> int:
    """Ours answers at the nearest rank and is held to it; others may mean the rank beside it."""
    return 0 if method.kind == "ours" else 1


def _row(method: Method, outcome: Outcome, n: int) -> Row:
    rate = outcome.rounds.rate(method.name)
    row: Row = {
        "method": method.name, "kind": method.kind, "guarantee": method.guarantee, "takes": method.takes, "n": n,
        "rate": rate.median / 1e6, "low": rate.lowest / 1e6, "high": rate.highest / 1e6,
        "vs_sum": outcome.speedup(method.name, SUM), "vs_sort": outcome.speedup(method.name, SORT),
        "vs_peer": outcome.speedup(method.name, outcome.peer), "bytes": outcome.bytes.get(method.name),
    }  # fmt: skip
    errors = zip(LEVELS, outcome.errors[method.name], strict=False)  # np.sum has none
    return row | {f"p{100 * q:g}": error for q, error in errors}


def score(outcomes: Sequence[Outcome], board: Scoreboard) -> None:
    """Each target takes the worst data set; the remark says which, and the best."""
    wanted = [
        ("quantiles.add_vs_fastest_peer", NUMBA, None),
        ("quantiles.add_vs_npsort", NUMBA, SORT),
        ("quantiles.add_vs_npsum", NUMBA, SUM),
        ("quantiles.numpy_vs_fastest_peer", NUMPY, None),
    ]
    for target_id, method, over in wanted:
        ratios = {one.name: one.speedup(method, over or one.peer) for one in outcomes}
        without = [name for name, ratio in ratios.items() if math.isnan(ratio)]
        if without:
            reasons = {one.rounds.failed.get(method, f"{method} or its rival did not run") for one in outcomes}
            board.fail(target_id, f"no ratio on {', '.join(without)}: {'; '.join(sorted(reasons))}")
        else:
            rivals = sorted({over or str(one.peer) for one in outcomes})
            worst = min(ratios, key=ratios.__getitem__)
            board.score(target_id, ratios[worst], f"{method} / {' or '.join(rivals)}; {_ends(ratios)}")


def _ends(ratios: dict[str, float]) -> str:
    worst, best = min(ratios, key=ratios.__getitem__), max(ratios, key=ratios.__getitem__)
    return (
        f"worst of {len(ratios)} data sets: {worst}, {ratios[worst]:.3g}; best: {best}, {ratios[best]:.3g}; "
        f"median {median(ratios.values()):.3g}"
    )


def _beside_histogram(outcomes: Sequence[Outcome]) -> list[str]:
    """A sentence for each of our kernels."""
    found = []
    for method in (NUMBA, NUMPY):
        ratios = {one.name: one.speedup(method, HISTOGRAM) for one in outcomes}
        if not any(math.isnan(ratio) for ratio in ratios.values()):
            found.append(f"{method} / {HISTOGRAM}: {_ends(ratios)}.")
    return found


def _summary(outcomes: Sequence[Outcome], methods: Sequence[str]) -> Table:
    """The ratios that the targets come from, boost-histogram's among them."""
    table = Table(
        "adding ratios",
        "1. Adding values: ratios on every data set",
        [
            Column("data", "data set"), Column("method", "method"), Column("peer", "fastest peer within 1 %"),
            Column("vs_peer", "x peer", 2), Column("vs_sort", "x np.sort", 2), Column("vs_sum", "x np.sum", 3),
            Column("vs_histogram", "x boost-histogram", 2),
        ],
        [
            SYNTHETIC,
            "boost-histogram has to know the range beforehand, so it is no sketch and no peer of the targets.",
            *_beside_histogram(outcomes),
        ],
    )  # fmt: skip
    for one in outcomes:
        for method in methods:
            table.rows.append({
                "data": one.name, "method": method, "peer": one.peer, "vs_peer": one.speedup(method, one.peer),
                "vs_sort": one.speedup(method, SORT), "vs_sum": one.speedup(method, SUM),
                "vs_histogram": one.speedup(method, HISTOGRAM),
            })  # fmt: skip
    return table
