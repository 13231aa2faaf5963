"""Exactly once: repeated, cut short, claimed by two or killed at any statement, stored counts equal the truth."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.runner import Collector
from store.coverage import coverage
from store.registry import metric
from tests.collector.conftest import Bench
from tests.fleet import START_NS, WINDOW_NS, FakeAgent, probe_plan, probe_records, truth
from tests.stored import assert_same


def test_any_split_cut_batching_order_and_repetition_stores_what_one_pass_gives(bench: Bench) -> None:
    @given(st.data())
    @settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
    def law(data: st.DataObject) -> None:
        bench.start_over()
        records = probe_records(data.draw(st.integers(1, 150)), data.draw(st.integers(0, 9999)))
        agents = [
            FakeAgent(bench.plan, f"agent-{n}", partition=n % 2, incarnation=f"{n:032x}")
            for n in range(data.draw(st.integers(1, 5)))
        ]
        sent: list[tuple[int, bytes]] = []
        at = 0
        while at < records.height:
            size = data.draw(st.integers(5, 60))
            agent = agents[data.draw(st.integers(0, len(agents) - 1))]
            cut = data.draw(st.integers(0, agent.chain.row_stages + 1))
            sent += [(agent.partition, frame) for frame in agent.send(records[at : at + size], cut)]
            at += size
        sent += [(agent.partition, agent.heartbeat()) for agent in agents]
        repeated = sent + [sent[n] for n in data.draw(st.lists(st.integers(0, len(sent) - 1), max_size=6))]
        collector = bench.collector(poll_records=7)
        order = data.draw(st.permutations(range(len(repeated))))
        for partition in (0, 1):
            bench.publish([repeated[n][1] for n in order if repeated[n][0] == partition], partition)
        for _ in range(2 + len(repeated) // 7 + 2):
            collector.step(0.0)
        assert_same(bench.stored(), truth(bench.plan, records))
        assert bench.totals()["duplicates"] == len(repeated) - len(sent)
        whole = coverage_of(bench)
        assert (whole.ratio, whole.records_known, whole.records_merged) == (1.0, records.height, records.height)

    law()


def test_a_query_without_labels_is_stored_as_one_series(bench: Bench) -> None:
    bench.plan = probe_plan("""SELECT sketch(rtt_us) AS rtt_us, count(*) AS probes_total
        FROM probes GROUP BY TUMBLE(ts, INTERVAL '10' SECOND)""")
    records = probe_records(100, seed=12)
    agent = FakeAgent(bench.plan)
    bench.publish(agent.send(records[:50], 0) + agent.send(records[50:], 99))
    bench.drain(bench.collector())
    assert_same(bench.stored(), truth(bench.plan, records))


def coverage_of(bench: Bench) -> Any:
    with bench.engine.connect() as connection:
        row = metric(connection, "rtt_us")
        return coverage(connection, row, START_NS, START_NS + 4 * WINDOW_NS, START_NS + 10 * WINDOW_NS)


@pytest.mark.parametrize("cut", [0, 99])
def test_a_partition_that_goes_to_another_collector_and_back_with_warm_memory_counts_nothing_twice(
    bench: Bench, cut: int
) -> None:
    records = probe_records(90, seed=1)
    agent = FakeAgent(bench.plan)
    first, second = bench.collector(), bench.collector()
    at_a, at_b = first._subscriber, second._subscriber  # the group coordinator's side of the test
    everything, nothing = frozenset({0, 1}), frozenset[int]()

    at_b.reassign(nothing)
    bench.publish(agent.send(records[:30], cut))
    first._next_flush = float("inf")
    first.step(0.0)
    first.step(0.0)
    assert first._held[0].pending_bytes > 0
    # A loses the partition without being told; B claims it, reads the same records and flushes.
    at_b.reassign(everything)
    bench.publish(agent.send(records[30:60], cut))
    bench.drain(second)
    at_b.reassign(nothing)
    second.step(0.0)
    # Back to A, whose memory still holds the first batch.
    at_a.reassign(nothing)
    at_a.reassign(everything)
    bench.publish(agent.send(records[60:], cut))
    first._next_flush = 0.0
    for collector in (first, first, first):
        expire_claims(collector)
        bench.drain(collector)
    assert_same(bench.stored(), truth(bench.plan, records))


def expire_claims(collector: Collector) -> None:
    """Let retries that wait for a moment happen now."""
    for number in collector._unclaimed:
        collector._unclaimed[number] = 0.0


def test_two_collectors_that_both_believe_to_own_a_partition_count_nothing_twice(bench: Bench) -> None:
    records = probe_records(200, seed=2)
    agent = FakeAgent(bench.plan)
    one, other = bench.collector(), bench.collector()
    for at in range(0, 200, 20):
        bench.publish(agent.send(records[at : at + 20], 99 if at % 40 else 0))
        for collector in (one, other):
            expire_claims(collector)
            collector.step(0.0)
    for collector in (one, other, one):
        expire_claims(collector)
        bench.drain(collector)
    assert_same(bench.stored(), truth(bench.plan, records))


class Killed(BaseException):
    """Stands for kill -9: nothing of the process runs afterwards."""


@contextmanager
def killed_at(engine: sa.Engine, statement: int) -> Iterator[list[int]]:
    """Raise before the n-th statement that the engine runs, the COMMIT counted as a statement."""
    count = [0]

    def trip(*_: object) -> None:
        count[0] += 1
        if count[0] == statement:
            raise Killed

    sa.event.listen(engine, "before_cursor_execute", trip)
    sa.event.listen(engine, "commit", trip)
    try:
        yield count
    finally:
        sa.event.remove(engine, "before_cursor_execute", trip)
        sa.event.remove(engine, "commit", trip)


def test_a_collector_killed_before_any_statement_of_claim_and_flush_loses_and_repeats_nothing(bench: Bench) -> None:
    records = probe_records(120, seed=3)
    agent = FakeAgent(bench.plan)
    frames = agent.send(records[:60], 0) + agent.send(records[60:], 99) + [agent.heartbeat()]
    bench.collector()  # registers the plan
    bench.publish([*frames, frames[0], b"not a frame"])
    statement, survived = 0, False
    while not survived:
        statement += 1
        with killed_at(bench.engine, statement) as count:
            try:
                bench.drain(bench.collector(register=False))
                survived = count[0] < statement
            except Killed:
                bench.engine.dispose()
    assert statement > 30
    assert_same(bench.stored(), truth(bench.plan, records))
    assert coverage_of(bench).ratio == 1.0
    counted = bench.totals()
    assert (counted["frames"], counted["duplicates"], counted["dead_letters"]) == (7, 1, 1)


def test_a_collector_killed_after_its_commit_but_before_the_transport_knows_reads_on_without_repeating(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = probe_records(50, seed=4)
    bench.publish(FakeAgent(bench.plan).send(records, 99))
    collector = bench.collector()

    def die(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(collector._subscriber, "committed", die)
    with pytest.raises(Killed):
        bench.drain(collector)
    monkeypatch.undo()
    bench.drain(bench.collector())
    assert_same(bench.stored(), truth(bench.plan, records))
    assert bench.totals()["frames"] == 2
