"""Table 3: values of many series mixed in one stream, each to the sketch of its series."""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.quantiles.data_sets import SYNTHETIC, generated
from benchmarks.quantiles.peers.method import LEVELS, Method
from benchmarks.quantiles.peers.registry import Field
from benchmarks.quantiles.peers.tailwatch import NUMBA
from benchmarks.quantiles.sizing import BATCH, Sizing
from benchmarks.rounds import Candidate, Rounds, interleaved
from benchmarks.tables import Column, Row, Table
from benchmarks.targets import Scoreboard
from quantiles.array_types import FloatArray, IntArray

SERIES = (1, 100, 10_000)
DATA = "NetMon-like"
SLOW_BELOW = 400_000  # Method.most_values of what is not worth splitting

AGAIN = ", again"
COLUMNS = [
    Column("method", "method"), Column("way", "way"), Column("series", "series"), Column("n", "values"),
    Column("first", "first M/s", 2), Column("first_low", "lowest", 2), Column("first_high", "highest", 2),
    Column("first_ratio", "ours x", 2), Column("again", "again M/s", 2), Column("again_low", "lowest", 2),
    Column("again_high", "highest", 2), Column("again_ratio", "ours x", 2),
]  # fmt: skip


def run(field: Field, size: Sizing, _: Scoreboard) -> list[Table]:
    """Every method that can, at every number of series; no target of its own."""
    table = Table("grouped", f"3. Adding to many series: {DATA}", COLUMNS)
    table.notes = [
        f"Random series, batches of {BATCH:,} values with codes.",
        "First M/s: into new states, making and growing them included.",
        "Again M/s: into states that hold such values already, as in a stream that goes on.",
        f"Median of {size.rounds} rounds; ours x = rate of {NUMBA} / rate, first and again.",
        "Splitting = sorting a batch by series and adding each part to its own sketch, for sketches without groups.",
        "Methods slower than 4 M/s (ddsketch, hdrhistogram, OTel SDK) are left out: one call a value, as in table 1.",
        SYNTHETIC,
        *field.notes(),
    ]
    values = generated(DATA, size.grouped_values, seed=3)
    for series in SERIES:
        codes = np.random.default_rng([3, series]).integers(0, series, len(values))
        candidates: dict[str, Candidate] = {}
        ways: dict[str, str] = {}
        for method in field.methods:
            for suffix in ("", AGAIN):
                found = grouped_candidate(method, values, codes, series, bool(suffix))
                if found is not None:
                    candidates[method.name + suffix], ways[method.name] = found
        rounds = interleaved(candidates, size.rounds)
        table.notes += [f"{who} failed at {series:,} series: {why}" for who, why in rounds.failed.items()]
        for name, way in ways.items():
            row: Row = {"method": name, "way": way, "series": series, "n": len(values)}
            table.rows.append(
                row | _cells("first", name, NUMBA, rounds) | _cells("again", name + AGAIN, NUMBA + AGAIN, rounds)
            )
    return [table]


def _cells(key: str, name: str, ours: str, rounds: Rounds) -> Row:
    if name not in rounds.seconds:
        return {}
    rate = rounds.rate(name)
    return {
        key: rate.median / 1e6,
        f"{key}_low": rate.lowest / 1e6,
        f"{key}_high": rate.highest / 1e6,
        f"{key}_ratio": rounds.speedup(ours, name).median if ours in rounds.seconds else None,
    }


def grouped_candidate(
    method: Method, values: FloatArray, codes: IntArray, series: int, again: bool = False
) -> tuple[Candidate, str] | None:
    """A candidate that adds values to their series, and which way it goes; None for what has no way.

    It makes new states each time, and all memory they come to need, as part of its work; with `again` it adds to states
    that have held the same values before.
    """
    if again and method.load_groups is not None:
        return None
    if method.load_groups is not None and method.ask_groups is not None:
        loaded, ask = method.load_groups(values, codes), method.ask_groups
        return Candidate(lambda _: ask(loaded, LEVELS), method.ready, len(values)), "GROUP BY"
    new, add, way = _grouping(method)
    if new is None or add is None:
        return None
    batches = [(values[i : i + BATCH], codes[i : i + BATCH]) for i in range(0, len(values), BATCH)]

    def fill(state: Any) -> Any:
        for part, part_codes in batches:
            add(state, part, part_codes)
        return state

    if not again:
        return Candidate(lambda _: fill(new(series)), method.ready, len(values)), way
    kept: list[Any] = []

    def prepare() -> Any:
        method.ready()
        if not kept:
            kept.append(fill(new(series)))
        return kept[0]

    return Candidate(fill, prepare, len(values)), way


def _grouping(
    method: Method,
) -> tuple[Callable[[int], Any] | None, Callable[[Any, FloatArray, IntArray], object] | None, str]:
    """The method's own grouped calls, or splitting."""
    if method.add_groups is not None:
        return method.new_groups, method.add_groups, "one call"
    if method.kind != "sketch" or method.new is None or method.add is None or method.most_values < SLOW_BELOW:
        return None, None, ""
    one, add = method.new, method.add

    def many(series: int) -> list[Any]:
        return [one() for _ in range(series)]

    def split(states: list[Any], values: FloatArray, codes: IntArray) -> None:
        order = np.argsort(codes.astype(np.uint16), kind="stable")  # a radix sort for 16 bits
        ordered, by_series = values[order], codes[order]
        starts = np.flatnonzero(np.diff(by_series, prepend=-1))
        owners = by_series[starts].tolist()
        edges = [*starts.tolist(), len(values)]
        for i, owner in enumerate(owners):
            add(states[owner], ordered[edges[i] : edges[i + 1]])

    return many, split, "splitting"
