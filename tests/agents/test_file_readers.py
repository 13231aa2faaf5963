"""A query that comes, or comes back, when a file is half read: it says what it has not seen, also after a restart."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from agents import spool_file
from agents.agent import Agent
from agents.config import AgentConfig
from agents.reload import NewSetup
from agents.sources import replay
from agents.spool import SeenOfFile, Spool
from collector.plans import Plans
from collector.runner import Collector
from pipeline.plan import Plan
from store.connect import open_engine, upgrade
from store.coverage import Coverage, coverage
from store.registry import metric
from tests.agents.live import turned
from tests.agents.world import MACHINE, publisher_to, replay_config
from tests.collector.timeless import timeless
from tests.fleet import START_NS, TABLES, WINDOW_NS, probe_plan
from wire.embedded import EmbeddedPublisher, EmbeddedSubscriber
from wire.heartbeat import FINISHED_NS, QueryProgress

FIRST = probe_plan(
    "SELECT src, count(*) AS first_n FROM probes GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), src", "first"
)
LATER = probe_plan(
    "SELECT src, count(*) AS later_n FROM probes GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), src", "later"
)
NEVER_BEFORE = probe_plan(
    "SELECT src, count(*) AS new_n FROM probes GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), src", "never_before"
)
STEP_NS = WINDOW_NS // 10
ROWS, BATCH = 100, 15


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "BATCH_ROWS", BATCH)


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[EmbeddedPublisher]:
    with publisher_to(tmp_path / "log.db") as made:
        yield made


def config(folder: Path, **changes: object) -> AgentConfig:
    """An agent with a file of ten windows with ten records each."""
    path = folder / "probes.csv"
    if not path.exists():
        pl.DataFrame({"ts": [START_NS + i * STEP_NS for i in range(ROWS)], "src": "a"}).write_csv(path)
    return replay_config(folder, path, **changes)


def started(folder: Path, publisher: EmbeddedPublisher, *plans: Plan, **changes: object) -> Agent:
    return Agent(config(folder, **changes), plans, TABLES, publisher, machine=MACHINE)


def reloaded(agent: Agent, folder: Path, *plans: Plan, **changes: object) -> None:
    agent.reload(NewSetup.of(config(folder, **changes), plans, TABLES))


def read(agent: Agent, batches: int) -> int:
    """Reads on; returns the time of the first record not read."""
    wanted = agent.sources[0].rows + batches * BATCH
    assert turned(agent, lambda: agent.sources[0].rows >= wanted)
    last_ns = agent.sources[0].last_ns
    assert last_ns is not None
    return last_ns + 1


def said(agent: Agent, plan: Plan) -> QueryProgress | None:
    """What the heartbeat of a checkpoint taken now would say of the query, when all before is delivered."""
    agent.uplink.drain(5.0)
    beat = agent._checkpointer._heartbeat(1, clean=False)
    return next((one for one in beat.queries if one.version == plan.version), None)


def not_seen(agent: Agent, plan: Plan) -> tuple[int, int] | None:
    progress = said(agent, plan)
    assert progress is not None
    assert progress.first_ns == START_NS
    if progress.interrupted_from_ns is None or progress.interrupted_to_ns is None:
        return None
    return progress.interrupted_from_ns, progress.interrupted_to_ns


END: dict[str, Callable[[Agent], None]] = {"ended": Agent.close, "killed": Agent.abandon}


@pytest.mark.parametrize("end", END)
def test_a_query_that_comes_with_a_reload_says_after_a_restart_too_what_it_has_not_seen(
    tmp_path: Path, publisher: EmbeddedPublisher, end: str
) -> None:
    agent = started(tmp_path, publisher, FIRST)
    place_ns = read(agent, 2)
    reloaded(agent, tmp_path, FIRST, LATER)
    assert (not_seen(agent, FIRST), not_seen(agent, LATER)) == (None, (START_NS, place_ns))
    read(agent, 1)
    END[end](agent)
    again = started(tmp_path, publisher, FIRST, LATER)
    assert (not_seen(again, FIRST), not_seen(again, LATER)) == (None, (START_NS, place_ns))
    assert turned(again, lambda: again.sources[0].source.finished)
    assert (not_seen(again, FIRST), not_seen(again, LATER)) == (None, (START_NS, place_ns))
    again.close()


@pytest.mark.parametrize("end", END)
def test_a_query_that_comes_with_a_restart_has_not_seen_what_was_read_before(
    tmp_path: Path, publisher: EmbeddedPublisher, end: str, caplog: pytest.LogCaptureFixture
) -> None:
    agent = started(tmp_path, publisher, FIRST)
    place_ns = read(agent, 2)
    agent.checkpoint()
    END[end](agent)
    again = started(tmp_path, publisher, FIRST, LATER)
    assert (not_seen(again, FIRST), not_seen(again, LATER)) == (None, (START_NS, place_ns))
    assert "replay the file as another stream query=later" in caplog.text
    again.close()
    caplog.clear()
    once_more = started(tmp_path, publisher, LATER)
    assert not_seen(once_more, LATER) == (START_NS, place_ns)
    assert "replay the file" not in caplog.text, "it is told once"
    once_more.close()


def test_a_query_that_was_away_has_not_seen_what_was_read_meanwhile(
    tmp_path: Path, publisher: EmbeddedPublisher
) -> None:
    agent = started(tmp_path, publisher, FIRST, LATER)
    left_ns = read(agent, 1)
    reloaded(agent, tmp_path, FIRST)
    reloaded(agent, tmp_path, FIRST, LATER)
    assert not_seen(agent, LATER) is None, "nothing was read meanwhile"
    reloaded(agent, tmp_path, FIRST)
    read(agent, 2)
    agent.close()
    again = started(tmp_path, publisher, FIRST)
    back_ns = read(again, 1)
    reloaded(again, tmp_path, FIRST, LATER)
    assert not_seen(again, LATER) == (left_ns, back_ns)
    read(again, 1)
    reloaded(again, tmp_path, LATER, sources=())
    reloaded(again, tmp_path, LATER)
    assert not_seen(again, LATER) == (left_ns, back_ns), "the file was away, and nobody read it"
    again.close()


def test_a_query_that_comes_when_a_file_is_through_has_seen_nothing_of_it_and_sees_what_it_grows_by(
    tmp_path: Path, publisher: EmbeddedPublisher
) -> None:
    agent = started(tmp_path, publisher, FIRST)
    assert turned(agent, lambda: agent.sources[0].source.finished)
    end_ns = START_NS + (ROWS - 1) * STEP_NS + 1
    reloaded(agent, tmp_path, FIRST, LATER)
    progress = said(agent, LATER)
    assert progress is not None
    assert (progress.watermark_ns, not_seen(agent, LATER)) == (FINISHED_NS, (START_NS, end_ns))
    agent.close()
    with (tmp_path / "probes.csv").open("a") as file:
        file.write(f"{START_NS + ROWS * STEP_NS},a\n")
    again = started(tmp_path, publisher, FIRST, LATER)
    assert turned(again, lambda: again.sources[0].source.finished)
    assert not_seen(again, LATER) == (START_NS, end_ns)
    again.close()


def test_coverage_shows_what_a_query_has_not_seen_of_its_file(tmp_path: Path, publisher: EmbeddedPublisher) -> None:
    url = f"sqlite:///{tmp_path / 'tailwatch.db'}"
    upgrade(url)
    engine = open_engine(url)
    plans = Plans(engine, {})
    plans.register([FIRST, LATER], 0, 0)
    collector = Collector(timeless(flush_interval_s=1e-9), engine, plans, EmbeddedSubscriber(tmp_path / "log.db"))
    agent = started(tmp_path, publisher, FIRST)
    read(agent, 2)  # 30 of 100 records, three of ten windows
    agent.close()
    again = started(tmp_path, publisher, FIRST, LATER)
    assert turned(again, lambda: again.sources[0].source.finished)
    again.checkpoint()
    assert turned(again, lambda: not again.spool.frames)

    def covered(name: str, first_window: int, windows: int) -> Coverage:
        start_ns = START_NS // WINDOW_NS * WINDOW_NS + first_window * WINDOW_NS
        with engine.connect() as connection:
            row = metric(connection, name)
            return coverage(connection, row, start_ns, start_ns + windows * WINDOW_NS, time.time_ns())

    for _ in range(12):
        collector.step(0.0)
    assert covered("first_n", 0, 10).ratio == 1.0
    before, after, whole = covered("later_n", 0, 2), covered("later_n", 4, 6), covered("later_n", 0, 10)
    assert (before.ratio, before.agents_reported, before.agents_expected, before.interrupted) == (0.0, 0, 1, True)
    assert (after.ratio, after.agents_reported, after.agents_expected, after.interrupted) == (1.0, 1, 1, False)
    assert whole.ratio == pytest.approx(0.7, abs=0.011)
    again.close()
    engine.dispose()


def test_in_a_spool_of_before_versions_were_noted_each_is_taken_to_have_seen_all(
    tmp_path: Path, publisher: EmbeddedPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        noted = next(i for i, step in enumerate(spool_file.UPGRADES) if "CREATE TABLE seen" in step[0])
        patch.setattr(spool_file, "UPGRADES", spool_file.UPGRADES[:noted])
        patch.setattr(Spool, "seen", lambda _: {})
        patch.setattr(Spool, "_store_seen", lambda _, __: None)
        agent = started(tmp_path, publisher, FIRST)
        read(agent, 2)
        agent.close()
    again = started(tmp_path, publisher, FIRST)
    assert not_seen(again, FIRST) is None
    place_ns = read(again, 1)
    reloaded(again, tmp_path, FIRST, NEVER_BEFORE)
    assert not_seen(again, NEVER_BEFORE) == (START_NS, place_ns), "what ran when the file was taken up ran before"
    again.close()
    once_more = started(tmp_path, publisher, FIRST, LATER)
    missed = not_seen(once_more, LATER)
    assert missed is not None, "from the first start on it is known who has seen what"
    assert once_more.spool.seen()[LATER.version, once_more.sources[0].source.name] == SeenOfFile(missed[1] - 1, missed)
    once_more.close()
