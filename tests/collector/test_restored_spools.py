"""A spool restored from an older disk: what its replays read again is refused, nothing is counted twice."""

from dataclasses import dataclass

import polars as pl
import pytest
import sqlalchemy as sa

from store.coverage import Coverage, coverage
from store.registry import metric
from tests.collector.conftest import Bench
from tests.collector.test_partition import dead_letters
from tests.fleet import START_NS, WINDOW_NS, FakeAgent, probe_records, truth
from tests.stored import assert_same
from wire.heartbeat import Heartbeat, QueryProgress, encode_heartbeat

RECORDS = probe_records(90, seed=91)
REASON = "its spool was restored from an older disk, so this may have been counted already"


@dataclass
class Life(FakeAgent):
    """One start of an agent, with what its spool knows of the one before."""

    before: FakeAgent | None = None
    known: int = 0
    replayable: bool = True
    first_ns: int = START_NS

    def beat(self, watermark_ns: int) -> bytes:
        progress = QueryProgress(self.plan.query, self.plan.version, self.first_ns, watermark_ns, self.replayable)
        beat = Heartbeat(
            self.name, "h", "m", self.now_ns, self.now_ns, clean=False, queries=[progress], counters={},
            previous_incarnation=self.before.incarnation if self.before else "", previous_sequence=self.known,
        )  # fmt: skip
        return self.frame("heartbeat", encode_heartbeat(beat))


def lives(bench: Bench, known: int, *, replayable: bool = True) -> tuple[Life, Life]:
    """A start, and the one that follows it with a spool that knows of `known` frames."""
    first = Life(bench.plan, incarnation="a" * 32, replayable=replayable)
    second = Life(
        bench.plan, partition=1, incarnation="b" * 32, now_ns=START_NS + 3 * WINDOW_NS, before=first, known=known,
        replayable=replayable, first_ns=START_NS + (0 if replayable else 3 * WINDOW_NS),
    )  # fmt: skip
    return first, second


def sent(life: Life, records: pl.DataFrame) -> list[bytes]:
    """Its first heartbeat, and the records in two cuts."""
    half = records.height // 2
    return [life.beat(START_NS), *life.send(records[:half], 99), *life.send(records[half:], 0)]


def whole(bench: Bench) -> Coverage:
    with bench.engine.connect() as connection:
        row = metric(connection, "rtt_us")
        return coverage(connection, row, START_NS, START_NS + 4 * WINDOW_NS, START_NS + 9 * WINDOW_NS)


def restored(bench: Bench) -> int:
    return bench.totals()["restored_spools"]


@pytest.mark.parametrize("flushed", [True, False])
def test_a_spool_restored_from_an_older_disk_counts_nothing_twice_and_says_what_to_do(
    bench: Bench, caplog: pytest.LogCaptureFixture, flushed: bool
) -> None:
    first, second = lives(bench, known=3)
    bench.publish(sent(first, RECORDS[:60]))
    collector = bench.collector()
    if flushed:  # else its mark is in memory only, in another partition held by the same collector
        bench.drain(collector)
    bench.publish([*sent(second, RECORDS[30:]), second.beat(START_NS + 4 * WINDOW_NS)], 1)
    bench.drain(collector)
    assert_same(bench.stored(), truth(bench.plan, RECORDS[:60]))
    letters = dead_letters(bench)
    assert len(letters) == 4
    assert all(REASON in letter and "delete its spool and start it again" in letter for letter in letters)
    assert restored(bench) == 1
    assert caplog.text.count("spool restored from an older disk agent=agent-1 host=h") == 1
    assert (whole(bench).ratio, whole(bench).interrupted) == (0.0, True)


def test_the_verdict_on_a_spool_survives_the_collector_and_the_partition_goes_on(bench: Bench) -> None:
    first, second = lives(bench, known=3)
    bench.publish(sent(first, RECORDS[:60]))
    bench.publish([second.beat(START_NS)], 1)
    bench.drain(bench.collector())
    with bench.engine.begin() as connection:  # as after a while: the marks it was judged by are forgotten
        connection.execute(sa.text("DELETE FROM marks WHERE incarnation = :first"), {"first": first.incarnation})
    other = FakeAgent(bench.plan, "other", 1, "c" * 32)
    bench.publish([*second.send(RECORDS[30:60], 99), *other.send(RECORDS[60:], 99)], 1)
    collector = bench.collector()
    bench.drain(collector)
    bench.publish([second.beat(START_NS), *second.send(RECORDS[30:60], 0)], 1)
    bench.drain(collector)
    assert_same(bench.stored(), truth(bench.plan, RECORDS))
    assert len(dead_letters(bench)) == 4
    assert restored(bench) == 1


