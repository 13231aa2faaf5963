"""The series limit: what is known goes on, what would be one series too many is refused, counted and named."""

import json
from collections.abc import Sequence

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector import series_limit
from collector.own_metrics import REGISTRY
from collector.runner import Collector
from store import tables
from store.coverage import Coverage, coverage
from store.registry import metric
from store.series_limit import RefusedAgent, SeriesUse, label_values, note_series_max, series_use
from tests.collector.conftest import Bench
from tests.fleet import SCHEMA, START_NS, WINDOW_NS, FakeAgent, probe_plan, truth
from tests.stored import assert_same

SQL = """SELECT src, host, sketch(rtt_us) AS rtt_us, count(*) AS probes_total, sum(rtt_us) AS rtt_sum_us FROM probes
WHERE err = 0 GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), src, host"""
#: Cuts at which an agent may hand over: source rows, filtered rows, partials.
CUTS = (0, 1, 99)


@pytest.fixture(autouse=True)
def _own_query(bench: Bench) -> None:
    bench.plan = probe_plan(SQL)


def rows(sources: Sequence[str], window: int = 0, err: int = 0, times: int = 1) -> pl.DataFrame:
    """`times` records of each source in a window."""
    n = len(sources) * times
    columns = {
        "ts": [START_NS + window * WINDOW_NS + place for place in range(n)],
        "host": ["h"] * n,
        "src": [src for src in sources for _ in range(times)],
        "rtt_us": list(range(1, n + 1)),
        "load": [1.0] * n,
        "err": [err] * n,
    }
    kinds = {"int64": pl.Int64, "string": pl.String, "float64": pl.Float64}
    return pl.DataFrame(columns, schema={name: kinds[SCHEMA[name]] for name in columns})


def names(first: int, beyond: int) -> list[str]:
    return [f"src-{number:03d}" for number in range(first, beyond)]


def agent_of(bench: Bench, number: int = 1, partition: int = 0) -> FakeAgent:
    return FakeAgent(bench.plan, f"agent-{number}", partition=partition, incarnation=f"{number:032x}")


def use(bench: Bench) -> SeriesUse:
    with bench.engine.connect() as connection:
        return series_use(connection)[0]


def refused(bench: Bench) -> dict[str, tuple[int, int]]:
    """Agent -> groups and records refused."""
    return {one.agent: (one.groups, one.records) for one in use(bench).refused}


def stored_sources(bench: Bench) -> list[str]:
    stored = bench.stored()
    return [] if stored is None else stored.keys["src"].unique().sort().to_list()


def whole(bench: Bench) -> Coverage:
    with bench.engine.connect() as connection:
        row = metric(connection, "rtt_us")
        return coverage(connection, row, START_NS, START_NS + 4 * WINDOW_NS, START_NS + 9 * WINDOW_NS)


def run(bench: Bench, collector: Collector, agent: FakeAgent, records: pl.DataFrame, cut: int = 99) -> None:
    """Send, take in and flush."""
    bench.publish(agent.send(records, cut), agent.partition)
    bench.drain(collector)


def take_in(bench: Bench, collector: Collector, frames: list[bytes], partition: int = 0) -> None:
    """Take in without a flush."""
    collector._next_flush = float("inf")
    bench.publish(frames, partition)
    for _ in range(4):
        collector.step(0.0)


@pytest.mark.parametrize("cut", CUTS)
def test_what_one_frame_brings_beyond_the_limit_is_refused_counted_and_named(bench: Bench, cut: int) -> None:
    named = "tailwatch_collector_records_over_series_max_total", {"query": "probes"}
    before = REGISTRY.get_sample_value(*named) or 0.0
    agent = agent_of(bench)
    records = rows(names(0, 10), times=3)
    bench.publish([*agent.send(records, cut), agent.heartbeat()])
    bench.drain(bench.collector(series_max=6))
    kept = stored_sources(bench)
    assert len(kept) == 6
    assert_same(bench.stored(), truth(bench.plan, records.filter(pl.col("src").is_in(kept))))
    assert refused(bench) == {"agent-1": (4, 12)}
    example = json.loads(use(bench).refused[0].example)
    assert example["host"] == "h"
    assert example["src"] not in kept
    counted = bench.totals()
    assert (counted["over_series_max"], counted["records"], counted["groups"]) == (12, 30, 6)
    assert REGISTRY.get_sample_value(*named) == before + 12


