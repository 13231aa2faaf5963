"""The law that carries the product, over random plans and records.

For any split of the records over agents and batches, any cut of the plan, any order of merging and any way there (in
the process, as a frame, as bodies), the sorted result is that of one pass over all records: counts, cells, extremes
and integer sums bit for bit, float sums within 1e-12 * sum|x|.
"""

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.chain import Chain
from pipeline.manifest import Manifest, drained, window_counts
from pipeline.partial import Partial
from pipeline.plan import LINE_FUNCTIONS
from pipeline.scalar_states import AvgState, SumState
from pipeline.schema import polars_schema, stream_schema
from pipeline.sketch_state import SketchState
from pipeline.states import state_class
from quantiles.merged_dense import merge_dense
from quantiles.sketch_column import SketchColumn
from tests.pipeline.probes import SCHEMAS, TABLES, compiled, histograms

CELLS = [
    *histograms([[1], [300, 0, 2], [], [5] * 40]),
    *histograms([[3, 1], [70_000]], scale=3, first=-20),
    *histograms([[2, 2, 9]], scale=8, first=900),
]
WINDOWS = ["'1' SECOND", "'10' SECOND", "'1' MINUTE", "'1' HOUR"]
CONDITIONS = [
    "err = 0",
    "ok",
    "NOT ok OR load > 0",
    "rtt_us BETWEEN -1000 AND 2000000",
    "src LIKE '10.%'",
    "dst IN ('10.0.0.1', '10.0.0.9') OR load IS NULL",
    "load / 3.0 <= loss * 7",
    "rtt_us % 7 <> 3",
    "REGEXP_EXTRACT(src, '([0-9]+)[.]([0-9]+)$', 2) <> '2'",
    "REGEXP_EXTRACT(host, '(x)?h') IS NULL",
    "dist IS NOT NULL OR err = 1",
]
TABLE_CONDITIONS = [
    "s.tor IS NOT NULL",
    "s.rack / rtt_us < 0.5",
    "s.tor LIKE '%1' AND err < 2",
    "s.weight >= load",
    "REGEXP_EXTRACT(s.tor, 'tor-([0-9])') IN ('1', 'x')",
]
LABELS = ["src", "dst", "ok", "err", "load", "UPPER(dst) AS up", "rtt_us DIV 100000 AS slot", "ts % 3 AS third",
    "REGEXP_EXTRACT(src, '([0-9]+)[.]([0-9]+)$') AS net", "REGEXP_EXTRACT(dst, '.', 0) AS initial",
]  # fmt: skip
TABLE_LABELS = ["s.tor AS tor", "s.rack AS rack", "COALESCE(s.tor, dst) AS place", "s.weight AS weight",
    "REGEXP_EXTRACT(s.tor, '(t)or-([0-9])', 2) AS number"]  # fmt: skip
ARGUMENTS = [
    "rtt_us",
    "size_b",
    "load",
    "load / 3.0",
    "loss / CASE WHEN ok THEN 1000.0 ELSE 7.0 END",
    "POW(loss, 2) + 1",
    "load % 0.7",
    "rtt_us * 1.5",
    "CAST(load AS BIGINT)",
    "CASE WHEN ok THEN rtt_us END",
    "CAST(REGEXP_EXTRACT(src, '([0-9]+)[.]([0-9]+)$', 2) AS BIGINT)",
    "ROUND(load, 1) - LN(ABS(loss))",
]
WEIGHTS = ["err", "3", "rtt_us DIV 50000", "CAST(load AS BIGINT)", "CASE WHEN ok THEN 2147483648 END"]
FUNCTIONS = ["sketch", "count", "sum", "min", "max", "avg"]
CALLS = [
    st.builds("{}({})".format, st.sampled_from(FUNCTIONS), st.sampled_from(ARGUMENTS)),
    st.sampled_from(["sketch(dist)", "count(dist)", "sketch(CASE WHEN ok THEN dist END)"]),
    st.builds("sketch({}, {})".format, st.sampled_from(ARGUMENTS), st.sampled_from(WEIGHTS)),
    st.sampled_from(["first_lines(src)", "last_lines(CASE WHEN ok THEN dst END, size_b)", "first_lines(dst, err)"]),
]


