"""What is said of drives as series: windows like any other, that count for nobody's coverage and nobody's partition."""

from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from collector import own_metrics
from collector.config import CollectorConfig
from collector.jobs import drive_series
from collector.jobs.config import DrivesConfig, JobsConfig
from collector.jobs.drive_series import DriveSeries
from collector.jobs.job_series import STEP_NS
from collector.jobs.job_streams import COLLECTOR_STREAMS
from collector.jobs.rounds import Rounds
from pipeline.sql import compile_query
from store.claims import DRIVES_TOPIC, claim
from store.coverage import coverage
from store.drives import DriveVerdict, write_verdicts
from store.errors import FencedError
from store.fleet import collectors, totals
from store.fleet_coverage import fleet_coverage
from store.registry import metric, register_queries
from store.samples import Instants, SeriesCodes, estimated, plan
from store.series_limit import series_use
from store.snapshot import Snapshot
from store.windows import Selection, merged
from tests.collector.jobs.drives_world import DAY_NS, HOUR_NS, TODAY, DrivesWorld, reading

NOW = TODAY * DAY_NS + 13 * HOUR_NS


def series(world: DrivesWorld, series_max: int = 100_000, **settings: Any) -> DriveSeries:
    return DriveSeries(DrivesConfig(**settings), series_max, world.engine, "tester")


def said(world: DrivesWorld, n: int, *states: int, **columns: Any) -> None:
    """n drives with these verdicts in turn."""
    world.know([reading(TODAY, serial=f"S{number:04}", **columns) for number in range(n)])
    with world.engine.begin() as connection:
        ids = connection.execute(sa.text("SELECT id FROM drives ORDER BY id")).scalars().all()
        verdicts = [
            DriveVerdict(number, states[place % len(states)], 0, "", TODAY, wear_used_pct=25.0)
            for place, number in enumerate(ids)
        ]
        write_verdicts(connection, verdicts, NOW)