@pytest.mark.parametrize("cut", CUTS)
def test_coverage_falls_by_the_share_of_records_that_was_refused(bench: Bench, cut: int) -> None:
    agent = agent_of(bench)
    # Half of them are left out by the query: that is merged, not missing. Of 40 records, 3 * 2 are refused.
    records = pl.concat([rows(names(0, 10), times=2), rows(names(0, 10), err=1, times=2)])
    bench.publish([*agent.send(records, cut), agent.heartbeat()])
    bench.drain(bench.collector(series_max=7))
    found = whole(bench)
    assert (found.records_known, found.records_merged) == (40, 34)
    assert found.ratio == 34 / 40
    assert found.agents_reported == 1


def test_refused_records_count_in_their_own_windows(bench: Bench) -> None:
    agent = agent_of(bench)
    collector = bench.collector(series_max=5)
    run(bench, collector, agent, rows(names(0, 5)))
    late = pl.concat([rows(names(0, 5), window=1), rows(names(5, 8), window=2, times=4), rows(names(0, 2), window=2)])
    run(bench, collector, agent, late, cut=0)
    t = tables.manifests
    with bench.engine.connect() as connection:
        found = connection.execute(sa.select(t.c.n_in, t.c.got_local + t.c.got_drained).order_by(t.c.window_ns)).all()
    assert [tuple(row) for row in found] == [(5, 5), (5, 5), (14, 2)]


def test_series_that_are_known_go_on_whatever_stands_beside_them(bench: Bench) -> None:
    agent = agent_of(bench)
    collector = bench.collector(series_max=5)
    run(bench, collector, agent, rows(names(0, 5)))
    for window, cut in enumerate(CUTS, 1):
        # Refused ones first, last and between.
        run(bench, collector, agent, rows(["a", "src-004", "b", *names(0, 4), "src-1"], window=window), cut)
    known = pl.concat([rows(names(0, 5)), *(rows(["a", "src-004", "b", *names(0, 4)], w) for w in (1, 2, 3))])
    assert_same(bench.stored(), truth(bench.plan, known.filter(pl.col("src").is_in(names(0, 5)))))
    assert refused(bench) == {"agent-1": (9, 9)}


def test_frames_between_two_flushes_share_the_limit(bench: Bench) -> None:
    agents = [agent_of(bench, number) for number in range(1, 4)]
    collector = bench.collector(series_max=8)
    take_in(bench, collector, [frame for agent in agents for frame in agent.send(rows(names(0, 4)), 99)])
    # Groups, not series, have reached 12 by now: the limit must not have struck yet.
    late = [(agents[0], 4, 7), (agents[1], 7, 10), (agents[2], 0, 12), (agents[2], 9, 14)]
    take_in(bench, collector, [frame for agent, a, b in late for frame in agent.send(rows(names(a, b), 1), 99)])
    assert collector.flush()
    assert stored_sources(bench) == names(0, 8)
    assert refused(bench) == {"agent-2": (2, 2), "agent-3": (4 + 5, 4 + 5)}


def test_the_last_free_places_are_given_to_new_series(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series_limit, "LOOK_AGAIN_S", 0.0)
    agent = agent_of(bench)
    collector = bench.collector(series_max=7)
    run(bench, collector, agent, rows(names(0, 4)))
    frames = [*agent.send(rows(names(0, 4), 1), 99), *agent.send(rows(names(2, 6), 2), 99)]
    take_in(bench, collector, [*frames, *agent.send(rows(names(3, 9), 3), 99)])
    collector.flush()
    assert stored_sources(bench) == names(0, 7)
    assert refused(bench) == {"agent-1": (2, 2)}


