"""Table 2: merging 1,000 sketches that lie in memory, and decoding and merging 1,000 that came as bytes."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.quantiles.adding import LARGEST_ERROR_PCT, filled, ranks_beside
from benchmarks.quantiles.data_sets import SYNTHETIC, generated
from benchmarks.quantiles.errors import errors_pct
from benchmarks.quantiles.peers.method import LEVELS, Method
from benchmarks.quantiles.peers.registry import Field
from benchmarks.quantiles.peers.tailwatch import NUMBA
from benchmarks.quantiles.sizing import Sizing
from benchmarks.rounds import Candidate, Rounds, interleaved
from benchmarks.tables import Column, Row, Table
from benchmarks.targets import Scoreboard
from quantiles.array_types import FloatArray

SKETCHES = 1_000
SLOW_BELOW = 200_000  # Method.most_values of what fills too slowly to make 1,000 different sketches
SLOW_SKETCHES = 50

COLUMNS = [
    Column("method", "method"), Column("different", "different ones"), Column("bytes", "bytes each"),
    Column("merge", "merge ms", 2), Column("merge_low", "lowest", 2), Column("merge_high", "highest", 2),
    Column("merge_ratio", "ours x", 2), Column("bodies", "decode+merge ms", 2), Column("bodies_low", "lowest", 2),
    Column("bodies_high", "highest", 2), Column("bodies_ratio", "ours x", 2), Column("error", "err% after", 3),
]  # fmt: skip


def run(field: Field, size: Sizing, board: Scoreboard) -> list[Table]:
    """Both ways of merging on a few data sets; the target takes the worst of them."""
    tables, ratios = [], {}
    for name in size.merged_sets:
        table, ratio = _measured(field, size, name)
        tables.append(table)
        ratios[name] = ratio
    target = "quantiles.decode_merge_vs_fastest_peer"
    worst = min(ratios, key=lambda name: -math.inf if math.isnan(ratios[name][0]) else ratios[name][0])
    if math.isnan(ratios[worst][0]):
        board.fail(target, f"no ratio on {worst}: {ratios[worst][1]}")
    else:
        best = max(value for value, _ in ratios.values())
        board.score(
            target,
            ratios[worst][0],
            f"{NUMBA} / {ratios[worst][1]}; {SKETCHES:,} bodies of {size.merged_values:,} values; "
            f"worst of {', '.join(ratios)}: {worst}; best {best:.3g}",
        )
    return tables


def _measured(field: Field, size: Sizing, name: str) -> tuple[Table, tuple[float, str]]:
    values = generated(name, SKETCHES * size.merged_values, seed=2)
    in_memory: dict[str, Candidate] = {}
    as_bytes: dict[str, Candidate] = {}
    different: dict[str, int] = {}
    sizes: dict[str, float] = {}
    errors: dict[str, float] = {}
    failed: dict[str, str] = {}
    mergeable = [m for m in field.methods if m.merge is not None or m.merge_bodies is not None]
    for method in mergeable:
        count = different[method.name] = SLOW_SKETCHES if method.most_values < SLOW_BELOW else SKETCHES
        try:
            method.ready()
            parts = [values[i * size.merged_values : (i + 1) * size.merged_values] for i in range(count)]
            states: list[Any] = [filled(method, part) for part in parts] * (SKETCHES // count)
            ordered = np.sort(values[: count * size.merged_values])
            if method.merge is not None:
                in_memory[method.name] = _candidate(method, method.merge, states)
                errors[method.name] = _error(method, ordered, method.merge(states))
            if method.merge_bodies is not None and method.to_bytes is not None:
                bodies = [method.to_bytes(state) for state in states]
                sizes[method.name] = sum(map(len, bodies)) / len(bodies)
                as_bytes[method.name] = _candidate(method, method.merge_bodies, bodies)
                errors[method.name] = _error(method, ordered, method.merge_bodies(bodies))
        except Exception as error:  # noqa: BLE001  # a peer's fault is a result to show, not a reason to stop
            failed[method.name] = f"{type(error).__name__}: {error}"
    merged = interleaved(in_memory, size.rounds, size.least_s)
    decoded = interleaved(as_bytes, size.rounds, size.least_s)
    table = Table(f"merging {name}", f"2. Merging {SKETCHES:,} sketches: {name}", COLUMNS)
    table.notes = [
        f"{size.merged_values:,} values in each; CPU ms for all {SKETCHES:,}, median of {size.rounds} rounds.",
        f"ours x = time / time of {NUMBA}.",
        f"Slow methods make {SLOW_SKETCHES} different sketches and repeat them: see 'different ones'.",
        "err% after = largest value error at p50, p90, p99 and p99.9 of what was decoded and merged (else merged).",
        SYNTHETIC,
        *(f"{m.name} has no {', no '.join(m.lacks)}." for m in field.of("sketch", "histogram") if m.lacks),
        *(f"{who} failed: {why}" for who, why in (failed | merged.failed | decoded.failed).items()),
        *field.notes(),
    ]
    for method in mergeable:
        name_of = method.name
        known: Row = {
            "method": name_of,
            "different": different[name_of],
            "bytes": sizes.get(name_of),
            "error": errors.get(name_of),
        }
        table.rows.append(known | _cells("merge", merged, name_of) | _cells("bodies", decoded, name_of))
    return table, _ratio(field, decoded, errors)


def _candidate(method: Method, merge: Callable[[list[Any]], Any], items: list[Any]) -> Candidate:
    def prepare() -> list[Any]:
        method.ready()
        return items

    return Candidate(merge, prepare)


def _cells(key: str, rounds: Rounds, method: str) -> Row:
    if method not in rounds.seconds:
        return {}
    time_s = rounds.time_s(method)
    return {
        key: 1e3 * time_s.median,
        f"{key}_low": 1e3 * time_s.lowest,
        f"{key}_high": 1e3 * time_s.highest,
        f"{key}_ratio": rounds.speedup(NUMBA, method).median if NUMBA in rounds.seconds else None,
    }


def _error(method: Method, ordered: FloatArray, merged: Any) -> float:
    """Largest error at the usual levels; sketches that repeat leave the values at these ranks where they are."""
    assert method.quantiles is not None
    return max(errors_pct(ordered, LEVELS, method.quantiles(merged, LEVELS), ranks_beside(method)))


def _ratio(field: Field, rounds: Rounds, errors: dict[str, float]) -> tuple[float, str]:
    """How much faster than the fastest fit peer ours decodes and merges, and which peer that is; or NaN and why."""
    peers = [m.name for m in field.of("sketch") if m.name in rounds.seconds]
    fit = [name for name in peers if errors[name] <= LARGEST_ERROR_PCT]
    if NUMBA not in rounds.seconds or not fit:
        return math.nan, rounds.failed.get(NUMBA, "ours or every peer did not run")
    fastest, any_error = (min(names, key=lambda name: rounds.time_s(name).median) for names in (fit, peers))
    ratio = rounds.speedup(NUMBA, fastest).median
    if any_error == fastest:
        return ratio, fastest
    other = rounds.speedup(NUMBA, any_error).median
    return ratio, f"{fastest} ({any_error}, {errors[any_error]:.3g} % off, would give {other:.3g})"
