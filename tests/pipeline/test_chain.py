"""Stages: where filters go, what a cut carries, and what joins do to rows."""

import numpy as np
import polars as pl
import pytest

from pipeline.chain import Chain
from pipeline.coded import Coded
from pipeline.errors import PlanError, SchemaError
from pipeline.plan import Extraction, ExtractStage, FilterStage, JoinStage, Plan
from tests.pipeline.probes import T2T, TABLES, TUMBLE, chain_of, compiled, records

ROWS = records(
    src=["10.0.0.1", "10.0.0.2", "10.0.0.3", "unknown", None, ""],
    dst=["10.0.0.2"] * 6,
    rtt_us=[1, 2, 3, 4, 5, 6],
    err=[0, 0, 0, 0, 0, 0],
)


def labels_of(chain: Chain, rows: pl.DataFrame = ROWS) -> list[tuple[object, ...]]:
    keys = chain.finish(chain.prepare(rows), 0).sorted().keys
    return keys.drop("window").select(*chain.plan.labels, "rows").rows()


def test_filters_stand_as_early_as_their_columns_allow():
    sql = f"""
        SELECT count(*) AS n_total FROM probes JOIN hosts AS s ON src = s.ip JOIN racks AS r ON s.rack = r.id
        WHERE r.room = 'north' AND (err = 0 AND s.tor <> dst) AND (load > 1 OR s.rack = 1) {TUMBLE}"""
    kinds = [type(stage).__name__.removesuffix("Stage") for stage in compiled(sql).stages]
    assert kinds == ["Filter", "Join", "Filter", "Join", "Filter", "Project", "Aggregate"]
    first, _, second, _, third = compiled(sql).stages[:5]
    assert first == FilterStage('("err" = CAST(0 AS BIGINT))')
    assert isinstance(second, FilterStage)
    assert '"s.tor" <> "dst"' in second.predicate
    assert '"load"' in second.predicate
    assert isinstance(third, FilterStage)
    assert "r.room" in third.predicate


def kinds_of(plan: Plan) -> list[str]:
    return [type(stage).__name__.removesuffix("Stage") for stage in plan.stages]


def test_what_is_extracted_stands_behind_the_filters_and_joins_that_need_nothing_of_it():
    parse = "REGEXP_EXTRACT(src, '([a-z]+)=([0-9]+)'"
    sql = f"""
        SELECT {parse}, 1) AS key, max(CAST({parse}, 2) AS BIGINT)) AS x_total FROM probes JOIN hosts AS s ON dst = s.ip
        WHERE s.rack = 1 AND err = 0 {TUMBLE}, key"""
    plan = compiled(sql)
    assert kinds_of(plan) == ["Filter", "Join", "Filter", "Extract", "Project", "Aggregate"]
    pattern = "([a-z]+)=([0-9]+)"
    assert plan.stages[3] == ExtractStage(
        {"#extract1": Extraction("src", pattern, 1), "#extract2": Extraction("src", pattern, 2)}
    )
    chain = Chain(plan, TABLES)
    assert chain.schema_at(3) == {"ts": "int64", "src": "string"}
    assert chain.schema_at(4) == {"ts": "int64", "#extract1": "string", "#extract2": "string"}


def test_a_filter_finds_what_it_needs_extracted_and_one_pattern_is_matched_in_one_stage():
    sql = f"""
        SELECT REGEXP_EXTRACT(src, '(a)(b)', 2) AS b, REGEXP_EXTRACT(dst, 'c', 0) AS c, count(*) AS n FROM probes
        WHERE REGEXP_EXTRACT(src, '(a)(b)') = 'a' AND src LIKE '%a%' {TUMBLE}, b, c"""
    plan = compiled(sql)
    assert kinds_of(plan) == ["Filter", "Extract", "Filter", "Extract", "Project", "Aggregate"]
    first, second = plan.stages[1], plan.stages[3]
    assert isinstance(first, ExtractStage)
    assert isinstance(second, ExtractStage)
    assert [one.group for one in first.columns.values()] == [1, 2]
    assert [one.source for one in second.columns.values()] == ["dst"]


def test_text_of_a_joined_table_is_extracted_behind_its_join():
    sql = f"""
        SELECT REGEXP_EXTRACT(s.tor, '([0-9])') AS number, count(*) AS n_total FROM probes
        JOIN hosts AS s ON src = s.ip WHERE REGEXP_EXTRACT(s.tor, '([0-9])') > '1' {TUMBLE}, number"""
    assert kinds_of(compiled(sql)) == ["Join", "Extract", "Filter", "Project", "Aggregate"]
    assert labels_of(chain_of(sql)) == [("2", 1)]


def test_a_join_carries_only_the_columns_that_are_read_later():
    join = compiled(T2T).stages[1]
    assert join == JoinStage("hosts", "src", "ip", {"s.tor": "tor"}, outer=False)


def test_each_cut_carries_only_what_later_stages_read():
    chain = chain_of(T2T)
    assert [list(chain.schema_at(cut)) for cut in range(chain.row_stages + 1)] == [
        ["ts", "dst", "err", "rtt_us", "src"],
        ["ts", "dst", "rtt_us", "src"],
        ["ts", "dst", "rtt_us", "s.tor"],
        ["ts", "d.tor", "rtt_us", "s.tor"],
        ["ts", "dst_tor", "probe_rtt_us", "src_tor"],
    ]


def test_an_inner_join_filters_rows_without_a_match_and_null_matches_nothing():
    chain = chain_of(f"SELECT s.tor, count(*) AS n_total FROM probes JOIN hosts AS s ON src = s.ip {TUMBLE}, s.tor")
    assert labels_of(chain) == [("", 2), ("tor-1", 1), ("tor-2", 1)]


