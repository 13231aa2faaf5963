"""Which series had data when, told by the first bytes of pages: from fine windows, rolled up ones and both."""

import pytest

from store.errors import CorruptPageError
from store.label_matchers import Matcher
from store.registry import metric
from store.series_list import last_windows, matching_series
from store.snapshot import Snapshot
from tests.store.levels_world import HOUR_S, ORIGIN_S, SECOND_NS, LevelsWorld, plan_of


def silent_after(world, from_s, to_s):
    """src -> (start, end) of its newest window, in seconds after ORIGIN_S."""
    with world.engine.connect() as connection:
        row = metric(connection, "rtt_us")
        start, end = (ORIGIN_S + from_s) * SECOND_NS, (ORIGIN_S + to_s) * SECOND_NS
        last = last_windows(Snapshot(connection), row, start, end)
        return {
            one.labels["src"]: tuple(edge // SECOND_NS - ORIGIN_S for edge in last[one.series_id])
            for one in matching_series(connection, [row.query_id])
            if one.series_id in last
        }


def test_the_newest_window_is_as_wide_as_it_is_kept_or_rolled_up(engine):
    world = LevelsWorld(engine, plan_of(10))
    many = [f"s{i:03d}" for i in range(150)]  # three pages' worth of series
    world.flush([(5, src, 1) for src in many])
    world.flush([(2 * HOUR_S + 42, src, 1) for src in many[:100]], partition=1)
    world.flush([(2 * HOUR_S + 55, "s007", 1)])
    fine = dict.fromkeys(many, (0, 10)) | dict.fromkeys(many[:100], (2 * HOUR_S + 40, 2 * HOUR_S + 50))
    fine["s007"] = (2 * HOUR_S + 50, 2 * HOUR_S + 60)
    assert silent_after(world, 0, 3 * HOUR_S) == fine
    assert silent_after(world, 3, 5) == dict.fromkeys(many, (0, 10))
    assert silent_after(world, 10, 2 * HOUR_S) == {}
    world.round(9 * HOUR_S)
    assert world.waiting() == 0
    assert silent_after(world, 0, 3 * HOUR_S) == dict.fromkeys(many[100:], (0, HOUR_S)) | dict.fromkeys(
        many[:100], (2 * HOUR_S, 3 * HOUR_S)
    )
    assert silent_after(world, 2 * HOUR_S + 30, 2 * HOUR_S + 50) == dict.fromkeys(many[:100], fine["s000"])
    world.round(30 * HOUR_S, kept_s=(HOUR_S, HOUR_S, 1e9))
    assert world.pages(0) == world.pages(1) == 0
    assert silent_after(world, 0, 60) == dict.fromkeys(many, (0, HOUR_S))


def test_series_are_read_in_the_order_in_which_they_came_and_matched(engine):
    world = LevelsWorld(engine, plan_of(10))
    for src in ("c", "a", "b", "ab"):
        world.flush([(5, src, 1)])
    with engine.connect() as connection:
        query_id = metric(connection, "rtt_us").query_id
        sources = [one.labels["src"] for one in matching_series(connection, [query_id])]
        matched = [one.labels["src"] for one in matching_series(connection, [query_id], [Matcher("src", "a.*", "=~")])]
        assert list(matching_series(connection, [])) == []
    assert (sources, matched) == (["c", "a", "b", "ab"], ["a", "ab"])


@pytest.mark.parametrize("page", [b"", b"\x01", b"\x03\x00", b"\x01\x41" + bytes(0x41), b"\x01\x03\x00\x01"])
def test_bytes_that_begin_no_page_are_refused(engine, page):
    world = LevelsWorld(engine, plan_of(10))
    world.flush([(5, "a", 1)])
    with engine.begin() as connection:
        from store import tables

        connection.execute(tables.pages.update().values(data=page))
    with pytest.raises(CorruptPageError, match="no page"):
        silent_after(world, 0, 60)
