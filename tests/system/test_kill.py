"""kill -9 of real processes, at random moments and between SQL statements: afterwards the counts equal the truth."""

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from tests.fleet import START_NS, WINDOW_NS, probe_records, truth
from tests.quantiles import reference
from tests.stored import assert_same, stored_partial
from tests.system.stack import PLAN, Stack, until

pytestmark = pytest.mark.system
WHOLE = (START_NS, START_NS + 4 * WINDOW_NS)
# So many at least, even where the replay is through before: who kills may have been kept from it.
FEWEST_KILLS = 3
# After these the parts are left alone, so that how long it takes decides nothing: about 50 s of killing.
MOST_KILLS = 40
# Only for what would otherwise never end: a machine that does other things too may take its time.
PATIENCE_S = 120


@pytest.fixture
def stack(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A stack in an empty folder, on PostgreSQL where the test is marked so; ended whatever happens."""
    on_postgresql = getattr(request, "param", "sqlite") == "postgresql"
    made = Stack(tmp_path, request.getfixturevalue("postgres_url") if on_postgresql else "")
    yield made
    made.close()


def all_in(stack: Stack, reached: Callable[[], bool]) -> None:
    """Wait until everything is stored; the logs, as they are at the end, say why it is not."""
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline, f"{stack.stored_records()} records stored\n{stack.logs()}"
        time.sleep(0.05)


def assert_whole(stack: Stack, records: pl.DataFrame, agents: int) -> None:
    """Nothing lost, nothing twice, and the answer says so."""
    assert_same(stored_partial(stack.engine, PLAN), truth(PLAN, records))
    whole = stack.coverage(*WHOLE)
    assert (whole.ratio, whole.agents_reported, whole.interrupted) == (1.0, agents, False)
    assert whole.records_known == whole.records_merged == records.height


@pytest.mark.parametrize(("stack", "n"), [("sqlite", 12_000), ("postgresql", 3_000)], indirect=["stack"])
def test_random_kills_of_agents_collector_and_api_lose_nothing_and_count_nothing_twice(stack: Stack, n: int) -> None:
    rng = random.Random(20)
    records = probe_records(n, seed=6).sort("ts")
    plans = [("agent-1", "all-src"), ("agent-2", "all-sp"), ("agent-3", "all-src")]
    for at, (name, policy) in enumerate(plans):
        stack.add_agent(name, records[at :: len(plans)], policy=policy, rows_per_s=1_000)
    names = [name for name, _ in plans] + ["collector", "api"]
    for name in names:
        stack.start(name)
    kills = 0
    while kills < FEWEST_KILLS or (stack.finished_agents() < len(plans) and kills < MOST_KILLS):
        # Ever more slowly: on a busy machine, a part that is killed as soon as it has started never gets anywhere.
        time.sleep(rng.uniform(0.2, 0.9) * 1.04**kills)
        victim = rng.choice(names)
        stack.kill(victim)
        stack.start(victim)
        kills += 1
    wanted = sum(truth(PLAN, records).record_counts().values())
    all_in(stack, lambda: stack.finished_agents() == len(plans) and stack.stored_records() == wanted)
    assert_whole(stack, records, len(plans))
    until(lambda: responds(stack), PATIENCE_S, "the API answers again")
    answer = stack.ask(
        f"/api/v1/quantiles?metric=rtt_us&q=0,0.5,0.9,0.99,0.999,1&start={WHOLE[0] / 1e9}&end={WHOLE[1] / 1e9}"
    )
    (group,) = answer["groups"]
    raw = records.filter(pl.col("err") == 0, pl.col("src") != "unknown")["rtt_us"].cast(pl.Float64).to_list()
    assert group["count"] == len(raw)
    for entry in group["values"]:
        exact = reference.quantile(raw, entry["q"])
        assert abs(entry["value"] - exact) <= group["error_bound"] * abs(exact) * (1 + 1e-9)


def responds(stack: Stack) -> bool:
    """Whether the API is up."""
    try:
        return bool(stack.ask("/readyz"))
    except OSError:
        return False


@pytest.mark.parametrize("policy", ["all-src", "all-sp"])
def test_an_agent_killed_at_statements_on_its_spool_loses_nothing(stack: Stack, policy: str) -> None:
    records = probe_records(400, seed=7).sort("ts")
    stack.add_agent("agent-1", records, policy=policy, rows_per_s=None)
    stack.start("collector")
    killed_until_finished(stack, "agent-1", stack.folder / "agent-1-spool.db", step=11)
    wanted = sum(truth(PLAN, records).record_counts().values())
    all_in(stack, lambda: stack.stored_records() == wanted)
    assert_whole(stack, records, 1)


def test_an_agent_killed_at_statements_on_the_log_loses_nothing(stack: Stack) -> None:
    records = probe_records(400, seed=8).sort("ts")
    stack.add_agent("agent-1", records, policy="all-src", rows_per_s=None)
    stack.start("collector")
    killed_until_finished(stack, "agent-1", stack.folder / "log.db", step=5)
    wanted = sum(truth(PLAN, records).record_counts().values())
    all_in(stack, lambda: stack.stored_records() == wanted)
    assert_whole(stack, records, 1)


@pytest.mark.parametrize("stack", ["sqlite", "postgresql"], indirect=True)
def test_a_collector_killed_at_statements_on_the_database_counts_nothing_twice(stack: Stack) -> None:
    records = probe_records(400, seed=9).sort("ts")
    stack.add_agent("agent-1", records, policy="all-sp", rows_per_s=None)
    stack.start("agent-1")
    killed_until_finished(stack, "collector", kill_file(stack), step=23)
    assert_whole(stack, records, 1)


def kill_file(stack: Stack) -> Path | str:
    """Where the statements on the database are counted."""
    return "postgresql" if stack.url.startswith("postgresql") else stack.folder / "tailwatch.db"


def killed_until_finished(stack: Stack, name: str, file: Path | str, step: int) -> None:
    """Start a part again and again, each time killed `step` statements later, until the replay is through.

    The steps grow by a tenth each: a start costs seconds where the machine is busy, and there are dozens.
    Every statement in turn is tried in one process, where a start costs nothing: tests/agents/test_faults.py and
    tests/collector/test_exactly_once.py. Here it is the real kill that counts.
    """
    allowed, first, starts = 1, 1 + step, 0
    while True:
        allowed += round(step * 1.1**starts)
        starts += 1
        stack.start(name, kill_file=file, kill_at=allowed)
        part = stack.parts[name]
        while part.poll() is None:
            if stack.finished_agents():
                assert allowed > first, "it was through before it was ever killed"
                return
            time.sleep(0.05)
        assert part.returncode == -9, stack.logs()
        assert allowed < 1_000, stack.logs()
