"""Where a frame can end: in the answer, as a duplicate, in quarantine, or as a dead letter with a reason."""

import time

import msgspec
import pytest
import sqlalchemy as sa

from store import tables
from store.coverage import coverage
from store.registry import metric
from tests.collector.conftest import Bench
from tests.fleet import START_NS, WINDOW_NS, FakeAgent, probe_plan, probe_records, truth
from tests.stored import assert_same
from wire.frame import decode_frame, encode_frame

RECORDS = probe_records(60, seed=5)


def dead_letters(bench: Bench) -> list[str]:
    with bench.engine.connect() as connection:
        return list(connection.execute(sa.select(tables.dead_letters.c.reason)).scalars())


def quarantined(bench: Bench) -> list[str]:
    with bench.engine.connect() as connection:
        return list(connection.execute(sa.select(tables.quarantine.c.reason)).scalars())


def test_one_flipped_bit_anywhere_in_a_frame_is_a_dead_letter_and_changes_no_answer(bench: Bench) -> None:
    agent = FakeAgent(bench.plan)
    good = agent.send(RECORDS[:40], 99)
    bad = agent.send(RECORDS[40:], 99)[0]
    places = range(0, len(bad) * 8, 97)
    flipped = [bad[: p // 8] + bytes([bad[p // 8] ^ 1 << p % 8]) + bad[p // 8 + 1 :] for p in places]
    bench.publish(good + flipped)
    collector = bench.collector()
    bench.drain(collector)
    assert_same(bench.stored(), truth(bench.plan, RECORDS[:40]))
    assert len(dead_letters(bench)) == bench.totals()["dead_letters"] == len(places) > 50


def test_an_intact_frame_with_a_wrong_body_is_a_dead_letter_with_its_reason_and_the_stream_goes_on(
    bench: Bench,
) -> None:
    agent = FakeAgent(bench.plan)
    wrong = agent.frame("partial", b"no columns at all", cut=9)
    nameless = encode_frame(msgspec.structs.replace(decode_frame(agent.frame("manifest", b"")).header, version=""), b"")
    bench.publish([wrong, nameless, *agent.send(RECORDS, 0)])
    bench.drain(bench.collector())
    assert [reason.split(":")[0] for reason in dead_letters(bench)] == [
        "the body is not a set of columns",
        "a manifest frame of agent-1 names no query version",
    ]
    assert_same(bench.stored(), truth(bench.plan, RECORDS))


def test_a_frame_on_another_partition_than_its_own_is_a_dead_letter(bench: Bench) -> None:
    bench.publish(FakeAgent(bench.plan, partition=1).send(RECORDS, 99), partition=0)
    bench.drain(bench.collector())
    assert set(dead_letters(bench)) == {"frame of agent-1 was made for partition 1 and came on 0"}
    assert bench.stored() is None


def test_frames_of_an_unknown_plan_wait_in_quarantine_until_it_is_registered_and_count_once(bench: Bench) -> None:
    agent = FakeAgent(bench.plan)
    frames = agent.send(RECORDS[:30], 0) + agent.send(RECORDS[30:], 99)
    bench.publish(frames + frames)
    stranger = bench.collector(register=False)
    bench.drain(stranger)
    assert len(quarantined(bench)) == 4
    assert "is not registered here" in quarantined(bench)[0]
    assert bench.totals()["duplicates"] == 4
    bench.collector()  # registers the plan
    stranger._next_refresh = 0.0
    bench.drain(stranger)
    assert quarantined(bench) == []
    assert_same(bench.stored(), truth(bench.plan, RECORDS))


def test_a_full_quarantine_pauses_the_partition_and_loses_nothing(bench: Bench) -> None:
    agent = FakeAgent(bench.plan)
    frames = agent.send(RECORDS[:20], 0) + agent.send(RECORDS[20:40], 0) + agent.send(RECORDS[40:], 99)
    bench.publish(frames)
    stranger = bench.collector(register=False, quarantine_max_frames=2)
    bench.drain(stranger)
    assert len(quarantined(bench)) == 2
    bench.collector()
    stranger._next_refresh = 0.0
    bench.drain(stranger)
    assert_same(bench.stored(), truth(bench.plan, RECORDS))


def test_a_frame_of_a_newer_wire_version_is_kept_not_lost(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = FakeAgent(bench.plan)
    monkeypatch.setattr("wire.frame.WIRE_VERSION", 2)
    frames = agent.send(RECORDS, 99)
    monkeypatch.undo()
    bench.publish(frames)
    bench.drain(bench.collector())
    assert quarantined(bench) == ["frame has wire version 2, this program reads up to 1; upgrade the collector"] * 2
    # The upgraded collector knows version 2: it takes the frames from quarantine, marks included.
    monkeypatch.setattr("wire.frame.WIRE_VERSION", 2)
    monkeypatch.setattr("collector.partition.WIRE_VERSION", 2)
    bench.publish([frames[0]])
    bench.drain(bench.collector())
    assert quarantined(bench) == []
    assert_same(bench.stored(), truth(bench.plan, RECORDS))
    assert bench.totals()["duplicates"] == 1


def test_a_frame_older_than_any_spool_of_a_forgotten_incarnation_is_refused(bench: Bench) -> None:
    old = FakeAgent(bench.plan, now_ns=1)
    bench.publish(old.send(RECORDS, 99))
    bench.drain(bench.collector(spool_age_s=3600.0))
    assert all("its incarnation is forgotten" in reason for reason in dead_letters(bench))
    assert bench.stored() is None


def test_a_frame_that_never_comes_is_counted_lost_and_lowers_coverage(bench: Bench) -> None:
    now_ns = time.time_ns()
    agent = FakeAgent(bench.plan, now_ns=START_NS + WINDOW_NS)
    sent = agent.send(RECORDS[:30], 99)
    agent.send(RECORDS[30:], 99)  # on its way, then gone
    agent.now_ns += WINDOW_NS
    bench.publish([*sent, agent.heartbeat()])
    age_s = (now_ns - START_NS) / 1e9 + 3600
    collector = bench.collector(spool_age_s=age_s)
    bench.drain(collector)
    assert bench.totals()["lost_frames"] == 0
    collector._held[0].flush(now_ns + round(2 * age_s * 1e9))
    assert bench.totals()["lost_frames"] == 2
    with bench.engine.connect() as connection:
        row = metric(connection, "rtt_us")
        whole = coverage(connection, row, START_NS, START_NS + 4 * WINDOW_NS, START_NS + 9 * WINDOW_NS)
    assert whole.ratio < 1.0
    assert whole.interrupted


def test_a_position_that_is_no_longer_there_goes_on_at_the_earliest_record_and_is_counted(bench: Bench) -> None:
    agent = FakeAgent(bench.plan)
    gone, kept = agent.send(RECORDS[:30], 99), agent.send(RECORDS[30:], 99)
    bench.publish(gone + kept)
    collector = bench.collector()
    collector.step(0.0)
    collector._subscriber.committed(0, len(gone))  # as if the broker's retention had passed
    fresh = bench.collector()
    with bench.engine.begin() as connection:
        connection.execute(sa.update(tables.offsets).values(next_offset=0))
    bench.drain(fresh)
    assert_same(bench.stored(), truth(bench.plan, RECORDS[30:]))
    assert bench.totals()["skipped_offsets"] == len(gone)


def test_a_query_joined_with_another_table_content_waits_instead_of_guessing(bench: Bench) -> None:
    other = msgspec.structs.replace(probe_plan(), tables={"hosts": "0" * 16})
    agent = FakeAgent(bench.plan)
    header = decode_frame(agent.send(RECORDS, 0)[0])
    frame = encode_frame(msgspec.structs.replace(header.header, version=other.version), header.body)
    bench.publish([frame])
    collector = bench.collector(register=False)
    collector._plans.register([other], 0, 0)
    bench.drain(collector)
    assert "use the same file on every machine" in quarantined(bench)[0]
