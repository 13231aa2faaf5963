"""Table 6: the largest error at any of thousands of levels, also after merging and after bytes."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.quantiles.adding import filled, ranks_beside
from benchmarks.quantiles.data_sets import GENERATORS, REAL, SYNTHETIC, generated, service_times
from benchmarks.quantiles.errors import MILLION, dense_levels, errors_pct
from benchmarks.quantiles.peers.method import Method
from benchmarks.quantiles.peers.registry import Field
from benchmarks.quantiles.sizing import Sizing
from benchmarks.tables import Cell, Column, Table
from quantiles.array_types import FloatArray

PIECES = 7
OUR_LEVELS = [level / MILLION for level in dense_levels(10_000)]
PEER_LEVELS = [level / MILLION for level in dense_levels(500)]
PEER_VALUES = 50_000

COLUMNS = [
    Column("method", "method"), Column("data", "data set"), Column("n", "values, up to"), Column("levels", "levels"),
    Column("one", "one sketch", 4), Column("merged", "merged", 4), Column("decoded", "decoded and merged", 4),
]  # fmt: skip


def run(field: Field, size: Sizing) -> tuple[list[Table], float]:
    """The table, and our largest error in per cent; NaN where ours did not run."""
    real, where = service_times()
    sets: dict[str, Callable[[int], FloatArray]] = {name: partial(generated, name, seed=6) for name in GENERATORS}
    if real is not None:
        sets[REAL] = lambda n: real[:n]
    table = Table("accuracy", "6. Largest error, per cent of the value", COLUMNS)
    table.notes = [
        f"Against the exact value at the nearest rank, at every level. Ours: {_listed(size.accurate_n)} values.",
        "Others than ours may also mean one of the ranks beside it: the closest counts.",
        f"Merged = from {PIECES} sketches of parts of unequal size; decoded and merged = from the bytes of those.",
        SYNTHETIC,
        where,
    ]
    largest = math.nan
    for data, make in sets.items():
        for method in field.of("ours", "sketch", "histogram"):
            ours = method.kind == "ours"
            amounts = size.accurate_n if ours else (size.values_for(min(method.most_values, PEER_VALUES)),)
            levels = OUR_LEVELS if ours else PEER_LEVELS
            try:
                worst = _worst(method, [make(n) for n in amounts], levels)
            except Exception as error:  # noqa: BLE001  # a peer's fault is a result to show, not a reason to stop
                table.notes.append(f"{method.name} failed on {data}: {type(error).__name__}: {error}")
                if ours:
                    return [table], math.nan
                continue
            if ours:
                largest = max(x for x in (largest, *worst.values()) if x is not None and not math.isnan(x))
            row: dict[str, Cell] = {"method": method.name, "data": data, "n": amounts[-1], "levels": len(levels)}
            table.rows.append({**row, **worst})
    return [table], largest


def _worst(method: Method, samples: Sequence[FloatArray], levels: Sequence[float]) -> dict[str, float | None]:
    """The largest error of one sketch, of a merged one and of a decoded one, over all samples."""
    method.ready()
    worst: dict[str, float | None] = {}
    for values in samples:
        ordered = np.sort(values)
        for way, state in _states(method, values).items():
            assert method.quantiles is not None
            error = max(errors_pct(ordered, levels, method.quantiles(state, levels), ranks_beside(method)))
            worst[way] = max(error, worst.get(way) or 0.0)
    return worst


def _states(method: Method, values: FloatArray) -> dict[str, Any]:
    """The same values by all the ways the method has."""
    states: dict[str, Any] = {"one": filled(method, values)}
    cuts = np.unique((len(values) * np.linspace(0, 1, PIECES + 1) ** 2).astype(int))
    parts = [filled(method, values[a:b]) for a, b in pairwise(cuts)]
    if method.merge is not None:
        states["merged"] = method.merge(parts)
    if method.merge_bodies is not None and method.to_bytes is not None:
        states["decoded"] = method.merge_bodies([method.to_bytes(part) for part in parts])
    return states


def _listed(amounts: Sequence[int]) -> str:
    return ", ".join(f"{n:,}" for n in amounts)
