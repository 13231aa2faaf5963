"""Every mistake in a query is answered with its place and with what would be right."""

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import QueryError
from pipeline.sql import compile_query
from tests.pipeline.probes import SCHEMAS, T2T, TABLES, TUMBLE, compiled

# ^ marks the place the error must point at; it is taken out before compiling.
MISTAKES = [
    ("^", "the query is empty", "a query is: SELECT"),
    ("SELEC sketch^(load) AS x_s", "this is not SQL", "a query is: SELECT"),
    ("SELECT sketch(load AS x_s ^FROM probes", "this is not SQL", "a query is: SELECT"),
    ("SELECT sketch(load) AS x_s FROM probes WHERE src = ^'10", "never closes", "a query is: SELECT"),
    ("SELECT 1; SELECT ^2", "these are 2 statements", "a query is: SELECT"),
    ("^DROP TABLE probes", "this is DROP", "a query is: SELECT"),
    ("SELECT sketch(load) AS x_s^", "FROM is missing", "a query is: SELECT"),
    ("SELECT sketch(load) AS x_s FROM ^probe @", "no stream 'probe'", "did you mean 'probes'?"),
    ("SELECT sketch(load) AS x_s FROM (SELECT ^1) @", "is not the name of a stream", "bare name"),
    ("SELECT sketch(load) AS x_s FROM ^db.probes @", "is not the name of a stream", "bare name"),
    ("SELECT sketch(^lod) AS x_s FROM probes @", "no column 'lod' here", "did you mean 'load'?"),
    ("SELECT sketch(^prob.load) AS x_s FROM probes @", "no stream or table 'prob'", "did you mean 'probes'?"),
    ("SELECT sketch(probes.^lod) AS x_s FROM probes @", "'probes' has no column 'lod'", "did you mean 'load'?"),
    ("SELECT sketch(^src) AS x_s FROM probes @", "sketch of string", "CAST"),
    ("SELECT sketch(load) AS ^x FROM probes @", "does not say its unit", "_us"),
    ("SELECT sketch(load) AS ^X_us FROM probes @", "want [a-z_][a-z0-9_]*", "lower case"),
    ("SELECT ^sketch(load) FROM probes @", "has no name", "AS <name>"),
    ("SELECT sum(load) AS x_s, max(load) AS ^x_s FROM probes @", "two metrics are called 'x_s'", "own name"),
    ("SELECT ^count(DISTINCT src) AS n_total FROM probes @", "cannot be merged", "group by"),
    ("SELECT ^max(load, loss) AS x_s FROM probes @", "takes one argument, not 2", "GREATEST"),
    ("SELECT ^sketch(load, err, 2) AS x_s FROM probes @", "takes one argument or two, not 3", "how many times"),
    ("SELECT ^sketch() AS x_s FROM probes @", "takes one argument or two, not 0", "how many times"),
    ("SELECT sketch(load, ^loss) AS x_s FROM probes @", "the weight loss is float64; want int64", "AS BIGINT"),
    ("SELECT sketch(load, ^1.5) AS x_s FROM probes @", "the weight 1.5 is float64; want int64", "AS BIGINT"),
    ("SELECT sketch(load, ^src) AS x_s FROM probes @", "the weight src is string; want int64", "how many times"),
    ("SELECT sketch(load, ^ok) AS x_s FROM probes @", "the weight ok is bool; want int64", "how many times"),
    ("SELECT ^sketch(load, NULL) AS x_s FROM probes @", "the weight NULL is null; want int64", "how many times"),
    ("SELECT sketch(load, ^*) AS x_s FROM probes @", "* is no weight", "how many times"),
    ("SELECT sketch(load, ^wait) AS x_s FROM probes @", "no column 'wait' here", "known: ts"),
    ("SELECT sketch(^src, err) AS x_s FROM probes @", "sketch of string", "CAST"),
    ("SELECT sketch(dist, ^err) AS x_s FROM probes @", "dist is a sketch and takes no weight", "sketch(<column>)"),
    ("SELECT sum(^dist) AS x_s FROM probes @", "sum of sketch; want a number", "sketch(<column>)"),
    ("SELECT sketch(load, ^dist) AS x_s FROM probes @", "the weight dist is sketch", "how many times"),
    ("SELECT sketch(^dist + 1) AS x_s FROM probes @", "dist is sketch; want a number", "sketch(<column>)"),
    ("SELECT dist, count(*) AS n FROM probes @, ^dist", "is a sketch, which cannot be a label", "merged"),
    ("SELECT count(*) AS n FROM probes WHERE ^dist = dist @", "compares or converts a sketch", "IS [NOT] NULL"),
    ("SELECT count(*) AS n FROM probes WHERE ^dist > 'a' @", "compares or converts a sketch", "IS [NOT] NULL"),
    ("SELECT count(*) AS n FROM probes WHERE ^dist IN ('a') @", "compares or converts a sketch", "IS [NOT] NULL"),
    ("SELECT count(*) AS n FROM probes WHERE ^dist BETWEEN 1 AND 2 @", "compares or converts a sketch", "IS [NOT]"),
    ("SELECT count(^NULLIF(dist, dist)) AS n FROM probes @", "compares or converts a sketch", "IS [NOT] NULL"),
    ("SELECT count(CAST(^dist AS VARCHAR)) AS n FROM probes @", "compares or converts a sketch", "IS [NOT] NULL"),
    ("SELECT count(UPPER(^dist)) AS n FROM probes @", "dist is sketch; want string", "sketch(<column>)"),
    ("SELECT count(*) AS n FROM probes WHERE ^dist @", "dist is sketch; want a condition", "sketch(<column>)"),
    ("SELECT sketch(^COALESCE(dist, load)) AS x_s FROM probes @", "mixes float64 and sketch", ""),
    ("SELECT count(*) AS n FROM probes JOIN hosts AS s ON ^dist = s.ip @", "dist is sketch and s.ip is", "one type"),
    ("SELECT first_lines(src) AS ^x_s FROM probes @", "holds lines", "_lines"),
    ("SELECT first_lines(^err) AS x_lines FROM probes @", "the text err is int64; want string", "AS VARCHAR"),
    ("SELECT last_lines(^dist) AS x_lines FROM probes @", "the text dist is sketch", "last_lines(<text>)"),
    ("SELECT ^last_lines(NULL) AS x_lines FROM probes @", "the text NULL is null", "last_lines(<text>)"),
    ("SELECT last_lines(src, ^load) AS x_lines FROM probes @", "the place load is float64; want int64", "AS BIGINT"),
    ("SELECT first_lines(src, ^dst) AS x_lines FROM probes @", "the place dst is string; want int64", "AS BIGINT"),
    ("SELECT first_lines(^*) AS x_lines FROM probes @", "* is no text of a line", "first_lines(<text>)"),
    ("SELECT ^last_lines() AS x_lines FROM probes @", "one argument or two, not 0", "last_lines(<text>, <number"),
    ("SELECT ^first_lines(src, err, 2) AS x_lines FROM probes @", "one argument or two, not 3", "<number that orders"),
    ("SELECT count(^first_lines(src)) AS n FROM probes @", "cannot stand inside", "a metric is one aggregate"),
    ("SELECT sum(^*) AS x_s FROM probes @", "not *", "a metric is"),
    ("SELECT ^sum(load) / count(*) AS x_s FROM probes @", "cannot stand inside", "a metric is one aggregate"),
    ("SELECT sketch(^sum(load)) AS x_s FROM probes @", "cannot stand inside", "a metric is one aggregate"),
    ("SELECT ^p99(load) AS x_s FROM probes @", "is no aggregate", "sketch(<expression>) answers any quantile"),
    ("SELECT ^median(load) AS x_s FROM probes @", "is no aggregate", "sketch"),
    ("SELECT ^sum(load) OVER () AS x_s FROM probes @", "is no aggregate", "OVER"),
    ("SELECT ^sum(load) FILTER (WHERE ok) AS x_s FROM probes @", "is no aggregate", "CASE WHEN"),
    ("SELECT max(^uper(src)) AS x_s FROM probes @", "no function 'UPER'", "did you mean 'UPPER'?"),
    ("SELECT max(^RAND()) AS x_s FROM probes @", "not allowed", "allowed: columns"),
    ("SELECT max(^load[1]) AS x_s FROM probes @", "not allowed", "allowed: columns"),
    ("SELECT max(^REGEXP_LIKE(src, 'a', 'i')::int) AS x_s FROM probes @", "not supported (FLAG)", "allowed"),
    ("SELECT ^* FROM probes @", "* is not supported", "name the labels"),
    ("SELECT src, ^dst, max(load) AS x_s FROM probes @, src", "neither an aggregate nor in GROUP BY", "add it"),
    ("SELECT ^src FROM probes @, src", "no metric", "a metric is"),
    ("SELECT max(load) AS x_s FROM probes @, ^UPPER(src)", "has no name", "AS <name>"),
    ("SELECT src AS a, src AS b, max(load) AS x_s FROM probes @, ^src", "the names a and b", "once"),
    ("SELECT UPPER(src) AS dst, max(load) AS x_s FROM probes @, ^dst", "is a column and the name", "another name"),
    ("SELECT src AS window, max(load) AS x_s FROM probes @, ^src", "'window' cannot be a label", "taken"),
    ("SELECT src AS x_s, max(load) AS x_s FROM probes @, ^src", "a label and a metric", "another name"),
    ("SELECT max(load) AS x_s FROM probes @, ^1", "places in SELECT", "write the column"),
    ("SELECT max(load) AS x_s FROM probes @, ^sr", "no column or label 'sr'", "did you mean 'src'?"),
    ("SELECT max(load) AS x_s FROM probes^", "GROUP BY has no window", "want TUMBLE"),
    ("SELECT max(load) AS x_s FROM probes GROUP BY ^src", "GROUP BY has no window", "want TUMBLE"),
    ("SELECT max(load) AS x_s FROM probes @, ^TUMBLE(ts, INTERVAL '1' HOUR)", "two windows", "want TUMBLE"),
    ("SELECT max(load) AS x_s FROM probes GROUP BY TUMBLE(^rtt_us, INTERVAL '1' HOUR)", "only be over", "TUMBLE(ts"),
    ("SELECT max(load) AS x_s FROM probes GROUP BY TUMBLE(ts, INTERVAL ^'1' DAY)", "no length", "at most 24 hours"),
    ("SELECT max(load) AS x_s FROM probes GROUP BY TUMBLE(ts, INTERVAL ^'25' HOUR)", "no length", "at most 24 hours"),
    ("SELECT max(load) AS x_s FROM probes GROUP BY TUMBLE(ts, INTERVAL ^'0' HOUR)", "no length", "at most 24 hours"),
    ("SELECT max(load) AS x_s FROM probes GROUP BY ^TUMBLE(ts, 10)", "is no window", "INTERVAL"),
    ("SELECT ^TUMBLE(ts, INTERVAL '1' HOUR), max(load) AS x_s FROM probes @", "part of every answer", "SELECT"),
    ("SELECT max(load) AS x_s FROM probes WHERE ^err @", "err is int64; want a condition", "compare it"),
    ("SELECT max(load) AS x_s FROM probes WHERE ^err = 'a' @", "mixes int64 and string", "CAST"),
    ("SELECT max(load) AS x_s FROM probes WHERE ok AND ^src > 1 @", "mixes int64 and string", "CAST"),
    ("SELECT max(load) AS x_s FROM probes WHERE ^ok < ok @", "order of bools", "= or <>"),
    ("SELECT max(load) AS x_s FROM probes WHERE err IN (0, ^src) @", "IN takes literals", "a = b OR a = c"),
    ("SELECT max(load) AS x_s FROM probes WHERE src LIKE ^dst @", "LIKE takes a text literal", ""),
    ("SELECT max(load) AS x_s FROM probes WHERE REGEXP_LIKE(src, ^'(') @", "not a regular expression", "syntax"),
    ("SELECT max(load) AS x_s FROM probes WHERE REGEXP_EXTRACT(src, ^'(a') = 'a' @", "not a regular", "syntax"),
    ("SELECT count(REGEXP_EXTRACT(src, ^'a')) AS n FROM probes @", "has no group 1, it has 0", "put brackets"),
    ("SELECT count(REGEXP_EXTRACT(src, '(a)', ^2)) AS n FROM probes @", "has no group 2, it has 1", "0 for all"),
    ("SELECT count(REGEXP_EXTRACT(src, '(a)', ^err)) AS n FROM probes @", "takes a whole number, at least 0", ""),
    ("SELECT count(REGEXP_EXTRACT(src, ^dst)) AS n FROM probes @", "takes a text literal here, not dst", ""),
    ("SELECT count(REGEXP_EXTRACT(^UPPER(src), '(a)')) AS n FROM probes @", "takes a column here, not UPPER", "itself"),
    ("SELECT count(REGEXP_EXTRACT(^err, '(a)')) AS n FROM probes @", "err is int64; want a column of text", "no"),
    ("SELECT count(REGEXP_EXTRACT(^lod, '(a)')) AS n FROM probes @", "no column 'lod'", "did you mean 'load'?"),
    ("SELECT count(^REGEXP_EXTRACT(src, '(a)', 1, 2)) AS n FROM probes @", "not supported (OCCURRENCE)", "allowed"),
    ("SELECT max(load) AS x_s FROM probes WHERE SUBSTR(src, ^0) = '' @", "at least 1", ""),
    ("SELECT max(CAST(^load AS DECIMAL(3, 2))) AS x_s FROM probes @", "no type DECIMAL", "want BIGINT"),
    ("SELECT max(^99999999999999999999) AS x_s FROM probes @", "does not fit int64", "with a point"),
    ("SELECT max(^1e999) AS x_s FROM probes @", "does not fit float64", ""),
    ("SELECT max(load + ^src) AS x_s FROM probes @", "src is string; want a number", "CAST"),
    ("SELECT max(load) AS x_s FROM probes @ ^ORDER BY 1", "ORDER is not part", "when they are read"),
    ("SELECT max(load) AS x_s FROM probes @ ^HAVING 1 = 1", "HAVING is not part", "when reading"),
    ("SELECT ^DISTINCT max(load) AS x_s FROM probes @", "DISTINCT is not part", "GROUP BY"),
    ("SELECT max(load) AS x_s FROM probes JOIN ^host ON src = ip @", "no table 'host'", "did you mean 'hosts'?"),
    ("SELECT max(load) AS x_s FROM probes CROSS JOIN ^hosts @", "CROSS JOIN is not supported", "[LEFT] JOIN"),
    ("SELECT max(load) AS x_s FROM probes FULL JOIN ^hosts ON src = ip @", "FULL JOIN is not", "[LEFT] JOIN"),
    ("SELECT max(load) AS x_s FROM probes, ^hosts @", "has no ON", "[LEFT] JOIN"),
    ("SELECT max(load) AS x_s FROM probes JOIN hosts AS s ON ^src > s.ip @", "no equality", "ON <stream>"),
    ("SELECT max(load) AS x_s FROM probes JOIN hosts AS s ON ^src = dst @", "neither side", "ON <stream>"),
    ("SELECT max(load) AS x_s FROM probes JOIN hosts AS s ON ^err = s.ip @", "err is int64 and s.ip", "one type"),
    ("SELECT max(load) AS x_s FROM probes JOIN hosts AS s ON err = ^s.rack @", "rack = 2 stands in 2 rows", ""),
    ("SELECT max(load) AS x_s FROM probes JOIN ^hosts AS probes ON src = ip @", "names two things", "JOIN hosts AS"),
    ("SELECT max(load) AS x_s FROM probes JOIN hosts AS s ON src = s.ip JOIN hosts AS d ON dst = d.ip @, ^tor",
     "column 'tor' is ambiguous", "write s.tor or d.tor"),
]  # fmt: skip


