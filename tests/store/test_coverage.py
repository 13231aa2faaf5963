"""Coverage: what each way of being incomplete does to the ratio, worked out by hand."""

import pytest
import sqlalchemy as sa

from store.claims import Claim, claim
from store.coverage import EXPECTED_AFTER_LAST_SEEN_NS, Coverage, coverage
from store.fleet import AgentReport, Interruption, VersionProgress
from store.flush import Arrival, Flush, write_flush
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

    def write(self, **parts: object) -> None:
        flush = Flush(self.held.next_offset, 0, **parts)  # type: ignore[arg-type]
        write_flush(self.engine, self.held, flush, {}, SeriesIds())

    def agent(self, name: str, watermark_ns: int = NOW, first_ns: int = 0, seen_ns: int = NOW) -> None:
        progress = [VersionProgress(self.version.version_id, first_ns, watermark_ns)]
        self.write(reports=[AgentReport(name, "h", "m", "0" * 32, 0, seen_ns, {}, progress)])

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


def test_interrupted_windows_are_not_covered_even_where_interruptions_overlap(stored: Stored) -> None:
    stored.agent("a")
    for low, high in ((WINDOW_NS + 1, WINDOW_NS + 2), (WINDOW_NS + 1, WINDOW_NS + 5)):
        stored.write(interruptions=[Interruption("a", stored.version.version_id, low, high, "unclean end")])
    assert stored.coverage() == Coverage(0.75, 0, 1, 0, 0, interrupted=True)
    assert stored.coverage(start=2 * WINDOW_NS) == Coverage(1.0, 1, 1, 0, 0, interrupted=False)


def test_records_that_did_not_arrive_were_dropped_or_sampled_out_lower_it(stored: Stored) -> None:
    stored.agent("a")
    stored.arrival(0, n_in=10, n_local=10, got_local=10)
    stored.arrival(1, n_in=10, n_local=5, n_dropped=3, n_sampled_out=2, got_local=5)
    assert stored.coverage() == Coverage(0.75, 1, 1, 20, 15, interrupted=False)


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
