"""Where a frame can end: in the answer, as a duplicate, in quarantine, or as a dead letter with a reason."""

import time

import crc32c
import msgspec
import polars as pl
import pytest
import sqlalchemy as sa

from collector import own_metrics
from collector import partition as partition_module
from pipeline.schema import polars_schema
from store import tables
from store.claims import Claim, Counts
from store.coverage import Coverage, coverage
from store.flush import Flush
from store.registry import metric
from tests.collector.conftest import Bench
from tests.fleet import START_NS, WINDOW_NS, FakeAgent, probe_plan, probe_records, truth
from tests.stored import assert_same
from wire.columns import pack_columns
from wire.frame import decode_frame, encode_frame
from wire.heartbeat import Heartbeat

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


def test_a_header_with_text_that_is_no_utf_8_is_a_dead_letter_and_the_stream_goes_on(bench: Bench) -> None:
    agent = FakeAgent(bench.plan)
    first, second = agent.send(RECORDS, 99)
    sealed = first[:-4].replace(b"\xa7agent-1", b"\xa7agent-\xff")
    bench.publish([sealed + crc32c.crc32c(sealed).to_bytes(4, "little"), first, second])
    bench.drain(bench.collector())
    (reason,) = dead_letters(bench)
    assert reason.startswith("the header does not hold: 'utf-8' codec")
    assert_same(bench.stored(), truth(bench.plan, RECORDS))


def test_lines_of_partials_and_of_drained_rows_are_kept_as_those_of_one_pass(bench: Bench) -> None:
    long = "x" * 3_000
    bench.plan = probe_plan(
        f"""SELECT s.tor AS tor, first_lines(REPLACE(src, 'a', '{long}'), rtt_us) AS src_first_lines,
        last_lines(REPLACE(src, 'b', '{long}')) AS src_last_lines, count(*) AS probes_total
        FROM probes LEFT JOIN hosts AS s ON probes.src = s.ip GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), s.tor"""
    )
    agents = [FakeAgent(bench.plan, name=f"agent-{k}", incarnation=f"{k:032x}") for k in range(3)]
    frames = [
        frame
        for place in range(12)
        for frame in agents[place % 3].send(RECORDS[5 * place : 5 * place + 5], (0, 99, 1)[place % 3])
    ]
    collector = bench.collector()
    for part in (frames[:9], frames[9:]):
        bench.publish(part)
        bench.drain(collector)
    wanted = truth(bench.plan, RECORDS)
    assert_same(bench.stored(), wanted)
    kept = [int(wanted.states[name].counts.sum()) for name in ("src_first_lines", "src_last_lines")]  # type: ignore[attr-defined]
    assert kept[1] < kept[0] < len(RECORDS)


def test_a_partial_that_speaks_of_impossibly_many_bytes_is_a_dead_letter(bench: Bench) -> None:
    bench.plan = probe_plan("SELECT last_lines(src) AS x_lines FROM probes GROUP BY TUMBLE(ts, INTERVAL '10' SECOND)")
    frame = truth(bench.plan, RECORDS).to_frame().with_columns(pl.lit(2**41).alias("x_lines.bytes"))
    bench.publish([FakeAgent(bench.plan).frame("partial", pack_columns(frame), cut=9)])
    bench.drain(bench.collector())
    assert dead_letters(bench) == [
        "a partial frame of agent-1 speaks of 2199023255552 records or bytes; at most 1099511627776"
    ]


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