@pytest.mark.parametrize(("marked", "message", "allowed"), MISTAKES)
def test_a_mistake_is_answered_with_its_place_and_a_way_out(marked, message, allowed):
    sql = f"{marked.replace('@', TUMBLE)}\n-- the end" if marked != "^" else marked
    sql = f"-- a comment first\n{sql}" if marked != "^" else sql
    at = sql.index("^")
    sql = sql.replace("^", "", 1)
    with pytest.raises(QueryError) as caught:
        compiled(sql)
    error = caught.value
    assert message in error.message
    assert allowed in error.allowed
    line, column = sql.count("\n", 0, at) + 1, at - (sql.rfind("\n", 0, at) + 1) + 1
    assert (error.line, error.column) == (line, column), str(error)


def test_the_text_shows_the_line_with_a_caret_under_the_place():
    with pytest.raises(QueryError) as caught:
        compiled("SELECT\n\tsketch(lod) AS x_us\nFROM probes")
    assert str(caught.value) == (
        "query 'probe_rtt', line 2, column 9: no column 'lod' here\n"
        "\tsketch(lod) AS x_us\n"
        "\t       ^\n"
        "did you mean 'load'? known: ts, host, src, dst, rtt_us, size_b, load, loss, err, ok, dist, rack and 2 more"
    )


