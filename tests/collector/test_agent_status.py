"""Status frames: the newest of an agent's newest start is kept, unusable ones are dead letters, all else stays."""

import json

import msgspec
import pytest
import sqlalchemy as sa

from store import tables
from store.agent_status import AgentStatus, StatusRow, statuses_of, write_statuses
from store.fleet import CLOCK_LEAD_NS, retire_agent
from tests.collector.conftest import Bench
from tests.fleet import SECOND_NS, START_NS, FakeAgent, probe_records, truth
from tests.stored import assert_same
from wire.frame import decode_frame, encode_frame
from wire.status import decode_status, status_text

RECORDS = probe_records(60, seed=5)


def kept(bench: Bench, agent: str = "agent-1") -> StatusRow | None:
    with bench.engine.connect() as connection:
        return statuses_of(connection, [agent]).get(agent)


def state_kept(bench: Bench, agent: str = "agent-1") -> str | None:
    row = kept(bench, agent)
    return None if row is None else str(json.loads(row.body)["state"])


def dead_letters(bench: Bench) -> list[str]:
    with bench.engine.connect() as connection:
        return list(connection.execute(sa.select(tables.dead_letters.c.reason)).scalars())


def test_the_newest_status_is_kept_as_the_agent_said_it(bench: Bench) -> None:
    agent = FakeAgent(bench.plan)
    frames = [agent.heartbeat(), agent.status(state="profile"), *agent.send(RECORDS, 99), agent.status(state="adapt")]
    bench.publish(frames)
    collector = bench.collector()
    bench.drain(collector)
    row = kept(bench)
    assert row == StatusRow(agent.incarnation, START_NS, status_text(decode_status(decode_frame(frames[-1]).body)))
    assert_same(bench.stored(), truth(bench.plan, RECORDS))
    assert dead_letters(bench) == []
    bench.publish([agent.status(state="probe")])
    bench.drain(collector)
    assert state_kept(bench) == "probe"


def test_the_place_in_the_start_decides_whatever_the_agents_clock_did(bench: Bench) -> None:
    agent = FakeAgent(bench.plan)
    first = [agent.heartbeat(), agent.status(state="adapt")]
    agent.now_ns -= 3600 * SECOND_NS
    second = agent.status(state="profile")
    bench.publish([*first, second, first[1]])  # the last is a duplicate
    bench.drain(bench.collector())
    assert state_kept(bench) == "profile"
    row = kept(bench)
    assert row is not None
    assert row.sent_ns == START_NS - 3600 * SECOND_NS


@pytest.mark.parametrize("backlog_first", [True, False])
def test_a_status_of_an_earlier_start_takes_nothing_over(bench: Bench, backlog_first: bool) -> None:
    before = FakeAgent(bench.plan, incarnation="a" * 32, started_ns=START_NS)
    after = FakeAgent(bench.plan, incarnation="b" * 32, partition=1, now_ns=START_NS + 60 * SECOND_NS)
    old = [before.heartbeat(), before.status(state="probe")]
    before.now_ns += 90 * SECOND_NS  # later than the later start's, by the clock
    old += [before.heartbeat(), before.status(state="profile")]
    new = [after.heartbeat(), after.status(state="adapt")]
    collector = bench.collector()
    for partition, frames in ((0, old), (1, new)) if backlog_first else ((1, new), (0, old)):
        bench.publish(frames, partition)
        bench.drain(collector)
    assert state_kept(bench) == "adapt"


def test_a_status_that_cannot_be_used_is_a_dead_letter_with_its_reason(bench: Bench) -> None:
    agent = FakeAgent(bench.plan)
    other = msgspec.structs.replace(decode_frame(agent.status()).header, agent="someone", sequence=1)
    frames = [
        agent.heartbeat(),
        agent.frame("status", b""),
        agent.frame("status", msgspec.msgpack.encode({"agent": "agent-1", "sampled": 7})),
        encode_frame(other, decode_frame(agent.status()).body),
        *agent.send(RECORDS, 99),
    ]
    bench.publish(frames)
    bench.drain(bench.collector())
    assert [reason.partition(":")[0] for reason in dead_letters(bench)] == [
        "not a status",
        "not a status",
        "status of agent-1 in a frame of someone",
    ]
    assert kept(bench) is None
    assert_same(bench.stored(), truth(bench.plan, RECORDS))


def test_a_newer_agents_status_is_kept_without_what_is_not_known_here(bench: Bench) -> None:
    agent = FakeAgent(bench.plan)
    body = msgspec.msgpack.decode(decode_frame(agent.status()).body) | {"novelty": [1, 2]}
    bench.publish([agent.heartbeat(), agent.frame("status", msgspec.msgpack.encode(body))])
    bench.drain(bench.collector())
    row = kept(bench)
    assert row is not None
    assert "novelty" not in json.loads(row.body)
    assert dead_letters(bench) == []


def test_a_retired_agent_has_no_status_and_a_late_one_brings_none_back(bench: Bench) -> None:
    agent = FakeAgent(bench.plan)
    bench.publish([agent.heartbeat(), agent.status()])
    collector = bench.collector()
    bench.drain(collector)
    with bench.engine.begin() as connection:
        retire_agent(connection, "agent-1", START_NS + SECOND_NS)
    assert kept(bench) is None
    bench.publish([agent.status()])
    bench.drain(collector)
    assert kept(bench) is None
    agent.now_ns += 2 * SECOND_NS
    bench.publish([agent.heartbeat(), agent.status()])
    bench.drain(collector)
    assert state_kept(bench) == "adapt"


def test_a_status_of_an_agent_that_nobody_knows_leaves_no_row(bench: Bench) -> None:
    bench.publish([FakeAgent(bench.plan, "stranger").status()])
    bench.drain(bench.collector())
    assert kept(bench, "stranger") is None
    assert dead_letters(bench) == []


def test_a_clock_far_ahead_counts_as_a_minute_ahead_and_times_of_any_size_end_no_flush(bench: Bench) -> None:
    agent = FakeAgent(bench.plan)
    bench.publish([agent.heartbeat()])
    bench.drain(bench.collector())
    with bench.engine.begin() as connection:
        for sequence, sent_ns in enumerate((-(2**63), 2**63 - 1)):
            status = AgentStatus("agent-1", "f" * 32, sent_ns, sequence, sent_ns, "{}")
            write_statuses(connection, [status], START_NS)
    row = kept(bench)
    assert row is not None
    assert row.sent_ns == START_NS + CLOCK_LEAD_NS


def test_a_flush_that_was_rolled_back_leaves_no_status(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = FakeAgent(bench.plan)
    bench.publish([agent.heartbeat(), agent.status()])
    collector = bench.collector()

    def fails(*_: object) -> int:
        raise sa.exc.OperationalError("struck", None, Exception("by the test"))

    with monkeypatch.context() as patch:
        patch.setattr("store.flush._write_kept", fails)
        bench.drain(collector)
    assert kept(bench) is None
    bench.drain(bench.collector())
    assert state_kept(bench) == "adapt"
