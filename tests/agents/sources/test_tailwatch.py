"""The source `tailwatch`: the agent's own metrics as records, beside those of targets."""

from pathlib import Path

import msgspec
import polars as pl
import pytest

from agents.agent import Agent
from agents.config import AgentConfig
from agents.own_metrics import Sample
from agents.sources.configs import HiccupsConfig, ScrapeConfig, TailwatchConfig
from agents.sources.host_offers import offer_to
from agents.sources.scrape_fetch import Fetched
from agents.sources.source import ReadsAgent
from agents.sources.streams import TAILWATCH_METRICS
from agents.sources.tailwatch import OTHERS, OWN, TailwatchSource
from pipeline.plan import Plan
from tailwatch.query_set import compiled
from tailwatch.settings import load_settings
from tests.agents.live import turned, until
from tests.agents.transports import SlowTransport
from tests.agents.world import MACHINE

SECOND_NS = 10**9
START_NS = 1_795_000_000 * SECOND_NS


class Clock:
    """Both clocks of a source; the one of the wall may be set."""

    def __init__(self) -> None:
        self.now_s, self.now_ns = 100.0, START_NS

    def __call__(self) -> float:
        return self.now_s

    def ns(self) -> int:
        return self.now_ns

    def goes(self, seconds: float) -> None:
        self.now_s += seconds
        self.now_ns += round(seconds * 1e9)


def source_of(clock: Clock, **settings: object) -> TailwatchSource:
    source = TailwatchSource(msgspec.convert(settings, TailwatchConfig), clock=clock, clock_ns=clock.ns)
    source.open(None)
    return source


def samples(frames: int, *, state: str = "adapt") -> list[Sample]:
    return [
        Sample("tailwatch_agents_frames_total", frames),
        Sample("tailwatch_agents_spool_bytes", 17),
        Sample("tailwatch_agents_state", 1, (("state", state),)),
        Sample("tailwatch_agents_source_events_total", 0, (("source", 'a"b\\c'), ("event", "x"))),
    ]


def values(source: TailwatchSource) -> dict[str, float]:
    (batch,) = source.poll()
    return dict(zip(batch.rows["name"].to_list(), batch.rows["value"].to_list(), strict=True))


def test_gauges_are_there_at_once_and_counters_from_the_second_page_on() -> None:
    clock = Clock()
    source = source_of(clock)
    assert isinstance(source, ReadsAgent)
    assert source.wants_samples()
    source.take_samples(samples(5))
    assert values(source) == {"tailwatch_agents_spool_bytes": 17.0, "tailwatch_agents_state": 1.0}
    clock.goes(10)
    source.take_samples(samples(12))
    assert values(source)["tailwatch_agents_frames_total"] == 7.0
    assert source.poll() == []
    counted = source.counters()
    assert (counted["own_pages"], counted["own_samples"], counted["resets"]) == (2, 6, 0)


def test_rows_have_the_columns_of_the_stream_and_labels_as_they_were_given() -> None:
    clock = Clock()
    source = source_of(clock)
    for _ in range(2):
        source.take_samples(samples(5))
        clock.goes(10)
    (batch,) = source.poll()
    assert batch.stream == OWN
    assert batch.rows.columns == [name for name in TAILWATCH_METRICS if name != "host"]
    state = batch.rows.filter(pl.col("name") == "tailwatch_agents_state").row(0, named=True)
    assert (state["state"], state["instance"], state["kind"]) == ("adapt", "agent", "gauge")
    assert state["ts"] == START_NS
    event = batch.rows.filter(pl.col("name") == "tailwatch_agents_source_events_total").row(0, named=True)
    assert (event["source"], event["event"], event["state"]) == ('a"b\\c', "x", None)


def test_a_series_that_comes_up_later_counts_from_zero() -> None:
    clock = Clock()
    source = source_of(clock)
    source.take_samples(samples(5))
    clock.goes(10)
    dropped = Sample("tailwatch_agents_samples_dropped_total", 3, (("reason", "spool_full"),))
    source.take_samples([*samples(5), dropped])
    source.poll()
    clock.goes(10)
    source.take_samples([*samples(5), Sample(dropped.metric, 4, dropped.labels)])
    assert values(source)["tailwatch_agents_samples_dropped_total"] == 1.0