@st.composite
def queries(draw):
    """The SQL of a random query."""
    join = draw(st.sampled_from(["", "JOIN hosts AS s ON probes.src = s.ip", "LEFT JOIN hosts AS s ON s.ip = src"]))
    conditions = draw(
        st.lists(st.sampled_from(CONDITIONS + (TABLE_CONDITIONS if join else [])), max_size=2, unique=True)
    )
    labels = draw(st.lists(st.sampled_from(LABELS + (TABLE_LABELS if join else [])), max_size=3, unique=True))
    calls = draw(st.lists(st.one_of(CALLS), min_size=1, max_size=4))
    metrics = [f"{call} AS m{i}_{'lines' if '_lines(' in call else 'total'}" for i, call in enumerate(calls)]
    where = f"WHERE {' AND '.join(f'({c})' for c in conditions)}" if conditions else ""
    keys = [label.rsplit(" AS ", 1)[-1] for label in labels]
    group_by = ", ".join([f"TUMBLE(ts, INTERVAL {draw(st.sampled_from(WINDOWS))})", *keys])
    items = ", ".join([*labels, *metrics, "count(*) AS all_total"])
    return f"SELECT {items} FROM probes {join} {where} GROUP BY {group_by}"


@st.composite
def batches(draw):
    """Records: few distinct keys, hard numbers, negative times; NULLs everywhere but in ts and host."""
    n = draw(st.integers(0, 60))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    spread_ns = draw(st.sampled_from([10**8, 10**10, 10**13]))
    hard_ints = [0, 1, -1, 7, 123_456, 2**31, 2**53 + 1, -(2**62), 2**63 - 1]
    hard_floats = [0.0, -0.0, 1.0, 3.0, 0.1, -7.3, 1e-300, 5e-324, 1e12, math.nan, math.inf, -math.inf]
    soft = random.lognormal(3, 4, 8).tolist()
    pools = {
        "src": ["10.0.0.1", "10.0.0.2", "10.0.0.3", "nowhere", ""],
        "dst": ["10.0.0.1", "a", "A", ""],
        "rtt_us": [*hard_ints[:5], 99_999, 100_000, 5_000_000],
        "size_b": hard_ints,
        "load": hard_floats + soft,
        "loss": hard_floats[:9] + soft,
        "err": [0, 1, 2],
        "ok": [True, False],
        "dist": CELLS,
    }
    full = draw(st.booleans())
    columns: dict[str, list[object]] = {"ts": random.integers(-spread_ns, spread_ns, n).tolist(), "host": ["h"] * n}
    for name, pool in pools.items():
        choices = pool if full else [*pool, None]
        columns[name] = [choices[i] for i in random.integers(0, len(choices), n)]
    return pl.DataFrame(columns, schema=polars_schema(stream_schema(SCHEMAS["probes"])))


@dataclass
class Way:
    """How one batch travels: the cut at which it is drained, the form its partial takes, and its stages' kind."""

    rows: pl.DataFrame
    cut: int
    form: str
    local: bool


def travel(chain: Chain, way: Way, manifest: Manifest) -> Partial:
    """A batch through the chain as agent and collector would run it together, counted into the manifest."""
    window_ns = chain.plan.window_ns
    rows = chain.prepare(way.rows)
    manifest.add("in", *window_counts(rows, window_ns))
    for i in range(1, way.cut + 1):
        rows = chain.local(i, rows) if way.local else chain.apply(i, rows)
        assert dict(chain.plain(i, rows).schema) == polars_schema(chain.schema_at(i))
    if way.cut < chain.row_stages:  # the rest runs elsewhere
        rows = chain.plain(way.cut, rows)
    arrived = window_counts(rows, window_ns)
    manifest.add(drained(way.cut), *arrived)
    partial = chain.aggregate(rows) if way.cut == chain.row_stages else chain.finish(rows, after=way.cut)
    return changed_form(chain, partial, way.form)


