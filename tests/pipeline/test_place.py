"""rack, tor and dc: queries read them of every stream, and none that was written without them changes."""

import pytest

from pipeline.errors import QueryError
from pipeline.schema import with_place
from pipeline.sql import compile_query
from tests.pipeline.probes import SCHEMAS, TABLES, TUMBLE, compiled


def test_a_query_may_read_where_the_agent_stands():
    plan = compiled(
        f"SELECT tor, probes.dc AS place, sketch(load) AS x_s FROM probes WHERE rack <> '' {TUMBLE}, tor, place"
    )
    assert plan.labels == ["tor", "place"]
    assert plan.source_schema == {"ts": "int64", "dc": "string", "load": "float64", "rack": "string", "tor": "string"}


def test_a_stream_that_has_such_a_column_keeps_it():
    schemas = {"probes": {**SCHEMAS["probes"], "rack": "int64"}}
    plan = compile_query("q", f"SELECT rack, tor, max(load) AS x_s FROM probes {TUMBLE}, rack, tor", schemas, TABLES)
    assert plan.source_schema == {"ts": "int64", "load": "float64", "rack": "int64", "tor": "string"}
    assert with_place({"ts": "int64", "rack": "int64"}) == {
        "ts": "int64",
        "rack": "int64",
        "tor": "string",
        "dc": "string",
    }


def test_a_bare_name_that_meant_a_tables_column_still_means_it():
    joined = "FROM probes JOIN hosts AS s ON probes.src = s.ip"
    bare = compiled(f"SELECT tor, rack, max(load) AS x_s {joined} {TUMBLE}, tor, rack")
    named = compiled(f"SELECT s.tor AS tor, s.rack AS rack, max(load) AS x_s {joined} {TUMBLE}, s.tor, s.rack")
    assert bare.version == named.version
    own = compiled(f"SELECT probes.tor AS tor, max(load) AS x_s {joined} {TUMBLE}, probes.tor")
    assert "tor" in own.source_schema


def test_a_name_given_in_select_still_means_what_it_was_given_to():
    plan = compiled(f"SELECT UPPER(src) AS rack, max(load) AS x_s FROM probes {TUMBLE}, rack")
    assert plan.source_schema == {"ts": "int64", "load": "float64", "src": "string"}


def test_a_streams_own_column_and_a_tables_stay_ambiguous():
    schemas = {"probes": {**SCHEMAS["probes"], "tor": "string"}}
    sql = f"SELECT max(load) AS x_s FROM probes JOIN hosts AS s ON probes.src = s.ip WHERE tor = 'a' {TUMBLE}"
    with pytest.raises(QueryError, match="ambiguous"):
        compile_query("q", sql, schemas, TABLES)