def test_live_queries_go_on_after_a_restore_and_the_time_between_is_in_doubt(bench: Bench) -> None:
    first, second = lives(bench, known=3, replayable=False)
    first.now_ns += WINDOW_NS
    bench.publish([*sent(first, RECORDS[:60]), first.beat(START_NS + WINDOW_NS)])
    collector = bench.collector()
    bench.drain(collector)
    bench.publish([*sent(second, RECORDS[60:]), second.beat(START_NS + 9 * WINDOW_NS)], 1)
    bench.drain(collector)
    bench.drain(bench.collector())
    bench.publish(second.send(RECORDS[:10], 99), 1)
    bench.drain(bench.collector())
    assert_same(bench.stored(), truth(bench.plan, pl.concat([RECORDS, RECORDS[:10]])))
    assert (dead_letters(bench), restored(bench)) == ([], 1)
    assert whole(bench).ratio == pytest.approx(0.5)
    assert whole(bench).interrupted


@pytest.mark.parametrize("known", [5, 9])
def test_a_spool_that_knows_of_all_that_came_is_no_older_copy(bench: Bench, known: int) -> None:
    first, second = lives(bench, known=known)
    bench.publish(sent(first, RECORDS[:60]))
    bench.publish(sent(second, RECORDS[60:]), 1)
    bench.drain(bench.collector())
    assert_same(bench.stored(), truth(bench.plan, RECORDS))
    assert (dead_letters(bench), restored(bench)) == ([], 0)


def test_two_starts_that_follow_the_same_one_show_a_restored_spool_too(bench: Bench) -> None:
    first, second = lives(bench, known=5)
    bench.publish(sent(first, RECORDS[:30]))
    bench.publish(sent(second, RECORDS[30:60]), 1)
    bench.drain(bench.collector())
    again = Life(bench.plan, incarnation="d" * 32, now_ns=START_NS + 5 * WINDOW_NS, before=first, known=5)
    bench.publish(sent(again, RECORDS[30:]))
    bench.drain(bench.collector())
    assert_same(bench.stored(), truth(bench.plan, RECORDS[:60]))
    assert (len(dead_letters(bench)), restored(bench)) == (4, 1)


def test_what_follows_in_a_restored_spool_is_refused_as_well(bench: Bench) -> None:
    first, second = lives(bench, known=3)
    bench.publish(sent(first, RECORDS[:60]))
    bench.publish(sent(second, RECORDS[30:40]), 1)
    bench.drain(bench.collector())
    third = Life(bench.plan, incarnation="e" * 32, now_ns=START_NS + 5 * WINDOW_NS, before=second, known=5)
    bench.publish(sent(third, RECORDS[40:]))
    bench.drain(bench.collector())
    assert_same(bench.stored(), truth(bench.plan, RECORDS[:60]))
    assert (len(dead_letters(bench)), restored(bench)) == (8, 2)


def test_a_restore_that_shows_only_when_a_partition_behind_catches_up_is_refused_from_then_on(bench: Bench) -> None:
    first, second = lives(bench, known=3)
    bench.publish(sent(second, RECORDS[60:]), 1)
    collector = bench.collector()
    bench.drain(collector)
    bench.publish(sent(first, RECORDS[:60]))
    bench.drain(collector)
    bench.publish([second.beat(START_NS)], 1)
    bench.drain(collector)
    bench.publish(second.send(RECORDS[30:60], 99), 1)
    bench.drain(collector)
    assert_same(bench.stored(), truth(bench.plan, RECORDS))
    assert (len(dead_letters(bench)), restored(bench)) == (2, 1)


def test_a_database_that_is_away_when_a_start_is_to_be_judged_loses_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = lives(bench, known=3)
    bench.publish(sent(first, RECORDS[:60]))
    collector = bench.collector()
    bench.drain(collector)
    failures = [sa.exc.OperationalError("SELECT", None, Exception("the server is away"))] * 2
    known = "collector.spool_copies.SpoolCopies._known"
    from collector.spool_copies import SpoolCopies

    ask = SpoolCopies._known

    def away(self: SpoolCopies, *arguments: object) -> bool:
        if failures:
            raise failures.pop()
        return ask(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(known, away)
    monkeypatch.setattr("collector.runner._RETRY_S", 0.0)
    monkeypatch.setattr(collector._held[1], "_highest_mark", lambda *_: 0)
    honest = Life(bench.plan, "other", 1, "f" * 32, before=Life(bench.plan, incarnation="9" * 32), known=1)
    bench.publish([*sent(honest, RECORDS[60:]), *sent(second, RECORDS[30:60])], 1)
    for _ in range(3):
        bench.drain(collector)
    assert failures == []
    assert_same(bench.stored(), truth(bench.plan, RECORDS))
    assert (len(dead_letters(bench)), restored(bench)) == (4, 1)


def test_a_heartbeat_that_names_no_incarnation_as_the_one_before_is_a_dead_letter(bench: Bench) -> None:
    first, second = lives(bench, known=3)
    first.incarnation = "not hex"
    bench.publish([second.beat(START_NS)], 1)
    second.before, second.known = None, -1
    bench.publish([second.beat(START_NS)], 1)
    bench.drain(bench.collector())
    assert all("as its previous incarnation; want 32 hex digits" in letter for letter in dead_letters(bench))
    assert len(dead_letters(bench)) == 2
