"""A plan is data: it survives its bytes, and its version says exactly when two plans do the same."""

import msgspec
import pytest

from pipeline.chain import Chain
from pipeline.errors import PlanError, TableError
from pipeline.plan import UNIT_SUFFIXES, Extraction, ExtractStage, FilterStage, decode_plan, encode_plan, unit_of
from pipeline.sql import compile_query
from pipeline.tables import StaticTable
from tests.pipeline.probes import HOSTS, RACKS, SCHEMAS, T2T, TABLES, TUMBLE, compiled


def test_a_plan_survives_its_bytes():
    plan = compiled(T2T)
    again = decode_plan(encode_plan(plan))
    assert again == plan
    assert again.version == plan.version
    assert list(again.source_schema) == list(plan.source_schema)


EXTRACT = f"SELECT REGEXP_EXTRACT(src, '(a)(b)', 2) AS x, count(*) AS n FROM probes {TUMBLE}, x"


def test_a_plan_with_regular_expressions_survives_its_bytes_and_their_meaning_is_its_version():
    plan = compiled(EXTRACT)
    assert decode_plan(encode_plan(plan)) == plan
    others = [EXTRACT.replace(old, new) for old, new in ((", 2)", ", 1)"), ("(a)", "(c)"), ("src", "dst"))]
    assert len({compiled(sql).version for sql in (EXTRACT, *others)}) == 4
    assert plan.version == "0914f40fcce6d11d"


def test_a_plan_that_names_a_group_its_pattern_lacks_is_refused():
    plan = compiled(EXTRACT)
    for pattern, group in (("(a)", 2), ("(a)", -1), ("(", 0)):
        stage = ExtractStage({"#extract1": Extraction("src", pattern, group)})
        with pytest.raises(PlanError, match=r"has no group|cannot be read"):
            Chain(msgspec.structs.replace(plan, stages=[stage, *plan.stages[1:]]), TABLES)


def test_white_space_comments_and_the_case_of_keywords_do_not_change_the_version():
    other = "/* tails */ " + " ".join(T2T.split()).replace("SELECT", "select -- from here\n").replace(
        "JOIN", "inner join"
    )
    assert compiled(other).version == compiled(T2T).version


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("err = 0", "err = 1"),
        ("'10' SECOND", "'1' MINUTE"),
        ("AS probes", "AS pings"),
        ("AS src_tor", "AS tor"),
        ("JOIN hosts AS d", "LEFT JOIN hosts AS d"),
        ("sketch(rtt_us)", "sketch(rtt_us * 2)"),
        ("sketch(rtt_us)", "max(rtt_us)"),
    ],
)
def test_another_meaning_is_another_version(old, new):
    assert compiled(T2T.replace(old, new)).version != compiled(T2T).version


def test_name_scale_and_table_content_are_part_of_the_version():
    changed = StaticTable("hosts", HOSTS.frame.with_columns(tor=HOSTS.frame["tor"].str.to_uppercase()))
    versions = {
        compiled(T2T).version,
        compiled(T2T, name="other").version,
        compile_query("probe_rtt", T2T, SCHEMAS, TABLES, scale=5).version,
        compile_query("probe_rtt", T2T, SCHEMAS, TABLES | {"hosts": changed}).version,
    }
    assert len(versions) == 4


def test_columns_and_tables_that_a_query_does_not_use_do_not_change_the_version():
    wider = {"probes": {"aaa": "bool", **SCHEMAS["probes"], "zzz": "string"}}
    assert compile_query("probe_rtt", T2T, wider, {"hosts": HOSTS}).version == compiled(T2T).version


def test_the_version_is_pinned_because_stored_data_carries_it():
    assert compiled(T2T).version == "8d5ca12810a48df6"


def test_a_plan_lists_its_metrics_with_their_units():
    found = [(m.name, m.function, m.integer, m.unit, m.scale) for m in compiled(T2T).metrics]
    assert found == [("probe_rtt_us", "sketch", True, "us", 6), ("probes", "count", True, "count", 6)]
    assert compiled(T2T).labels == ["src_tor", "dst_tor"]
    assert compiled(T2T).window_ns == 10 * 10**9


def test_a_total_has_the_unit_before_it():
    assert unit_of("sent_bytes_total") == "bytes"
    assert unit_of("probes_total") == "count"
    assert all(unit_of(f"x_{suffix}") for suffix in UNIT_SUFFIXES)


@pytest.mark.parametrize("data", [b"", b"\x00", b"\xff" * 40, encode_plan(compiled(T2T))[:-1]])
def test_bytes_that_are_no_plan_are_refused(data):
    with pytest.raises(PlanError, match="cannot read the plan"):
        decode_plan(data)


def test_an_unknown_field_is_refused_because_this_release_would_ignore_it():
    raw = msgspec.msgpack.decode(encode_plan(compiled(T2T)))
    with pytest.raises(PlanError, match="hint"):
        decode_plan(msgspec.msgpack.encode(raw | {"hint": 1}))


def test_a_plan_without_its_aggregate_last_is_refused():
    plan = compiled(T2T)
    for stages in ([], plan.stages[:-1], [*plan.stages, plan.stages[-1]], [*plan.stages, FilterStage("TRUE")]):
        with pytest.raises(PlanError, match="aggregate"):
            decode_plan(encode_plan(msgspec.structs.replace(plan, stages=stages)))


def test_a_chain_refuses_missing_and_other_tables():
    plan = compiled(T2T)
    with pytest.raises(TableError, match="'hosts', which is not configured"):
        Chain(plan, {})
    with pytest.raises(TableError, match="was compiled with"):
        Chain(plan, {"hosts": RACKS})


def test_a_chain_refuses_stages_that_do_not_fit():
    plan = compiled(T2T)
    for predicate in ('"nope" = 1', "\"rtt_us\" = 'a'"):
        stages = [FilterStage(predicate), *plan.stages[1:]]
        with pytest.raises(PlanError, match=r"nope|does not fit"):
            Chain(msgspec.structs.replace(plan, stages=stages), TABLES)


def test_what_a_plan_does_not_say_of_weights_is_not_encoded():
    assert b"weight" not in encode_plan(compiled(T2T))
    weighted = compiled(T2T.replace("sketch(rtt_us)", "sketch(rtt_us, size_b)"))
    assert decode_plan(encode_plan(weighted)) == weighted
    assert [one.weight for one in weighted.aggregates] == ["probe_rtt_us.weight", None]
    assert weighted.version != compiled(T2T).version