def test_of_a_long_line_only_the_neighbourhood_is_shown():
    with pytest.raises(QueryError) as caught:
        compiled(f"SELECT {'1 + ' * 500} sketch(lod) AS x_us FROM probes {TUMBLE}")
    source, caret = caught.value.caret.split("\n")
    assert len(source) < 200
    assert source[caret.index("^") :].startswith("1 + ")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT max(" + "(" * 2000 + "load" + ")" * 2000 + ") AS x_s FROM probes " + TUMBLE,
        "SELECT max(" + "ABS(" * 60 + "load" + ")" * 60 + ") AS x_s FROM probes " + TUMBLE,
        "SELECT max(load) AS x_s FROM probes WHERE " + "NOT " * 3000 + "ok " + TUMBLE,
        "SELECT max(load" + " + 1" * 6_000 + ") AS x_s FROM probes " + TUMBLE,
        "SELECT max(load" + "+1" * 5_000 + ") AS x_s FROM probes " + TUMBLE,
        "SELECT max(" + "CASE WHEN ok THEN " * 35 + "1" + " END" * 35 + ") AS x_s FROM probes " + TUMBLE,
    ],
)
def test_a_query_too_deep_or_too_long_is_refused_not_crashed_on(sql):
    with pytest.raises(QueryError, match=r"nested too deeply|at most 20000|more than 4000 parts"):
        compiled(sql)


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT max(load + {'9' * 5_000}) AS x_s FROM probes {TUMBLE}",
        f"SELECT max(load) AS x_s FROM probes WHERE LEFT(src, {'1' * 5_000}) = '' {TUMBLE}",
        f"SELECT max(load) AS x_s FROM probes GROUP BY TUMBLE(ts, INTERVAL '{'1' * 5_000}' SECOND)",
    ],
)
def test_a_number_of_more_digits_than_python_reads_is_refused_not_crashed_on(sql):
    with pytest.raises(QueryError, match="a number of 5000 digits; at most 400"):
        compiled(sql)
    assert compiled(f"SELECT max(load) AS x_s FROM probes WHERE src = '{'1' * 5_000}' {TUMBLE}")