def test_many_groups_of_few_series_are_never_taken_for_too_many(bench: Bench) -> None:
    agent = agent_of(bench)
    collector = bench.collector(series_max=12)
    frames = [frame for window in range(40) for frame in agent.send(rows(names(0, 10), window), 99)]
    take_in(bench, collector, frames)
    collector.flush()
    assert refused(bench) == {}
    assert bench.totals()["groups"] == 400


def test_any_split_cut_batching_and_order_stores_all_of_the_series_that_are_known(bench: Bench) -> None:
    @given(st.data())
    @settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
    def law(data: st.DataObject) -> None:
        bench.start_over()
        known, new = names(0, 6), ["a", "src-0011", "z"]
        before = rows(known)
        run(bench, bench.collector(), agent_of(bench, 9), before)
        draw = data.draw(st.lists(st.tuples(st.sampled_from(known + new), st.integers(0, 3)), min_size=1, max_size=60))
        records = pl.concat([rows([src], window) for src, window in draw])
        agents = [agent_of(bench, number, partition=number % 2) for number in (1, 2, 3)]
        sent: list[tuple[int, bytes]] = []
        at = 0
        while at < records.height:
            size, agent = data.draw(st.integers(1, 30)), data.draw(st.sampled_from(agents))
            frames = agent.send(records[at : at + size], data.draw(st.sampled_from(CUTS)))
            sent += [(agent.partition, frame) for frame in frames]
            at += size
        sent = data.draw(st.permutations(sent))
        collector = bench.collector(series_max=data.draw(st.integers(1, 6)), poll_records=data.draw(st.integers(1, 7)))
        for partition in (0, 1):
            bench.publish([frame for place, frame in sent if place == partition], partition)
        for _ in range(len(sent) + 3):
            collector.step(0.0)
        kept = pl.concat([before, records.filter(pl.col("src").is_in(known))])
        assert_same(bench.stored(), truth(bench.plan, kept))
        left_out = before.height + records.height - kept.height
        assert bench.totals()["over_series_max"] == left_out == sum(n for _, n in refused(bench).values())
        assert (whole(bench).records_known, whole(bench).records_merged) == (records.height + 6, kept.height)

    law()


def test_two_partitions_of_one_collector_share_the_limit(bench: Bench) -> None:
    agents = [agent_of(bench, number, partition=number - 1) for number in (1, 2)]
    collector = bench.collector(series_max=8)
    for agent in agents:
        take_in(bench, collector, agent.send(rows(names(0, 6)), 99), agent.partition)
    for agent in agents:
        take_in(bench, collector, agent.send(rows(names(4, 10), 1), 99), agent.partition)
    collector.flush()
    assert stored_sources(bench) == names(0, 8)
    assert refused(bench) == {"agent-1": (2, 2), "agent-2": (2, 2)}
    assert use(bench).series == 8


def test_the_limit_holds_after_a_restart(bench: Bench) -> None:
    agent = agent_of(bench)
    run(bench, bench.collector(series_max=6), agent, rows(names(0, 4)))
    run(bench, bench.collector(series_max=6), agent, rows(names(2, 9), window=1))
    assert stored_sources(bench) == names(0, 6)
    assert refused(bench) == {"agent-1": (3, 3)}


def test_a_limit_lowered_below_what_there_is_refuses_only_what_is_new(bench: Bench) -> None:
    agent = agent_of(bench)
    run(bench, bench.collector(), agent, rows(names(0, 8)))
    run(bench, bench.collector(series_max=3), agent, rows(names(0, 10), window=1))
    assert_same(bench.stored(), truth(bench.plan, pl.concat([rows(names(0, 8)), rows(names(0, 8), 1)])))
    assert refused(bench) == {"agent-1": (2, 2)}


