"""Coverage: what each way of being incomplete does to the ratio, worked out by hand."""

from dataclasses import replace
from itertools import permutations

import pytest
import sqlalchemy as sa

from store.claims import Claim, claim
from store.coverage import EXPECTED_AFTER_LAST_SEEN_NS, Coverage, coverage
from store.fleet import CLOCK_LEAD_NS, AgentReport, VersionProgress
from store.flush import Arrival, Flush, write_flush
from store.interruptions import UNCLEAN_END, Interruption, MissingFrames
from store.registry import load_versions, metric, register_queries
from store.series import SeriesIds
from tests.fleet import WINDOW_NS, probe_plan

SQL = "SELECT sketch(rtt_us) AS rtt_us FROM probes GROUP BY TUMBLE(ts, INTERVAL '10' SECOND)"
END = 4 * WINDOW_NS
NOW = 100 * WINDOW_NS


class Stored:
    """A database with one query, to which agents' words and arrivals are written."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        with engine.begin() as connection:
            register_queries(connection, [probe_plan(SQL)], 0)
            self.held: Claim = claim(connection, "t", 0, "me")
            (self.version,) = load_versions(connection).values()

    def write(self, now_ns: int = 10**18, **parts: object) -> None:
        flush = Flush(self.held.next_offset, now_ns, **parts)  # type: ignore[arg-type]
        with self.engine.connect() as connection:
            versions = load_versions(connection)
        write_flush(self.engine, self.held, flush, versions, SeriesIds())
        self.held = replace(self.held, flushes=self.held.flushes + 1)

    def agent(
        self,
        name: str,
        watermark_ns: int = NOW,
        first_ns: int = 0,
        seen_ns: int = NOW,
        *,
        started_ns: int = 0,
        replayable: bool = False,
        now_ns: int = 10**18,
    ) -> None:
        version = self.version
        progress = [VersionProgress(version.version_id, version.query_id, first_ns, watermark_ns, replayable)]
        self.write(
            now_ns, reports=[AgentReport(name, "h", "m", f"{started_ns:032x}", started_ns, seen_ns, {}, progress)]
        )

    def arrival(self, window: int, agent: str = "a", **amounts: int) -> None:
        self.write(arrivals=[Arrival(self.version.version_id, window * WINDOW_NS, agent, **amounts)])

    def coverage(self, start: int = 0, end: int = END, now: int = NOW) -> Coverage:
        with self.engine.connect() as connection:
            return coverage(connection, metric(connection, "rtt_us"), start, end, now)


@pytest.fixture
def stored(engine: sa.Engine) -> Stored:
    """One query, nothing else."""
    return Stored(engine)


def test_nothing_expected_is_complete(stored: Stored) -> None:
    assert stored.coverage() == Coverage(1.0, 0, 0, 0, 0, interrupted=False)


def test_an_agent_whose_watermark_is_beyond_the_end_has_covered_all(stored: Stored) -> None:
    stored.agent("a")
    stored.arrival(1, n_in=10, n_filtered=3, n_local=5, n_drained=2, got_local=5, got_drained=2)
    assert stored.coverage() == Coverage(1.0, 1, 1, 10, 10, interrupted=False)


def test_an_agent_that_is_behind_has_covered_up_to_its_watermark(stored: Stored) -> None:
    stored.agent("a")
    stored.agent("b", watermark_ns=WINDOW_NS)
    assert stored.coverage() == Coverage(5 / 8, 1, 2, 0, 0, interrupted=False)


def test_a_live_agent_a_few_seconds_behind_the_clock_is_up_to_date(stored: Stored) -> None:
    stored.agent("a", watermark_ns=END - 3 * 10**9, seen_ns=END)
    assert stored.coverage(now=END).ratio == 1.0
    assert stored.coverage(now=END + 8 * 10**9).ratio < 1.0


def test_an_agent_is_not_expected_before_its_first_window_nor_a_day_after_it_was_last_seen(stored: Stored) -> None:
    stored.agent("late", first_ns=2 * WINDOW_NS + 1)
    assert stored.coverage(end=2 * WINDOW_NS).agents_expected == 0
    assert stored.coverage(end=3 * WINDOW_NS).agents_expected == 1
    day = EXPECTED_AFTER_LAST_SEEN_NS
    stored.agent("gone", watermark_ns=0, seen_ns=0)
    assert stored.coverage(start=day, end=day + END, now=day + END).agents_expected == 1
    assert stored.coverage(start=day - WINDOW_NS, end=day, now=day).agents_expected == 2


def test_a_retired_agent_is_not_expected(stored: Stored, engine: sa.Engine) -> None:
    stored.agent("a", watermark_ns=0)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE agents SET retired = true"))
    assert stored.coverage().agents_expected == 0


def test_stretches_in_doubt_are_not_covered_even_where_they_overlap(stored: Stored) -> None:
    stored.agent("a")
    for low, high in ((WINDOW_NS, 3 * WINDOW_NS // 2), (5 * WINDOW_NS // 4, 2 * WINDOW_NS)):
        stored.write(interruptions=[Interruption("a", stored.version.version_id, low, high, UNCLEAN_END)])
    assert stored.coverage() == Coverage(0.75, 0, 1, 0, 0, interrupted=True)
    assert stored.coverage(start=2 * WINDOW_NS) == Coverage(1.0, 1, 1, 0, 0, interrupted=False)


def test_records_that_did_not_arrive_were_dropped_or_sampled_out_lower_it(stored: Stored) -> None:
    stored.agent("a")
    stored.arrival(0, n_in=10, n_local=10, got_local=10)
    stored.arrival(1, n_in=10, n_local=5, n_dropped=3, n_sampled_out=2, got_local=5)
    found = stored.coverage()
    assert found == Coverage(0.75, 1, 1, 20, 15, interrupted=False, sampled_out=2)
    assert found.sampled_share == 0.9


def test_a_manifest_that_samples_out_more_than_came_in_breaks_nothing(stored: Stored) -> None:
    stored.agent("a")
    stored.arrival(0, n_in=0, n_sampled_out=7)
    assert (stored.coverage().sampled_out, stored.coverage().sampled_share) == (7, 1.0)
    stored.arrival(1, n_in=5)
    assert stored.coverage().sampled_share == 0.0


def test_more_than_was_announced_in_one_window_does_not_make_up_for_another(stored: Stored) -> None:
    stored.agent("a")
    stored.arrival(0, n_in=10, n_local=10, got_local=20)
    stored.arrival(1, n_in=10, n_local=10)
    assert stored.coverage() == Coverage(0.5, 1, 1, 20, 20, interrupted=False)


def test_data_of_a_version_that_is_not_valid_at_its_window_counts_as_missing(stored: Stored, engine: sa.Engine) -> None:
    stored.agent("a")
    stored.arrival(0, n_in=10, n_local=10, got_local=10)
    stored.arrival(3, n_in=10, n_local=10, got_local=10)
    other = probe_plan(SQL.replace("FROM probes", "FROM probes WHERE err = 0"))
    with engine.begin() as connection:
        register_queries(connection, [other], now_ns=2 * WINDOW_NS)
    assert stored.coverage().ratio == 0.5


def test_what_was_sampled_out_counts_where_the_version_is_valid_as_at_coarser_levels(
    stored: Stored, engine: sa.Engine
) -> None:
    stored.agent("a")
    for window in (0, 3):
        stored.arrival(window, n_in=10, n_local=6, n_sampled_out=4, got_local=6)
    other = probe_plan(SQL.replace("FROM probes", "FROM probes WHERE err = 0"))
    with engine.begin() as connection:
        register_queries(connection, [other], now_ns=2 * WINDOW_NS)
    assert (stored.coverage().sampled_out, stored.coverage().sampled_share) == (4, 0.8)


def test_agents_do_not_make_up_for_each_other(stored: Stored) -> None:
    for name in ("a", "b"):
        stored.agent(name)
    stored.arrival(0, "a", n_in=10, n_local=10)
    stored.arrival(0, "b", n_local=10, got_local=10)
    assert stored.coverage() == Coverage(0.0, 2, 2, 10, 10, interrupted=False)


def test_time_between_two_starts_stays_uncovered_and_beyond_a_day_is_not_expected(stored: Stored) -> None:
    day = EXPECTED_AFTER_LAST_SEEN_NS
    stored.agent("a", watermark_ns=2 * WINDOW_NS, seen_ns=2 * WINDOW_NS)
    back = 3 * day
    stored.agent("a", watermark_ns=back + END, first_ns=back, seen_ns=back + END, started_ns=back)
    assert stored.coverage(now=back + END) == Coverage(0.5, 0, 1, 0, 0, interrupted=True)
    assert stored.coverage(2 * day, 2 * day + END, now=back + END).agents_expected == 0
    assert stored.coverage(back, back + END, now=back + END) == Coverage(1.0, 1, 1, 0, 0, interrupted=False)


def test_an_earlier_starts_last_word_that_comes_late_shortens_the_absence(stored: Stored) -> None:
    stored.agent("a", watermark_ns=WINDOW_NS)
    stored.agent("a", watermark_ns=NOW, first_ns=3 * WINDOW_NS, started_ns=5)
    assert stored.coverage().ratio == 0.5
    stored.agent("a", watermark_ns=2 * WINDOW_NS)
    assert stored.coverage().ratio == 0.75
    stored.agent("a", watermark_ns=3 * WINDOW_NS)
    assert stored.coverage() == Coverage(1.0, 1, 1, 0, 0, interrupted=False)


def test_starts_heard_of_in_any_order_leave_the_same_time_uncovered(stored: Stored, engine: sa.Engine) -> None:
    """Three starts with a window missing after each of the first two; each is heard of twice."""
    begun = {"a": 0, "b": 2 * WINDOW_NS, "c": 4 * WINDOW_NS}
    orders = sorted(set(permutations("aabbcc")))
    for order in orders if engine.dialect.name == "sqlite" else orders[::5]:
        with engine.begin() as connection:
            for table in ("starts", "progress", "interruptions", "agents"):
                connection.execute(sa.text(f"DELETE FROM {table}"))
        heard = dict.fromkeys(begun, 0)
        for name in order:
            heard[name] += 1
            first_ns = begun[name]
            watermark_ns = first_ns + heard[name] * WINDOW_NS // 2
            stored.agent("x", watermark_ns=watermark_ns, first_ns=first_ns, started_ns=first_ns)
        assert stored.coverage(0, 5 * WINDOW_NS).ratio == pytest.approx(3 / 5), order


def test_only_the_newest_start_moves_the_watermark_even_back(stored: Stored) -> None:
    stored.agent("a", watermark_ns=2**63 - 1, replayable=True)
    assert stored.coverage().ratio == 1.0
    stored.agent("a", watermark_ns=WINDOW_NS, started_ns=5, replayable=True)
    stored.agent("a", watermark_ns=2**63 - 1, replayable=True)
    assert stored.coverage().ratio == 0.25


def test_a_clock_that_runs_ahead_vouches_for_no_more_than_a_minute(stored: Stored) -> None:
    stored.agent("a", watermark_ns=10**18, seen_ns=10**18, now_ns=0)
    later = CLOCK_LEAD_NS + EXPECTED_AFTER_LAST_SEEN_NS
    assert stored.coverage(0, 12 * WINDOW_NS, now=12 * WINDOW_NS).ratio == 0.5
    assert stored.coverage(later, later + END, now=later + END).agents_expected == 0


def test_missing_frames_put_their_time_in_doubt_until_they_come(stored: Stored) -> None:
    stored.agent("a")
    frames = MissingFrames("a", WINDOW_NS, 2 * WINDOW_NS)
    stored.write(missing=[frames])
    assert stored.coverage() == Coverage(0.75, 0, 1, 0, 0, interrupted=True)
    stored.write(arrived_late=[frames])
    assert stored.coverage() == Coverage(1.0, 1, 1, 0, 0, interrupted=False)


def test_missing_frames_of_a_replay_put_all_of_it_in_doubt(stored: Stored) -> None:
    stored.agent("a", replayable=True)
    stored.write(missing=[MissingFrames("a", 10**18, 10**18 + 1)])
    assert stored.coverage() == Coverage(0.0, 0, 1, 0, 0, interrupted=True)


def test_an_agent_with_a_version_nobody_registered_is_expected_and_has_covered_nothing(stored: Stored) -> None:
    stored.agent("a")
    stranger = AgentReport("b", "h", "m", "0" * 32, 0, NOW, {}, [], [("probes", 2 * WINDOW_NS), ("unheard of", 0)])
    stored.write(reports=[stranger])
    assert stored.coverage() == Coverage(4 / 6, 1, 2, 0, 0, interrupted=False)
    stored.agent("b")
    assert stored.coverage() == Coverage(1.0, 2, 2, 0, 0, interrupted=False)