def test_there_is_one_page_in_each_window_however_checkpoints_fall() -> None:
    clock = Clock()
    source = source_of(clock, interval_s=10)
    taken: list[int] = []
    for step in range(1, 400):
        clock.goes(2.0 + 0.1 * (step % 7))  # checkpoints that are late now and then
        if source.wants_samples():
            source.take_samples(samples(step))
            taken.append(clock.now_ns // (10 * SECOND_NS))
    assert taken[1:] == list(range(taken[1], taken[1] + len(taken) - 1))


def test_a_clock_that_was_set_back_does_not_stop_the_pages() -> None:
    clock = Clock()
    source = source_of(clock)
    source.take_samples(samples(5))
    assert not source.wants_samples()
    clock.now_ns -= 3600 * SECOND_NS
    assert source.wants_samples()


def test_targets_have_a_stream_of_their_own_which_an_agent_without_any_has_not() -> None:
    assert set(source_of(Clock()).streams) == {OWN}

    class Page:
        def __init__(self, url: str, config: ScrapeConfig) -> None:
            self.url, self.config = url, config

        def run(self) -> Fetched:
            text = b'# TYPE lag gauge\nlag{partition="3"} 7\n'
            return Fetched("text/plain; version=0.0.4", text)

        def abort(self) -> None:
            """It never hangs."""

    clock = Clock()
    config = TailwatchConfig(targets=("127.0.0.1:9464",))
    source = TailwatchSource(config, clock=clock, clock_ns=clock.ns, fetch=Page)
    assert set(source.streams) == {OWN, OTHERS}
    source.open(None)
    found: list[pl.DataFrame] = []
    clock.goes(10)  # a target begins somewhere within an interval
    polled = lambda: found.extend(batch.rows for batch in source.poll() if batch.stream == OTHERS)  # noqa: E731
    assert until(lambda: (polled(), found)[1])
    rows = pl.concat(found)
    lag = rows.filter(pl.col("name") == "lag").row(0, named=True)
    assert (lag["value"], lag["partition"], lag["instance"], lag["job"]) == (7.0, "3", "127.0.0.1:9464", "tailwatch")
    assert source.missing() == {}
    assert {"scrapes", "own_pages"} <= set(source.counters())
    source.close()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"targets": ["no/port here"]}, "want HOST:PORT"),
        ({"targets": ["a:1"], "interval_s": 2}, "timeout_s is 5, above interval_s, 2"),
        ({"targets": ["a:1"], "password_path": "p"}, "unknown field"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, object], says: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=says):
        msgspec.convert(settings, TailwatchConfig)


def test_it_is_among_the_default_sources_and_always_ready() -> None:
    assert TailwatchConfig() in AgentConfig().sources
    assert offer_to(TailwatchConfig(), lambda: TailwatchSource(TailwatchConfig())).state == "ready"
    missing = TailwatchConfig(targets_path="/nowhere/parts.yaml")
    assert offer_to(missing, lambda: TailwatchSource(missing)).state == "absent"


def own_plans() -> list[Plan]:
    plans = compiled(load_settings(None, environment={})).plans
    return [plan for plan in plans if plan.source in ("hiccups", OWN, OTHERS)]


def test_an_agent_hands_its_metrics_to_it_with_its_checkpoints(tmp_path: Path) -> None:
    config = AgentConfig(
        id="a",
        spool_path=str(tmp_path / "spool.db"),
        checkpoint_s=0.1,
        epoch_s=0.05,
        sources=(HiccupsConfig(), TailwatchConfig(interval_s=0.2, timeout_s=0.1)),
    )
    agent = Agent(config, own_plans(), {}, SlowTransport(prompt=True), machine=MACHINE)
    try:
        pages = next(one.source for one in agent.sources if one.source.name == "tailwatch")
        assert turned(agent, lambda: pages.counters()["own_pages"] >= 3)
        assert turned(agent, lambda: agent.intake.records_in.get(OWN, 0) > 50)
        reported = {one.query for one in agent._checkpointer._heartbeat(0, clean=False).queries}
        assert "tailwatch_agents" in reported
        assert "tailwatch_collectors" not in reported, "no source here feeds it"
    finally:
        agent.close()