def changed_form(chain: Chain, partial: Partial, form: str) -> Partial:
    plan = chain.plan
    if form == "frame":
        return Partial.from_frame(plan, partial.to_frame())
    if form == "windows":
        return Partial.merge([*partial.split_windows().values(), Partial.empty(plan)])
    if form == "bodies":
        states = {
            m.name: state_class(m.function).from_bodies(m, *partial.states[m.name].to_bodies()) for m in plan.metrics
        }
        return Partial(plan, partial.keys, states)
    return partial


def absolute_sums(chain: Chain, rows: pl.DataFrame) -> dict[tuple[object, ...], dict[str, float]]:
    """sum|x| of each group and float metric, by plain Python."""
    for i in range(1, chain.row_stages + 1):
        rows = chain.apply(i, rows)
    totals: dict[tuple[object, ...], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    labels = [rows[name].cast(pl.String).fill_null("").to_list() for name in chain.plan.labels]
    for metric in chain.plan.aggregates:
        if metric.column is None or metric.integer or metric.function in LINE_FUNCTIONS:
            continue
        values = rows[metric.column].to_list()
        if rows[metric.column].dtype == pl.Binary:
            values = [None if cell is None else float(held(cell).sums.values()[0]) for cell in values]
        times = [1] * rows.height if metric.weight is None else rows[metric.weight].to_list()
        for k, (ts, x) in enumerate(zip(rows["ts"], values, strict=True)):
            key = (ts // chain.plan.window_ns * chain.plan.window_ns, *(label[k] for label in labels))
            if x is not None and not math.isnan(x) and counted(times[k]):
                totals[key][metric.alias] += abs(x) * counted(times[k])
    return totals


def held(cell: bytes) -> SketchColumn:
    """The sketch in a cell."""
    return merge_dense(cell, [len(cell)], [0], 1, 6)


def counted(weight: int | None) -> int:
    """How many times a value of this weight counts."""
    return weight if weight is not None and 1 <= weight <= 2**32 else 0


def assert_same(chain: Chain, found: Partial, wanted: Partial, rows: pl.DataFrame) -> None:
    assert found.keys.equals(wanted.keys)
    scale = absolute_sums(chain, rows)
    keys = wanted.keys.drop("rows").rows()
    for metric in chain.plan.metrics:
        mine, truth = found.states[metric.name], wanted.states[metric.name]
        assert type(mine) is type(truth)
        if metric.integer or not isinstance(truth, SumState | AvgState | SketchState):
            assert mine.to_bodies()[0] == truth.to_bodies()[0]
            continue
        if isinstance(truth, SumState):
            assert np.array_equal(mine.present, truth.present)
            pairs = zip(mine.sums.values(), truth.sums.values(), strict=True)
        elif isinstance(truth, AvgState):
            assert np.array_equal(mine.n, truth.n)
            pairs = zip(mine.sums.values(), truth.sums.values(), strict=True)
        else:
            for part in ("offsets", "cells", "counts", "nan_counts", "minima", "maxima"):
                assert np.array_equal(getattr(mine.column, part), getattr(truth.column, part), equal_nan=part[0] == "m")
            pairs = zip(mine.column.sums.values(), truth.column.sums.values(), strict=True)
        for key, (a, b) in zip(keys, pairs, strict=True):
            close = abs(a - b) <= 1e-12 * scale[key][metric.name] if math.isfinite(b) else repr(a) == repr(b)
            assert close, (metric, key, a, b)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_split_cut_order_and_form_gives_the_result_of_one_pass(data):
    sql = data.draw(queries(), label="query")
    chain = Chain(compiled(sql), TABLES)
    rows = data.draw(batches(), label="records")
    wanted = chain.finish(chain.prepare(rows), 0).sorted()

    starts = data.draw(st.lists(st.integers(0, max(rows.height - 1, 0)), max_size=4), label="splits")
    # Half of the pieces hold one row: the batch in which Polars takes every column for a constant.
    ends = sorted({end for start in starts for end in (start, min(start + 1, rows.height))})
    order = np.random.default_rng(data.draw(st.integers(0, 2**32))).permutation(rows.height)
    pieces = [rows[part] for part in np.split(order, ends)]
    cuts = st.integers(0, chain.row_stages)
    forms = st.sampled_from(["memory", "frame", "bodies", "windows"])
    manifest = Manifest()
    partials = [
        travel(chain, Way(piece, data.draw(cuts), data.draw(forms), data.draw(st.booleans())), manifest)
        for piece in pieces
    ]
    while len(partials) > 1:
        k = data.draw(st.integers(2, len(partials)))
        picked = [partials.pop(data.draw(st.integers(0, len(partials) - 1))) for _ in range(k)]
        partials.append(Partial.merge(picked))

    assert_same(chain, partials[0].sorted(), wanted, chain.prepare(rows))
    n_in = sum(counts.n_in for counts in manifest.windows().values())
    assert n_in == rows.height


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_result_is_what_plain_python_computes_from_the_rows(data):
    sql = data.draw(queries(), label="query")
    chain = Chain(compiled(sql), TABLES)
    rows = chain.prepare(data.draw(batches(), label="records"))
    found = chain.finish(rows, 0).sorted()
    for i in range(1, chain.row_stages + 1):
        rows = chain.apply(i, rows)

    groups = defaultdict(list)
    labels = [rows[name].cast(pl.String).fill_null("").to_list() for name in chain.plan.labels]
    for k, row in enumerate(rows.iter_rows(named=True)):
        start = row["ts"] // chain.plan.window_ns * chain.plan.window_ns
        groups[start, *(label[k] for label in labels)].append(row)
    assert found.keys.drop("rows").rows() == sorted(groups)
    assert found.keys["rows"].to_list() == [len(groups[key]) for key in sorted(groups)]
    for metric in chain.plan.aggregates:
        answers = found.states[metric.alias].answers()
        for key, answer in zip(sorted(groups), answers, strict=True):
            if metric.column is None:
                assert answer == len(groups[key])
                continue
            values = [row[metric.column] for row in groups[key] if row[metric.column] is not None]
            if metric.function in LINE_FUNCTIONS:
                assert answer == len(values)
            elif values and isinstance(values[0], bytes):
                counts = [int(held(cell).totals()[0]) if metric.function == "sketch" else 1 for cell in values]
                assert answer == sum(counts)
            elif metric.weight is None:
                assert_answer(metric.function, answer, values)
            else:
                rows_of_key = [(row[metric.column], counted(row[metric.weight])) for row in groups[key]]
                assert answer == sum(n for x, n in rows_of_key if x is not None and not math.isnan(x))


def assert_answer(function: str, answer: float | None, values: list[float]) -> None:
    real = [x for x in values if not math.isnan(x)]
    if function == "count":
        assert answer == len(values)
    elif function == "sketch":
        assert answer == len(real)
    elif function in ("min", "max"):
        assert answer == ((min if function == "min" else max)(real) if real else None)
    elif not values:
        assert answer is None
    elif all(math.isfinite(x) for x in values):
        n = len(values) if function == "avg" else 1
        exact = sum(values) if isinstance(values[0], int) else math.fsum(values)
        assert abs(answer - exact / n) <= 1e-12 * sum(abs(x) for x in values) / n
    else:
        both = math.inf in values and -math.inf in values
        truth = math.nan if both or len(real) < len(values) else (math.inf if math.inf in values else -math.inf)
        assert repr(answer) == repr(truth)