def test_a_metric_name_is_short_enough_to_be_the_name_of_a_query():
    for length in (129, 15_000):
        with pytest.raises(QueryError, match=f"a metric name of {length} characters; want at most 128"):
            compiled(f"SELECT count(*) AS {'n' * length} FROM probes {TUMBLE}")
    assert compiled(f"SELECT count(*) AS {'n' * 128} FROM probes {TUMBLE}").metrics[0].name == "n" * 128


def test_names_of_queries_and_scales_are_checked():
    with pytest.raises(QueryError, match=r"query 'q{40}\.\.\.'.*name has 5000 characters; want at most 128") as told:
        compile_query("q" * 5_000, T2T, SCHEMAS, TABLES)
    assert len(str(told.value)) < 1_000
    assert compile_query("q" * 128, T2T, SCHEMAS, TABLES).query == "q" * 128
    with pytest.raises(QueryError, match="query name 'Probe RTT'"):
        compiled(T2T, name="Probe RTT")
    with pytest.raises(QueryError, match=r"scale 9; want 0..8"):
        compile_query("q", T2T, SCHEMAS, TABLES, scale=9)


def test_an_error_survives_pickling_because_test_runners_and_pools_do_that():
    with pytest.raises(QueryError) as caught:
        compiled("SELECT")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


WORDS = [
    *T2T.split(),
    "(",
    ")",
    ",",
    "'",
    '"',
    "--",
    "/*",
    "NOT",
    "1.5",
    "'x'",
    "NULL",
    "CASE",
    "WHEN",
    "END",
    "*",
    "s.",
]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=30), st.integers(0, 40))
def test_any_text_either_compiles_or_is_a_query_error(words, keep):
    sql = " ".join([*T2T.split()[:keep], *words])
    found: QueryError | None = None
    try:
        compiled(sql)
    except QueryError as error:
        found = error
    assert found is None or (found.line == 1 and 1 <= found.column <= len(sql) + 1)
