"""Looking texts up finds what a join finds, and never keeps more unknown texts than it may."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.table_rows import TableRows
from tests.pipeline.probes import TUMBLE, chain_of, records

TEXTS = st.one_of(st.none(), st.sampled_from(["", "a", "b", "c", "10.0.0.1", "\x00"]), st.text(max_size=3))
KEYS = st.lists(st.text(max_size=3) | st.sampled_from(["a", "10.0.0.1"]), unique=True, max_size=8)


@settings(max_examples=100, deadline=None)
@given(KEYS, st.lists(st.lists(TEXTS, max_size=10), max_size=4), st.booleans())
def test_every_text_finds_the_row_that_has_it(keys, batches, alike):
    rows = TableRows(pl.Series(keys, dtype=pl.String))
    for texts in batches:
        asked = texts[:1] * len(texts) if alike else texts
        found = rows.of(pl.Series(asked, dtype=pl.String))
        assert found is not None
        assert found.to_list() == [keys.index(text) if text in keys else None for text in asked]


def test_other_keys_than_text_are_joined_in_the_usual_way():
    assert TableRows(pl.Series([1, 2])).of(pl.Series([2])) is None


def test_too_many_unknown_texts_end_the_dictionary_and_not_the_join(monkeypatch):
    monkeypatch.setattr("pipeline.table_rows.UNKNOWN_TEXTS", 10)
    rows = TableRows(pl.Series(["a", "b"]))
    assert rows.of(pl.Series(["b", *"cdefghijkl"])).to_list()[:2] == [1, None]
    assert rows.of(pl.Series(["m", "b"])).to_list() == [None, 1]
    assert rows.of(pl.Series(["b"])) is None


@pytest.mark.parametrize("how", ["JOIN", "LEFT JOIN"])
def test_a_join_gives_the_same_rows_with_and_without_the_dictionary(how, monkeypatch):
    sql = f"""
        SELECT s.tor, s.rack, max(s.weight) AS w_total FROM probes {how} hosts AS s ON src = s.ip
        WHERE s.rack IS NOT NULL OR load IS NULL {TUMBLE}, s.tor, s.rack"""
    texts = ["10.0.0.2", "x", None, "10.0.0.1", "", "10.0.0.3", "x"]
    for src in (texts, [*texts[:2], *texts[3:]], ["10.0.0.1"] * 3, ["x"] * 3, []):
        monkeypatch.undo()
        chain = chain_of(sql)
        rows = chain.prepare(records(src=src))
        looked_up = [chain.apply(1, rows), chain.plain(1, chain.local(1, rows))]
        monkeypatch.setattr(TableRows, "of", lambda *_: None)
        joined = chain.apply(1, rows)
        assert all(one.equals(joined) and one.schema == joined.schema for one in looked_up)
