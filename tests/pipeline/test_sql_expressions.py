"""What expressions mean: pinned values, and the same value for a row whatever rows stand beside it."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.plan import ProjectStage
from tests.pipeline.probes import TUMBLE, chain_of, records

nan, inf = math.nan, math.inf


def values_of(expression: str, rows: pl.DataFrame) -> list[object]:
    """The expression over rows, as the projection of a query computes it; text and bools go through a label."""
    chain = chain_of(f"SELECT {expression} AS x, count(*) AS n_total FROM probes {TUMBLE}, x")
    rows = chain.prepare(rows)
    for i in range(1, chain.row_stages + 1):
        rows = chain.apply(i, rows)
    return rows["x"].to_list()


ROWS = records(
    src=["10.0.0.1", "Tor_2", "", None],
    rtt_us=[7, -7, 2**53 + 1, None],
    size_b=[2, 0, -3, 5],
    load=[2.5, -0.5, nan, None],
    loss=[0.0, inf, 4.0, 1.0],
    err=[0, 1, 2, None],
    ok=[True, False, None, True],
)


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("rtt_us / 2", [3.5, -3.5, 4503599627370496.0, None]),
        ("rtt_us / size_b", [3.5, -inf, -3002399751580330.5, None]),
        ("rtt_us / 1000.0", [0.007, -0.007, 9007199254740.992, None]),
        ("load / loss", [inf, -0.0, nan, None]),
        ("rtt_us DIV size_b", [3, None, -3002399751580331, None]),
        ("rtt_us DIV 2", [3, -3, 2**52, None]),
        ("rtt_us % size_b", [1, None, 0, None]),
        ("rtt_us % 4", [3, -3, 1, None]),
        ("MOD(rtt_us, 4.0)", [3.0, -3.0, 0.0, None]),
        ("rtt_us + 1", [8, -6, 2**53 + 2, None]),
        ("rtt_us - 1 - 1", [5, -9, 2**53 - 1, None]),
        ("rtt_us - (1 - 1)", [7, -7, 2**53 + 1, None]),
        ("rtt_us * 0.5", [3.5, -3.5, 4503599627370496.0, None]),
        ("-size_b", [-2, 0, 3, -5]),
        ("- -9223372036854775807", [2**63 - 1] * 4),
        ("-9223372036854775808", [-(2**63)] * 4),
        ("POW(size_b, 2)", [4.0, 0.0, 9.0, 25.0]),
        ("ROUND(load)", [2.0, -0.0, nan, None]),
        ("ROUND(rtt_us / 3, 2)", [2.33, -2.33, 3002399751580330.0, None]),
        ("FLOOR(load)", [2.0, -1.0, nan, None]),
        ("CEIL(load)", [3.0, -0.0, nan, None]),
        ("ABS(rtt_us)", [7, 7, 2**53 + 1, None]),
        ("SIGN(load)", [1.0, -1.0, nan, None]),
        ("SQRT(size_b)", [math.sqrt(2), 0.0, nan, math.sqrt(5)]),
        ("LOG2(size_b)", [1.0, -inf, nan, math.log2(5)]),
        ("LOG10(loss * 25) = 2", [False, False, True, False]),
        ("LN(EXP(err))", [0.0, 1.0, 2.0, None]),
        ("LEAST(rtt_us, size_b)", [2, -7, -3, 5]),
        ("GREATEST(load, 0)", [2.5, 0.0, 0.0, 0.0]),
        ("COALESCE(load, rtt_us, 1)", [2.5, -0.5, nan, 1.0]),
        ("NULLIF(size_b, 0)", [2, None, -3, 5]),
        ("IF(ok, rtt_us, load)", [7.0, -0.5, nan, None]),
        ("CASE WHEN ok THEN 'yes' WHEN NOT ok THEN 'no' END", ["yes", "no", None, "yes"]),
        ("CASE err WHEN 0 THEN 'fine' WHEN 1 THEN 'bad' ELSE 'odd' END", ["fine", "bad", "odd", "odd"]),
        ("load > 1", [True, False, True, None]),
        ("load = load", [True, True, True, None]),
        ("rtt_us <> 7", [False, True, True, None]),
        ("err IN (0, 2)", [True, False, True, None]),
        ("err NOT IN (0, -2)", [False, True, True, None]),
        ("load IN (2.5, 1)", [True, False, False, None]),
        ("rtt_us BETWEEN -7 AND 7", [True, True, False, None]),
        ("rtt_us NOT BETWEEN 0 AND 7.5", [False, True, True, None]),
        ("load IS NULL", [False, False, False, True]),
        ("load IS NOT NULL", [True, True, True, False]),
        ("ok IS TRUE", [True, False, False, True]),
        ("ok IS NOT TRUE", [False, True, True, False]),
        ("ok AND err = 0", [True, False, False, None]),
        ("ok OR err = 1 OR err = 2", [True, True, True, True]),
        ("NOT (ok AND err = 0)", [False, True, True, None]),
        ("src LIKE '10.%'", [True, False, False, None]),
        ("src LIKE '%\\_2'", [False, False, False, None]),
        ("src ILIKE 'TOR__'", [False, True, False, None]),
        ("src NOT LIKE '%.%'", [False, True, True, None]),
        ("src || '/' || host", ["10.0.0.1/h", "Tor_2/h", "/h", None]),
        ("CONCAT(src, '!')", ["10.0.0.1!", "Tor_2!", "!", "!"]),
        ("UPPER(src)", ["10.0.0.1", "TOR_2", "", None]),
        ("LOWER(TRIM('  A ' || src))", ["a 10.0.0.1", "a tor_2", "a", None]),
        ("LENGTH(src) - 6", [2, -1, -6, None]),
        ("SUBSTR(src, 4)", ["0.0.1", "_2", "", None]),
        ("SUBSTR(src, 1, 2)", ["10", "To", "", None]),
        ("LEFT(src, 2) || RIGHT(src, 1)", ["101", "To2", "", None]),
        ("REPLACE(src, '0.', '')", ["11", "Tor_2", "", None]),
        ("SPLIT_PART(src, '.', 4)", ["1", "", "", None]),
        ("STARTS_WITH(src, 'Tor')", [False, True, False, None]),
        ("ENDS_WITH(src, '.1')", [True, False, False, None]),
        ("REGEXP_LIKE(src, '^[0-9.]+$')", [True, False, False, None]),
        ("REGEXP_EXTRACT(src, '[.]([0-9]+)')", ["0", None, None, None]),
        ("REGEXP_EXTRACT(src, '([0-9]+)$', 0)", ["1", "2", None, None]),
        ("REGEXP_EXTRACT(src, '(?P<a>[0-9])(x)?', 2)", [None, None, None, None]),
        ("REGEXP_EXTRACT(src, '^(.*)$')", ["10.0.0.1", "Tor_2", "", None]),
        (
            "REGEXP_EXTRACT(src, '(?i)(t)(?P<b>o)', 2) || REGEXP_EXTRACT(src, '(?i)(t)(?P<b>o)', 1)",
            [None, "oT", None, None],
        ),
        ("CAST(REGEXP_EXTRACT((src), '_([0-9])') AS BIGINT) + 1", [None, 3, None, None]),
        ("src = 'it''s'", [False, False, False, None]),
        ("CAST(load AS BIGINT)", [2, 0, None, None]),
        ("CAST(loss AS BIGINT)", [0, None, 4, 1]),
        ("CAST(SPLIT_PART(src, '.', 1) AS BIGINT)", [10, None, None, None]),
        ("CAST(rtt_us AS VARCHAR)", ["7", "-7", "9007199254740993", None]),
        ("ok::int", [1, 0, None, 1]),
        ("CAST(NULL AS DOUBLE)", [None] * 4),
        ("1e3", [1000.0] * 4),
        (".1 + 0.2", [0.1 + 0.2] * 4),
        ("'text'", ["text"] * 4),
    ],
)
def test_an_expression_means_what_the_reference_says(expression, wanted):
    assert repr(values_of(expression, ROWS)) == repr(wanted)


HARD = [
    "load / 3.0",
    "load / loss",
    "1000.0 / loss",
    "rtt_us / 49",
    "load / CASE WHEN ok THEN 1000.0 ELSE 7.0 END",
    "load / COALESCE(NULLIF(loss, loss), 49)",
    "load % 0.7",
    "load % IF(ok, 0.3, 0.7)",
    "POW(load, IF(ok, 2, 0.5))",
    "POW(loss, 3)",
    "POW(IF(ok, 2, 3), load)",
    "EXP(load / 700)",
    "LN(ABS(load)) * LOG10(ABS(loss)) - LOG2(ABS(load))",
    "SQRT(ABS(load)) + ROUND(loss, 1)",
    "GREATEST(load, IF(ok, 1, loss)) - LEAST(loss, 0)",
    "CAST(load AS BIGINT) DIV IF(ok, 7, 3)",
    "CASE WHEN load > loss THEN load END",
]


@settings(max_examples=40, deadline=None)
@given(expression=st.sampled_from(HARD), seed=st.integers(0, 2**32), always=st.sampled_from([True, False, None]))
def test_a_value_does_not_depend_on_the_rows_beside_it(expression, seed, always):
    """Polars takes short cuts for columns with one value, and for batches of one row; results must not show it."""
    random = np.random.default_rng(seed)
    n = 40
    rows = records(
        rtt_us=random.integers(-(10**6), 10**6, n).tolist(),
        load=random.normal(0, 1e3, n).tolist(),
        loss=random.lognormal(0, 4, n).tolist(),
        ok=[bool(x) if always is None else always for x in random.integers(0, 2, n)],
    )
    chain = chain_of(f"SELECT max({expression}) AS x_total FROM probes {TUMBLE}")
    whole = chain.apply(1, chain.prepare(rows))["x_total"].to_list()
    alone = [chain.apply(1, chain.prepare(rows[k]))["x_total"][0] for k in range(n)]
    mixed = chain.apply(1, chain.prepare(pl.concat([rows, rows.with_columns(~pl.col("ok"))])))["x_total"].to_list()[:n]
    assert repr(alone) == repr(whole)
    assert repr(mixed) == repr(whole)


@given(x=st.integers(-(10**15), 10**15), y=st.integers(1, 10**6))
@settings(max_examples=30, deadline=None)
def test_division_is_correctly_rounded(x, y):
    assert values_of(f"rtt_us / {y}", records(rtt_us=[x] * 3)) == [x / y] * 3


def test_a_long_chain_of_conditions_compiles():
    condition = " OR ".join(f"(err = {i} AND ok)" for i in range(300))
    chain = chain_of(f"SELECT count(*) AS n_total FROM probes WHERE {condition} {TUMBLE}")
    assert chain.apply(1, chain.prepare(ROWS)).height == 1


def test_text_cannot_break_out_of_its_quotes():
    text = '\'; "#1" -- \\'
    quoted = text.replace("'", "''")
    assert values_of(f"src = '{quoted}'", records(src=[text, "x"])) == [True, False]


def test_one_expression_under_two_aggregates_is_computed_once():
    chain = chain_of(f"SELECT min(load / 2) AS a_s, max(load/2) AS b_s, max(load / 2.0) AS c_s FROM probes {TUMBLE}")
    project = chain.plan.stages[-2]
    assert isinstance(project, ProjectStage)
    assert list(project.columns) == ["a_s", "c_s"]