def test_a_limit_raised_takes_new_series_again(bench: Bench) -> None:
    agent = agent_of(bench)
    run(bench, bench.collector(series_max=3), agent, rows(names(0, 6)))
    run(bench, bench.collector(series_max=5), agent, rows(names(0, 6), window=1))
    assert stored_sources(bench) == names(0, 5)
    assert refused(bench) == {"agent-1": (4, 4)}


def test_what_another_collector_made_is_known_before_anything_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series_limit, "LOOK_AGAIN_S", 0.0)
    agents = [agent_of(bench, number) for number in (1, 2)]
    first = bench.collector(series_max=6)
    run(bench, first, agents[0], rows(names(0, 4)))
    take_in(bench, first, agents[0].send(rows(names(0, 4), 1), 99))  # four known and four groups: near the limit
    # Another one makes two more, the first of them with a smaller id than what is known here by then.
    with bench.engine.begin() as connection:
        query_id = use(bench).query_id
        for number, at in ((4, -5), (5, 10**6)):
            text = json.dumps({"host": "h", "src": f"src-{number:03d}"}, separators=(",", ":"))
            row = {"id": at, "query_id": query_id, "labels": text, "labels_hash": f"{number}"}
            connection.execute(sa.insert(tables.series), row)
    take_in(bench, first, agents[1].send(rows(["src-9", *names(4, 6)], 2), 99))
    taken = {src for groups in first._gathered() for src in groups.keys()["src"]}
    assert taken == set(names(0, 6))


def test_two_collectors_exceed_the_limit_by_what_they_make_at_the_same_time_and_by_no_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series_limit, "LOOK_S", 0.0)
    monkeypatch.setattr(series_limit, "LOOK_AGAIN_S", 0.0)
    agents = [agent_of(bench, number, partition=number - 1) for number in (1, 2)]
    collectors = [bench.collector(series_max=6), bench.collector(series_max=6)]
    for number, collector in enumerate(collectors):
        collector._subscriber.reassign(frozenset({number}))  # type: ignore[attr-defined]
    sources = names(0, 6), names(3, 9)
    for collector, agent, own in zip(collectors, agents, sources, strict=True):
        take_in(bench, collector, agent.send(rows(own), 99), agent.partition)
    assert [collector.flush() for collector in collectors] == [True, True]
    assert use(bench).series == 9
    for collector, agent in zip(collectors, agents, strict=True):
        take_in(bench, collector, agent.send(rows(names(0, 12), 1), 99), agent.partition)
        collector.flush()
    assert stored_sources(bench) == names(0, 9)
    assert refused(bench) == {"agent-1": (3, 3), "agent-2": (3, 3)}


def test_no_limit_is_applied_blindly_while_the_database_cannot_be_asked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> int:
        raise sa.exc.OperationalError("SELECT", None, Exception("no answer"))

    agent = agent_of(bench)
    collector = bench.collector(series_max=4)
    monkeypatch.setattr(series_limit, "count_series", gone)
    take_in(bench, collector, agent.send(rows(names(0, 6)), 99))
    assert sum(map(len, collector._gathered())) == 6
    monkeypatch.undo()
    monkeypatch.setattr(series_limit, "LOOK_AGAIN_S", 0.0)
    monkeypatch.setattr(series_limit, "LOOK_S", 0.0)
    take_in(bench, collector, agent.send(rows(names(4, 8), 1), 99))
    collector.flush()
    # From then on what was known last decides.
    monkeypatch.setattr(series_limit, "count_series", gone)
    take_in(bench, collector, agent.send(rows(names(3, 9), 2), 99))
    collector.flush()
    assert stored_sources(bench) == names(0, 6)
    assert refused(bench) == {"agent-1": (5, 5)}