def values(world: DrivesWorld, name: str, *by: str, at_ns: int = NOW) -> dict[tuple[str, ...], Any]:
    """Labels -> value in the window of five minutes that had ended last."""
    start_ns = (at_ns // STEP_NS - 1) * STEP_NS
    with world.engine.connect() as connection:
        answer = merged(connection, Selection(name, start_ns, start_ns + STEP_NS, by=by))
    return {tuple(group.labels[label] for label in by): group.state.answers()[0] for group in answer.groups}


def test_verdicts_become_windows_of_five_minutes_with_their_labels(world: DrivesWorld) -> None:
    said(world, 2, 0, 2)
    assert series(world).write(NOW) == 2
    labels = ("drive", "node", "rack", "model", "kind", "origin")
    assert values(world, "drive_state", *labels) == {
        ("S0000", "n1", "r1", "SSD A1", "ata", "measured"): 0,
        ("S0001", "n1", "r1", "SSD A1", "ata", "measured"): 2,
    }
    assert values(world, "drive_wear_used_ratio", "drive") == {("S0000",): 0.25, ("S0001",): 0.25}
    assert values(world, "drives_count", "state", "model") == {
        ("good", "SSD A1"): 1,
        ("replace", "SSD A1"): 1,
        ("unknown", "SSD A1"): 0,
        ("watch", "SSD A1"): 0,
    }


def test_without_a_model_there_is_no_series_of_probabilities_at_all(world: DrivesWorld) -> None:
    said(world, 2, 0)
    series(world).write(NOW)
    assert values(world, "drive_failure_probability", "drive") == {}
    with world.engine.begin() as connection:
        number = world.drive("S0001")["id"]
        one = DriveVerdict(number, 1, 0, "", TODAY, p7=0.1, p30=0.25, model_digest="sha256:x", model_synthetic=True)
        write_verdicts(connection, [one], NOW)
    series(world).write(NOW + STEP_NS)
    at = {"at_ns": NOW + STEP_NS}
    assert values(world, "drive_failure_probability", "drive", "origin", **at) == {("S0001", "synthetic"): 0.25}
    assert values(world, "drive_failure_7d_probability", "drive", **at) == {("S0001",): 0.1}


def test_a_window_is_written_once_whoever_writes_it(world: DrivesWorld) -> None:
    said(world, 2, 0)
    first = series(world)
    assert first.write(NOW) == 2
    assert first.write(NOW + 10**9) == 0
    assert series(world).write(NOW + 2 * 10**9) == 0
    assert series(world).write(NOW + STEP_NS) == 2
    # The first one's claim is gone: it writes nothing, and finds out at its next try.
    with pytest.raises(FencedError):
        first.write(NOW + 2 * STEP_NS)
    assert first.write(NOW + 2 * STEP_NS) == 2


def test_a_writer_that_died_between_two_parts_is_gone_on_with(world: DrivesWorld) -> None:
    said(world, 1500, 1)
    left = 2

    def die() -> None:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        series(world).write(NOW, die)
    assert len(values(world, "drive_state", "drive")) == 1024
    assert series(world).write(NOW) == 1
    assert len(values(world, "drive_state", "drive")) == 1500


def test_drives_that_became_good_while_a_writer_was_dead_cost_no_other_its_window(
    quick_world: DrivesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = quick_world
    monkeypatch.setattr(drive_series, "_DRIVES_A_PART", 4)
    said(world, 7, 1)
    left = 2

    def die() -> None:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        series(world, series_max_drives=0).write(NOW, die)
    with world.engine.begin() as connection:
        write_verdicts(connection, [DriveVerdict(number, 0, 0, "", TODAY) for number in (1, 2)], NOW)
    assert series(world, series_max_drives=0).write(NOW) == 1
    assert len(values(world, "drive_state", "drive")) == 7


def test_the_job_makes_no_more_series_of_a_query_than_it_may_have_and_says_what_it_left_out(
    quick_world: DrivesWorld,
) -> None:
    world = quick_world
    said(world, 6, 0)
    before = own_metrics.records_over_series_max.labels("drive_verdicts")._value.get()
    writer = series(world, series_max=8)
    assert writer.write(NOW) == 2
    said(world, 10, 0)
    writer.write(NOW + STEP_NS)
    shown = values(world, "drive_state", "drive", at_ns=NOW + STEP_NS)
    assert len(shown) == 8
    assert {(f"S{number:04}",) for number in range(6)} < set(shown), "those that are known go on"
    assert own_metrics.records_over_series_max.labels("drive_verdicts")._value.get() == before + 2
    with world.engine.connect() as connection:
        (use,) = [one for one in series_use(connection) if one.query == "drive_verdicts"]
    assert use.series == 8
    assert [(one.agent, one.groups, one.records) for one in use.refused] == [(DRIVES_TOPIC, 2, 2)]
    # One that starts anew knows nothing, and keeps to it all the same.
    series(world, series_max=8).write(NOW + 2 * STEP_NS)
    assert set(values(world, "drive_state", "drive", at_ns=NOW + 2 * STEP_NS)) == set(shown)


def test_drives_that_are_not_good_are_found_without_reading_the_others(quick_world: DrivesWorld) -> None:
    world = quick_world
    said(world, 3, 0, 1)
    asked: list[tuple[str, Any]] = []
    listener = lambda _c, _k, statement, parameters, *_: asked.append((statement, parameters))  # noqa: E731
    sa.event.listen(world.engine, "before_cursor_execute", listener)
    series(world, series_max_drives=0).write(NOW)
    sa.event.remove(world.engine, "before_cursor_execute", listener)
    wide = [one for one in asked if "wear_used_pct" in one[0] and "ORDER BY drives.id" in one[0]]
    assert wide
    with world.engine.connect() as connection:
        for statement, parameters in wide:
            steps = str(connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement, parameters).all())
            assert "drives_not_good" in steps, steps


def test_of_too_many_drives_only_those_that_are_not_good_have_series_and_all_are_counted(world: DrivesWorld) -> None:
    said(world, 10, 0, 0, 0, 1, -1)
    series(world, series_max_drives=9).write(NOW)
    assert sorted(values(world, "drive_state", "drive").values()) == [-1, -1, 1, 1]
    assert values(world, "drives_count", "state")["good",] == 6
    assert own_metrics.drives_without_series._value.get() == 6
    series(world, series_max_drives=10).write(NOW + STEP_NS)
    assert own_metrics.drives_without_series._value.get() == 0


def test_drives_that_are_gone_are_no_longer_shown(world: DrivesWorld) -> None:
    said(world, 1, -1)
    later = NOW + 31 * DAY_NS
    series(world, gone_after_days=30).write(later)
    assert values(world, "drive_state", "drive", at_ns=later) == {}
    assert values(world, "drives_count", "state", at_ns=later) == {}


def test_a_query_of_ones_own_on_verdicts_is_served_like_the_built_in_ones(world: DrivesWorld) -> None:
    sql = """SELECT rack, tor, sketch(wear_used_ratio) AS rack_wear_ratio, count(*) AS rack_drives_total
             FROM drive_verdicts WHERE state >= 0 GROUP BY TUMBLE(ts, INTERVAL '10' MINUTE), rack, tor"""
    with world.engine.begin() as connection:
        register_queries(connection, [compile_query("racks", sql, dict(COLLECTOR_STREAMS), {})], 0)
    said(world, 3, 0, 1, -1)
    series(world).write(NOW)
    with world.engine.connect() as connection:
        answer = merged(connection, Selection("rack_drives_total", NOW - HOUR_NS, NOW + HOUR_NS, by=("rack", "tor")))
    assert [(group.labels, group.state.answers()) for group in answer.groups] == [({"rack": "r1", "tor": ""}, [2])]


def test_nobody_is_expected_to_send_them_so_their_coverage_is_whole(world: DrivesWorld) -> None:
    said(world, 2, 0)
    series(world).write(NOW)
    with world.engine.connect() as connection:
        found = coverage(connection, metric(connection, "drive_state"), NOW - HOUR_NS, NOW + HOUR_NS, NOW)
        assert (found.ratio, found.agents_expected, found.records_known) == (1.0, 0, 0)
        assert dict(fleet_coverage(Snapshot(connection), NOW + HOUR_NS).queries) == {}


def test_what_counts_partitions_and_collectors_does_not_count_the_job(world: DrivesWorld) -> None:
    with world.engine.begin() as connection:
        claim(connection, "tailwatch", 0, "a collector")
    said(world, 2, 0)
    with world.engine.connect() as connection:
        before = (collectors(connection), totals(connection), Snapshot(connection).pages_per_window())
    series(world).write(NOW)
    assert DRIVES_TOPIC in {row[0] for row in world.table("offsets")}
    with world.engine.connect() as connection:
        assert (collectors(connection), totals(connection), Snapshot(connection).pages_per_window()) == before
        seen = Snapshot(connection)
        row = seen.view.metric("drive_state")
        ids = seen.labels(row.query_id).groups((), ()).series
        asked = Instants(NOW, NOW + HOUR_NS, STEP_NS, STEP_NS)
        planned = plan(seen, row, SeriesCodes(ids, ids * 0), asked, False)
        windows = HOUR_NS // STEP_NS + 1
        assert estimated(connection, planned, 10**9) <= 2 * ids.size * windows


def test_they_are_rolled_up_by_the_hour_as_everything_is(world: DrivesWorld) -> None:
    said(world, 1, 0)
    writer = series(world)
    writer.write(NOW)
    said(world, 1, 2)
    writer.write(NOW + STEP_NS)
    rounds = Rounds(CollectorConfig(jobs=JobsConfig(settle_s=0)), world.engine, "tester")
    assert rounds.round(NOW + 2 * HOUR_NS)
    rounds.leave()
    with world.engine.connect() as connection:
        pages = connection.execute(sa.text('SELECT DISTINCT level, "partition" FROM pages ORDER BY level'))
        assert [tuple(row) for row in pages] == [(0, -2), (2, -2)]
        answer = merged(connection, Selection("drive_state", NOW - HOUR_NS, NOW + 2 * HOUR_NS))
    assert answer.groups[0].state.answers() == [2]


def test_a_clock_that_was_ahead_once_does_not_silence_them_for_good(world: DrivesWorld) -> None:
    said(world, 1, 0)
    series(world).write(NOW + DAY_NS)
    assert series(world).write(NOW) == 2
    assert values(world, "drive_state", "drive") == {("S0000",): 0}
    assert series(world).write(NOW) == 0


def test_a_database_without_drives_gets_no_claim(world: DrivesWorld) -> None:
    assert series(world).write(NOW) == 0
    assert world.table("offsets") == []


def test_records_have_the_columns_that_their_streams_say(world: DrivesWorld) -> None:
    said(world, 1, 0)
    for _, stream, records in series(world)._parts(NOW, 0):
        assert set(records.columns) == set(COLLECTOR_STREAMS[stream])
        assert records.schema["ts"] == pl.Int64