def test_a_left_join_keeps_every_row():
    chain = chain_of(
        f"SELECT s.tor, count(*) AS n_total FROM probes LEFT JOIN hosts AS s ON src = s.ip {TUMBLE}, s.tor"
    )
    assert labels_of(chain) == [("", 4), ("tor-1", 1), ("tor-2", 1)]


def test_null_and_empty_text_are_one_label_wherever_they_come_from():
    rows = records(src=["", None, "a"], rtt_us=[1, 1, None], load=[None, float("nan"), -0.0], ok=[None, True, False])
    for label, wanted in (
        ("src", [("", 2), ("a", 1)]),
        ("rtt_us", [("", 1), ("1", 2)]),
        ("load", [("", 1), ("-0.0", 1), ("NaN", 1)]),
        ("ok", [("", 1), ("false", 1), ("true", 1)]),
    ):
        assert labels_of(chain_of(f"SELECT count(*) AS n_total FROM probes {TUMBLE}, {label}"), rows) == wanted


def test_one_table_may_be_joined_twice_and_a_join_may_use_a_joined_column():
    sql = f"""
        SELECT s.tor AS a, d.tor AS b, room, count(*) AS n_total FROM probes
        JOIN hosts AS s ON src = s.ip JOIN hosts AS d ON d.ip = dst LEFT JOIN racks ON s.rack = racks.id
        {TUMBLE}, s.tor, d.tor, racks.room"""
    assert labels_of(chain_of(sql)) == [
        ("", "tor-2", "", 1), ("", "tor-2", "south", 1), ("tor-1", "tor-2", "north", 1), ("tor-2", "tor-2", "south", 1),
    ]  # fmt: skip


def test_local_rows_keep_codes_that_plain_rows_do_not():
    chain = chain_of(T2T)
    rows = chain.local(2, chain.local(1, chain.prepare(ROWS)))
    assert isinstance(rows.schema["s.tor"], pl.Enum)
    assert chain.plain(2, rows).equals(chain.apply(2, chain.apply(1, chain.prepare(ROWS))))
    with pytest.raises(PlanError, match=r"row stages 1\.\.4"):
        chain.local(5, rows)


def test_rows_keep_their_order_through_every_row_stage():
    chain = chain_of(T2T)
    rows = chain.prepare(pl.concat([ROWS.with_columns(ts=pl.int_range(k, k + 6)) for k in range(0, 6000, 6)]))
    for i in range(1, chain.row_stages + 1):
        rows = chain.apply(i, rows)
        assert rows["ts"].is_sorted()
    assert rows.height == 4000


def test_windows_start_at_multiples_also_before_1970():
    rows = records(rtt_us=[1] * 5).with_columns(ts=pl.Series([-(10**10) - 1, -(10**10), -1, 0, 10**10 - 1]))
    keys = chain_of(f"SELECT count(*) AS n_total FROM probes {TUMBLE}").finish(rows, 0).sorted().keys
    assert keys.rows() == [(-2 * 10**10, 1), (-(10**10), 2), (0, 2)]


def test_a_batch_without_rows_gives_a_partial_without_groups():
    chain = chain_of(T2T)
    for cut in range(chain.row_stages + 1):
        rows = chain.prepare(ROWS.clear())
        for i in range(1, cut + 1):
            rows = chain.apply(i, rows)
        assert len(chain.finish(rows, cut)) == 0


@pytest.mark.parametrize("cut", [-1, 5])
def test_a_cut_that_does_not_exist_is_refused(cut):
    chain = chain_of(T2T)
    with pytest.raises(PlanError, match=r"cuts 0\.\.4"):
        chain.schema_at(cut)
    with pytest.raises(PlanError, match=r"cuts 0\.\.4"):
        chain.finish(ROWS, cut)
    with pytest.raises(PlanError, match=r"row stages 1\.\.4"):
        chain.apply(0 if cut < 0 else cut, ROWS)


def test_rows_whose_text_came_as_codes_give_the_same_groups_at_every_cut():
    chain = chain_of(f"SELECT src, dst, count(*) AS n_total FROM probes WHERE err = 0 {TUMBLE}, src, dst")
    src = ["b", "a", "", "a", "b", "a"]
    rows = chain.prepare(records(src=src, dst=["x"] * 6, err=[1, 0, 0, 0, 0, 0]))
    for cut in range(chain.row_stages + 1):
        rows = chain.apply(cut, rows) if cut else rows
        texts = ["a", "b", "", "a", "in no row"]
        last = {text: place for place, text in enumerate(texts)}
        codes = [texts.index(text) if place % 2 else last[text] for place, text in enumerate(rows["src"])]
        found = chain.finish(rows, cut, {"src": Coded(np.array(codes), texts)})
        assert found.sorted().to_frame().equals(chain.finish(rows, cut).sorted().to_frame())
        assert list(found.coded) == (["src"] if cut == chain.row_stages else [])
        assert all(label.to_series(name).equals(found.keys[name]) for name, label in found.coded.items())


def test_finish_refuses_rows_of_another_cut():
    chain = chain_of(T2T)
    with pytest.raises(SchemaError, match=r"'s\.tor' is missing"):
        chain.finish(chain.prepare(ROWS), 2)


def test_a_chain_is_made_again_from_its_plan_alone():
    again = Chain(compiled(T2T), TABLES)
    rows = again.prepare(ROWS)
    assert again.finish(rows, 0).sorted().to_frame().equals(chain_of(T2T).finish(rows, 0).sorted().to_frame())