def test_a_frame_that_never_comes_is_counted_lost_and_lowers_coverage(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ns = time.time_ns()
    agent = FakeAgent(bench.plan, now_ns=START_NS + WINDOW_NS)
    sent = agent.send(RECORDS[:30], 99)
    agent.send(RECORDS[30:], 99)  # on its way, then gone
    agent.now_ns += WINDOW_NS
    bench.publish([*sent, agent.heartbeat()])
    age_s = (now_ns - START_NS) / 1e9 + 3600
    collector = bench.collector(spool_age_s=age_s)
    before = total_of("missing_frames"), total_of("lost_frames")
    bench.drain(collector)
    assert bench.totals()["lost_frames"] == 0
    assert total_of("missing_frames") == before[0], "not yet"
    passed_ns, monotonic_ns = round(2 * age_s * 1e9), time.monotonic_ns
    monkeypatch.setattr("collector.clock.monotonic_ns", lambda: monotonic_ns() + passed_ns)
    collector._held[0].flush(now_ns + passed_ns)
    assert bench.totals()["lost_frames"] == 2
    assert (total_of("missing_frames") - before[0], total_of("lost_frames") - before[1]) == (2, 2)
    whole = whole_coverage(bench)
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
    before = total_of("skipped_offsets")
    with bench.engine.begin() as connection:
        connection.execute(sa.update(tables.offsets).values(next_offset=0))
    bench.drain(fresh)
    assert_same(bench.stored(), truth(bench.plan, RECORDS[30:]))
    assert bench.totals()["skipped_offsets"] == total_of("skipped_offsets") - before == len(gone)


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


def poisoned(agent: FakeAgent) -> list[bytes]:
    """Intact frames that no agent of ours would send, each odd in its own way."""
    header = decode_frame(agent.frame("heartbeat", b"")).header
    agent.sequence -= 1
    schema = agent.chain.schema_at(0)
    nothing = pl.DataFrame({name: [None] for name in schema}, schema=polars_schema(schema))
    beat = Heartbeat(agent.name, "h", "m", 0, 0, clean=False, queries=[], counters={})
    many = pl.DataFrame({"window": [START_NS] * 2, "item": ["in", "local"], "rows": [2**62] * 2})
    huge = agent.chain.finish(agent.chain.prepare(RECORDS), after=0).to_frame()
    return [
        agent.frame("drained", pack_columns(nothing)),
        agent.frame("heartbeat", msgspec.msgpack.encode(msgspec.structs.replace(beat, sent_ns=2**63))),
        agent.frame("heartbeat", msgspec.msgpack.encode(msgspec.structs.replace(beat, host="a\x00b"))),
        agent.frame("heartbeat", msgspec.msgpack.encode(msgspec.structs.replace(beat, host="h" * 300))),
        agent.frame("manifest", pack_columns(many)),
        agent.frame("partial", pack_columns(huge.with_columns(rows=pl.lit(2**62, pl.Int64)))),
        encode_frame(msgspec.structs.replace(header, sequence=2**64 - 1), b""),
        encode_frame(msgspec.structs.replace(header, agent="a\x00b"), b""),
    ]


def test_no_frame_however_odd_ends_the_collector_or_stops_the_stream(bench: Bench) -> None:
    agent = FakeAgent(bench.plan)
    odd = poisoned(agent)
    bench.publish([*agent.send(RECORDS[:30], 99), *odd, *agent.send(RECORDS[30:], 0)])
    bench.drain(bench.collector())
    assert len(dead_letters(bench)) == len(odd)
    assert_same(bench.stored(), truth(bench.plan, RECORDS))


def test_what_the_database_refuses_is_found_record_by_record_and_the_rest_is_stored(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = FakeAgent(bench.plan)
    frames = [frame for at in range(0, 60, 10) for frame in agent.send(RECORDS[at : at + 10], 99)]
    refused = {4, 9}
    write = partition_module.write_flush

    def picky(engine: sa.Engine, held: Claim, flush: Flush, *rest: object) -> Counts:
        buried = {letter.offset for letter in flush.dead_letters}
        if refused & set(range(held.next_offset, flush.next_offset)) - buried:
            raise sa.exc.DataError("INSERT", None, Exception("value too long for type character varying(256)"))
        return write(engine, held, flush, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(partition_module, "write_flush", picky)
    bench.publish(frames)
    collector = bench.collector()
    for _ in range(30):
        collector.step(0.0)
    reason = "the database refuses it: value too long for type character varying(256)"
    assert dead_letters(bench) == [reason] * len(refused)
    assert bench.totals()["frames"] == len(frames)
    assert collector._careful_until == {}
    # Frames 4 and 9 are the partial of rows 20..29 and the manifest of rows 40..49.
    assert_same(bench.stored(), truth(bench.plan, pl.concat([RECORDS[:20], RECORDS[30:]])))


def test_a_release_whose_commit_went_through_unheard_is_not_repeated(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.publish(FakeAgent(bench.plan).send(RECORDS, 99))
    stranger = bench.collector(register=False)
    bench.drain(stranger)
    bench.collector()
    write, answers = partition_module.write_flush, [sa.exc.OperationalError("COMMIT", None, Exception("no answer"))]

    def unheard(*arguments: object) -> Counts:
        turned_out = write(*arguments)  # type: ignore[arg-type]
        if answers:
            raise answers.pop()
        return turned_out

    monkeypatch.setattr(partition_module, "write_flush", unheard)
    monkeypatch.setattr("collector.runner._RETRY_S", 0.0)
    stranger._next_refresh = 0.0
    for _ in range(4):
        stranger._next_flush = 0.0
        bench.drain(stranger)
    assert answers == []
    assert_same(bench.stored(), truth(bench.plan, RECORDS))


def test_frames_quarantined_while_their_plan_is_being_registered_are_released_too(bench: Bench) -> None:
    bench.publish(FakeAgent(bench.plan).send(RECORDS, 99))
    stranger = bench.collector(register=False)
    stranger._next_flush = float("inf")
    for _ in range(3):
        stranger.step(0.0)
    bench.collector()
    stranger._plans.refresh()
    for _ in range(3):
        stranger._next_flush = stranger._next_refresh = 0.0
        bench.drain(stranger)
    assert quarantined(bench) == []
    assert_same(bench.stored(), truth(bench.plan, RECORDS))


def test_a_new_log_beside_an_old_database_is_read_from_its_beginning(bench: Bench) -> None:
    agents = [FakeAgent(bench.plan, f"agent-{n}", partition=n, incarnation=f"{n:032x}") for n in (0, 1)]
    for agent in agents:
        bench.publish(agent.send(RECORDS[:10], 99) + agent.send(RECORDS[10:20], 99), agent.partition)
    bench.drain(bench.collector())
    for path in bench.folder.glob("log.db*"):
        path.unlink()
    for agent in agents:
        bench.publish(agent.send(RECORDS[20:40], 99), agent.partition)
    bench.drain(bench.collector())
    for agent in agents:
        bench.publish(agent.send(RECORDS[40:], 99), agent.partition)
    bench.drain(bench.collector())
    assert_same(bench.stored(), truth(bench.plan, pl.concat([RECORDS, RECORDS])))


def test_a_new_log_that_is_longer_than_the_position_in_the_old_one_is_read_from_its_beginning_too(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    agent = FakeAgent(bench.plan)
    old = agent.send(RECORDS[:10], 99)
    bench.publish(old)
    bench.drain(bench.collector())
    for path in bench.folder.glob("log.db*"):
        path.unlink()
    new = agent.send(RECORDS[10:30], 99) + agent.send(RECORDS[30:], 0)
    bench.publish([*old, *new])
    before = offset_resets()
    bench.drain(bench.collector())
    assert_same(bench.stored(), truth(bench.plan, RECORDS))
    counted = bench.totals()
    assert (counted["frames"], counted["duplicates"]) == (len(old) + len(old) + len(new), len(old))
    assert (offset_resets() - before, caplog.text.count("another log in place of the one read before")) == (1, 1)
    bench.drain(bench.collector())
    assert (bench.totals()["frames"], offset_resets() - before) == (counted["frames"], 1)


def test_a_position_of_an_earlier_release_that_names_no_log_is_kept(bench: Bench) -> None:
    agent = FakeAgent(bench.plan)
    bench.publish(agent.send(RECORDS[:30], 99))
    bench.drain(bench.collector())
    with bench.engine.begin() as connection:
        connection.execute(sa.update(tables.offsets).values(log_id=""))
    bench.publish(agent.send(RECORDS[30:], 99))
    bench.drain(bench.collector())
    assert_same(bench.stored(), truth(bench.plan, RECORDS))
    counted = bench.totals()
    assert (counted["frames"], counted["duplicates"], counted["skipped_offsets"]) == (4, 0, 0)


def total_of(what: str) -> float:
    return own_metrics.REGISTRY.get_sample_value(f"tailwatch_collector_{what}_total") or 0.0


def offset_resets() -> float:
    return total_of("offset_resets")


def test_an_incarnation_whose_mark_was_forgotten_counts_no_old_frame_again(bench: Bench) -> None:
    now_ns = time.time_ns()
    agent = FakeAgent(bench.plan, now_ns=now_ns - 8 * 86_400 * 10**9)
    old = agent.send(RECORDS[:30], 99)
    young = bench.collector(spool_age_s=30 * 86_400.0)
    bench.publish(old)
    bench.drain(young)
    with bench.engine.begin() as connection:
        connection.execute(sa.delete(tables.marks))
    started_ns, agent.now_ns = agent.now_ns, now_ns
    fresh = [
        encode_frame(
            msgspec.structs.replace(decode_frame(frame).header, started_ns=started_ns), decode_frame(frame).body
        )
        for frame in agent.send(RECORDS[30:], 99)
    ]
    bench.publish([*fresh, *old])
    bench.drain(bench.collector(spool_age_s=7 * 86_400.0))
    assert_same(bench.stored(), truth(bench.plan, RECORDS))


def test_frames_that_are_missing_for_some_time_lower_coverage_until_they_come(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition_module, "MISSED_AFTER_NS", 0)
    agent = FakeAgent(bench.plan)
    first, late = agent.send(RECORDS[:30], 99), agent.send(RECORDS[30:], 99)
    bench.publish([*first, agent.heartbeat()])
    collector, before = bench.collector(), total_of("missing_frames")
    bench.drain(collector)
    collector._held[0].flush(time.time_ns())
    assert whole_coverage(bench).ratio < 1.0
    assert total_of("missing_frames") - before == len(late)
    bench.publish(late)
    collector._next_flush = 0.0
    bench.drain(collector)
    assert whole_coverage(bench).ratio == 1.0
    assert_same(bench.stored(), truth(bench.plan, RECORDS))


def whole_coverage(bench: Bench) -> Coverage:
    """Coverage of all windows of the records."""
    with bench.engine.connect() as connection:
        row = metric(connection, "rtt_us")
        return coverage(connection, row, START_NS, START_NS + 4 * WINDOW_NS, START_NS + 9 * WINDOW_NS)