def test_groups_that_wait_in_quarantine_meet_the_limit_when_they_are_released(bench: Bench) -> None:
    stranger = bench.collector(register=False, series_max=5)
    agent = agent_of(bench)
    bench.publish([*agent.send(rows(names(0, 4)), 99), *agent.send(rows(names(2, 8), 1), 0)])
    bench.drain(stranger)
    assert bench.totals()["quarantined"] == 4
    bench.collector()
    stranger._next_refresh = 0.0
    bench.drain(stranger)
    assert stored_sources(bench) == names(0, 5)
    assert refused(bench) == {"agent-1": (3, 3)}
    assert whole(bench).ratio == 7 / 10


def test_what_is_thrown_away_with_a_lost_partition_makes_no_room_and_takes_none(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series_limit, "LOOK_AGAIN_S", 0.0)
    agent = agent_of(bench)
    collector = bench.collector(series_max=5)
    take_in(bench, collector, agent.send(rows(names(0, 8)), 99))
    with bench.engine.begin() as connection:
        connection.execute(sa.update(tables.offsets).values(epoch=tables.offsets.c.epoch + 1))
    assert not collector.flush()
    assert refused(bench) == {}
    for number in collector._unclaimed:
        collector._unclaimed[number] = 0.0
    collector._next_flush = 0.0
    bench.drain(collector)
    assert stored_sources(bench) == names(0, 5)
    assert refused(bench) == {"agent-1": (3, 3)}
    assert bench.totals()["over_series_max"] == 3


def test_versions_with_other_labels_share_the_limit_of_their_query(bench: Bench) -> None:
    wider = probe_plan(SQL.replace("src, host", "src, host, err").replace("SELECT src, host", "SELECT src, host, err"))
    run(bench, bench.collector(series_max=6), agent_of(bench), rows(names(0, 4)))
    bench.plan = wider
    other = agent_of(bench, 2)
    run(bench, bench.collector(series_max=6), other, rows(names(0, 4), window=1))
    assert use(bench).series == 6
    assert refused(bench) == {"agent-2": (2, 2)}


def test_a_query_without_labels_is_one_series_and_never_refused(bench: Bench) -> None:
    bench.plan = probe_plan("""SELECT count(*) AS probes_total, sketch(rtt_us) AS rtt_us
        FROM probes GROUP BY TUMBLE(ts, INTERVAL '10' SECOND)""")
    agent = agent_of(bench)
    collector = bench.collector(series_max=1)
    for window in range(3):
        run(bench, collector, agent, rows(names(0, 5), window))
    assert refused(bench) == {}
    assert use(bench).series == 1


def test_of_many_refused_agents_the_largest_keep_their_names_and_the_sums_stay_right(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.series_limit.KEPT", 2)
    monkeypatch.setattr("store.series_limit.MOST", 3)
    collector = bench.collector(series_max=1)
    for round_ in range(2):
        for number in range(1, 6):
            times = 1 if number < 4 else number
            bench.publish(agent_of(bench, 10 * round_ + number).send(rows(["x", "y"], times=times), 99))
        bench.drain(collector)
        collector.flush()
    named = refused(bench)
    assert len([name for name in named if name]) <= 3
    assert {"agent-5", "agent-15"} <= named.keys()
    assert sum(records for _, records in named.values()) == bench.totals()["over_series_max"] == 2 * 12


def test_the_offending_label_is_the_one_with_the_most_values(bench: Bench) -> None:
    collector = bench.collector(series_max=50)
    run(bench, collector, agent_of(bench), rows(names(0, 40)))
    note_series_max(bench.engine, 50)
    found = use(bench)
    assert (found.query, found.series, found.series_max, found.refused) == ("probes", 40, 50, ())
    with bench.engine.connect() as connection:
        assert label_values(connection, found.query_id) == [("src", 40), ("host", 1)]


def test_long_labels_are_cut_in_the_example(bench: Bench) -> None:
    run(bench, bench.collector(series_max=1), agent_of(bench), rows(["short", "tall" * 1_000]))
    (one,) = use(bench).refused
    assert isinstance(one, RefusedAgent)
    assert json.loads(one.example) == {"src": "tall" * 50, "host": "h"}
