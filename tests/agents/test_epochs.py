"""An agent within its budget: shares settle and move with it, CPU keeps the law, the answer stays the same."""

from itertools import count
from pathlib import Path

import msgspec
import polars as pl
import pytest

from agents.agent import Agent, epochs_between_checkpoints, turn_interval_s
from agents.allowance import LIMIT
from agents.breaker import LEAST_SAMPLED
from agents.config import AgentConfig, BudgetConfig, RuntimeConfig
from agents.epochs import LONGEST_EPOCHS
from agents.errors import BudgetTooSmallError
from agents.own_metrics import page_of
from agents.sources import replay
from agents.sources.configs import ReplayConfig
from agents.sources.source import Batch
from tests.agents.costly_agent import BATCHES, EPOCH_ROWS, CostlyAgent, FakeCpu, close
from tests.agents.live import REQUESTS
from tests.agents.world import (
    CHAIN,
    MACHINE,
    PLAN,
    assert_same_answer,
    probe_file,
    publisher_to,
    received,
    replay_config,
    truth,
)
from tests.fleet import TABLES
from wire.status import decode_status, encode_status


def test_shares_settle_and_move_with_the_budget_cpu_keeps_the_law_and_the_answer_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it here takes 0.127 cores, all of it drained 0.0045."""
    settled: dict[float, tuple[float, ...]] = {}
    with publisher_to(tmp_path / "log.db") as publisher:
        one = CostlyAgent.start(tmp_path, publisher, monkeypatch, budget=BudgetConfig(cores=0.08))
        for cores in (0.08, 0.2, 0.04, 0.08):
            if one.config.budget.cores != cores:
                one.give(cores=cores)
            one.epochs(10)
            one.cpu_s.clear()
            one.epochs(20)
            settled[cores] = one.shares
            assert max(one.mean_cores()) <= 1.05 * cores
            if cores < 0.127:
                assert min(one.mean_cores()) >= 0.9 * cores
            assert one.metrics["budget_cores"] == cores
            assert one.metrics["cpu_cores"] == pytest.approx(one.mean_cores()[-1], rel=0.01)
        close(one.agent)
    assert settled[0.2] == (1.0, 1.0, 1.0, 1.0)
    kept = {cores: pl.Series(shares).product() for cores, shares in settled.items()}
    assert 0.1 < kept[0.04] < kept[0.08] < kept[0.2]  # type: ignore[operator]
    got = received(tmp_path / "log.db")
    assert {header.kind for header in got.headers} >= {"drained", "partial"}
    assert_same_answer(got.merged(), truth(pl.concat([one.batch] * one.batches)))
    assert got.manifest().conserved()


def test_an_idle_agent_drains_at_first_and_is_local_after_five_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with publisher_to(tmp_path / "log.db") as publisher:
        one = CostlyAgent.start(tmp_path, publisher, monkeypatch)
        assert one.shares == (0.0, 0.0, 0.0, 0.0)
        one.epochs(5, batches=1)
        assert one.shares == (1.0, 1.0, 1.0, 1.0)
        one.agent.abandon()


def test_what_does_not_fit_into_an_epoch_overflows_and_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with publisher_to(tmp_path / "log.db") as publisher:
        one = CostlyAgent.start(tmp_path, publisher, monkeypatch, budget=BudgetConfig(cores=0.1))
        one.epochs(12)
        before = one.metrics["overflowed_rows_total"]
        one.epochs(1, batches=4 * BATCHES)
        (query,) = one.agent.loop.status().queries
        overflowed = sum(proxy.overflowed for proxy in query.proxies)
        assert overflowed > EPOCH_ROWS / 4
        assert one.metrics["overflowed_rows_total"] == before + overflowed
        one.agent.abandon()


def test_over_budget_whatever_the_shares_the_breaker_thins_live_records_and_closes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Draining alone takes 0.0045 cores here."""
    seen: list[str] = ["closed"]

    def note() -> None:
        breaker = one.agent.loop.status().breaker
        if breaker != seen[-1]:
            seen.append(breaker)

    with publisher_to(tmp_path / "log.db") as publisher:
        config = {"budget": BudgetConfig(cores=0.15), "runtime": RuntimeConfig(breaker_epochs=3)}
        one = CostlyAgent.start(tmp_path, publisher, monkeypatch, **config)
        one.epochs(8)
        one.give(cores=0.003)
        one.epochs(40, each=note)
        status = one.agent.loop.status()
        assert (status.breaker, seen) == ("sampling", ["closed", "cheapest", "sampling"])
        assert LEAST_SAMPLED < status.sampled < 0.9
        assert max(one.mean_cores()[-5:]) <= 1.05 * 0.003
        assert one.metrics["sampled_share"] == status.sampled
        left_out = one.metrics["sampled_out_rows_total"]
        one.give(cores=0.15)
        one.epochs(40, each=note)
        assert seen == ["closed", "cheapest", "sampling", "closed"]  # a larger budget: all is tried again
        assert one.metrics["breaker_trips_total"] == 1
        assert one.shares == (1.0, 1.0, 1.0, 1.0)
        left_out = one.metrics["sampled_out_rows_total"]
        close(one.agent)
    windows = received(tmp_path / "log.db").manifest().windows().values()
    assert sum(window.n_in for window in windows) == one.batches * one.batch.height
    assert sum(window.n_sampled_out for window in windows) == left_out > 0
    assert received(tmp_path / "log.db").manifest().conserved()


def file_agent(folder: Path, publisher: object, cores: float, **source: object) -> tuple[FakeCpu, Agent, pl.DataFrame]:
    path, records = probe_file(folder, 40_000)
    cpu = FakeCpu()
    config = replay_config(
        folder,
        path,
        policy="adaptive",
        epoch_s=1.0,
        budget=BudgetConfig(cores=cores),
        sources=(ReplayConfig(stream="probes", path=str(path), **source),),  # type: ignore[arg-type]
    )
    return cpu, Agent(config, [PLAN], TABLES, publisher, machine=MACHINE, cpu_s=cpu.read), records  # type: ignore[arg-type]


def read_on(agent: Agent) -> int:
    """What the running epoch reads of the file."""
    before = agent.sources[0].rows
    while agent.intake.poll():
        pass
    return agent.sources[0].rows - before


def test_a_file_without_a_pace_is_read_as_far_as_the_allowance_lasts_and_runs_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "BATCH_ROWS", 1_000)
    monkeypatch.setattr("agents.executor.WAITING_ROWS", 1)
    with publisher_to(tmp_path / "log.db") as publisher:
        cpu, agent, records = file_agent(tmp_path, publisher, 0.05)
        cpu.costly(monkeypatch)
        epochs: list[tuple[int, float]] = []
        while not agent.sources[0].source.finished:
            before_s = cpu.now_s
            rows = read_on(agent)
            assert agent.intake.poll() is False
            agent.loop.end(agent.loop.due_s)
            epochs.append((rows, cpu.now_s - before_s))
        assert 4 < len(epochs) < 10, epochs
        assert all(rows < 12_000 for rows, _ in epochs), epochs
        assert sum(cpu_s for _, cpu_s in epochs[:-1]) == pytest.approx(1.02 * 0.05 * (len(epochs) - 1), rel=0.15)
        assert agent.loop.totals.overflowed == 0
        close(agent)
    got = received(tmp_path / "log.db")
    assert_same_answer(got.merged(), truth(records))
    assert {header.kind for header in got.headers} >= {"partial"}
    assert "drained" not in {header.kind for header in got.headers}


def test_a_file_without_a_pace_leaves_what_live_sources_will_want(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "BATCH_ROWS", 1_000)
    monkeypatch.setattr("agents.executor.WAITING_ROWS", 1)
    live = CHAIN.prepare(probe_file(tmp_path, 3_000)[1])
    with publisher_to(tmp_path / "log.db") as publisher:
        cpu, agent, _ = file_agent(tmp_path, publisher, 0.08)
        cpu.costly(monkeypatch)
        rows: list[int] = []
        for _ in range(4):
            rows.append(read_on(agent))
            agent.executor.add(Batch("probes", live), live=True)
            agent.loop.end(agent.loop.due_s)
        assert rows[0] > 11_000
        assert all(7_000 < each < 11_000 for each in rows[2:])
        assert agent.loop.totals.overflowed == 0
        agent.abandon()


def test_a_file_with_a_pace_overflows_first_and_then_falls_behind_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "BATCH_ROWS", 1_000)
    monkeypatch.setattr("agents.executor.WAITING_ROWS", 1)
    with publisher_to(tmp_path / "log.db") as publisher:
        cpu, agent, records = file_agent(tmp_path, publisher, 0.002, rows_per_s=1e7)
        cpu.costly(monkeypatch)
        rows = [(read_on(agent), agent.loop.end(agent.loop.due_s))[0] for _ in range(4)]
        assert rows[0] > 5_000
        assert all(each < rows[0] for each in rows[1:])
        assert sum(rows[1:]) > 0
        assert agent.loop.status().breaker == "closed"
        lag = {sample.metric: sample.value for sample in agent.samples()}["tailwatch_agents_source_lag_rows"]
        assert lag >= 40_000 - sum(rows)
        config = msgspec.structs.replace(agent._config, budget=BudgetConfig(cores=1.0))
        agent.loop.configure(config)
        for _ in range(12):
            read_on(agent)
            agent.loop.end(agent.loop.due_s)
        assert agent.sources[0].source.finished
        close(agent)
    assert_same_answer(received(tmp_path / "log.db").merged(), truth(records))


@pytest.mark.parametrize(("late_s", "earned"), [(0.0, 1.0), (1.5, 2.5), (3600.0, LONGEST_EPOCHS)])
def test_a_late_epoch_has_a_budget_of_its_length_but_not_of_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late_s: float, earned: float
) -> None:
    with publisher_to(tmp_path / "log.db") as publisher:
        one = CostlyAgent.start(tmp_path, publisher, monkeypatch, budget=BudgetConfig(cores=0.5))
        loop = one.agent.loop
        one.cpu.now_s += 10.0
        due_s = loop.due_s
        loop.end(due_s + late_s)
        assert loop.allowance.left_s() == pytest.approx(LIMIT * 0.5 * (earned + 1) - 10.0)
        assert due_s + late_s + 0.5 < loop.due_s <= due_s + late_s + 1.0
        one.agent.abandon()


def test_a_checkpoint_is_charged_to_the_epochs_whose_records_it_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with publisher_to(tmp_path / "log.db") as publisher:
        one = CostlyAgent.start(tmp_path, publisher, monkeypatch, policy="all-sp")
        one.epochs(10)
        counted: list[float] = []
        really: list[float] = []
        for _ in range(8):
            one.epochs(1)
            counted.append(one.metrics["epoch_cpu_seconds"])
            really.append(one.cpu_s[-1])
        assert min(really) == 0 < max(really)
        assert max(counted) < 1.1 * min(counted)
        assert sum(counted) == pytest.approx(sum(really), rel=0.05)
        one.agent.abandon()


def test_the_status_says_what_was_decided_and_every_metric_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with publisher_to(tmp_path / "log.db") as publisher:
        one = CostlyAgent.start(tmp_path, publisher, monkeypatch, budget=BudgetConfig(cores=0.08))
        one.epochs(10)
        status = one.agent.loop.status()
        assert decode_status(encode_status(status)) == status
        assert (status.agent, status.policy, status.budget_from, status.breaker) == ("a", "adaptive", "cores", "closed")
        (query,) = status.queries
        assert [proxy.operator for proxy in query.proxies] == ["filter", "join hosts", "project", "aggregate"]
        assert query.proxies[0].reached == EPOCH_ROWS
        assert query.proxies[0].local == pytest.approx(query.proxies[0].share * EPOCH_ROWS, abs=100)
        assert query.predicted_bytes_per_s == pytest.approx(query.wire_bytes_per_s, rel=0.5)
        page = page_of(one.agent.samples())
        labels = f'query="probes",version="{PLAN.version}",proxy="2",operator="join hosts"'
        _, _, shown = page.partition(f"tailwatch_agents_proxy_share{{{labels}}} ")
        assert float(shown.split("\n")[0]) == pytest.approx(query.proxies[1].share)
        assert f'tailwatch_agents_state{{state="{status.state}"}} 1\n' in page
        assert page.count("tailwatch_agents_state{") == 4
        assert 'tailwatch_agents_budget_cores{from="cores"} 0.08' in page
        assert 'tailwatch_agents_wire_bytes_total{kind="drained"}' in page or one.agent.spool.frames
        assert one.metrics["profiles_total"] == 1
        assert one.metrics["epochs_total"] == 10
        one.agent.abandon()


def test_queries_that_come_are_drained_until_they_are_profiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from agents.bounds import ALWAYS
    from agents.executor import Wanted
    from pipeline.chain import Chain

    with publisher_to(tmp_path / "log.db") as publisher:
        one = CostlyAgent.start(tmp_path, publisher, monkeypatch)
        one.epochs(8)
        one.agent.executor.adopt([Wanted(CHAIN, ALWAYS.spans), Wanted(Chain(REQUESTS, {}), ALWAYS.spans)])
        one.agent.loop.adopt()
        shares = {query.query: {proxy.share for proxy in query.proxies} for query in one.agent.loop.status().queries}
        assert shares == {"probes": {1.0}, "requests": {0.0}}
        one.agent.abandon()


def test_a_budget_below_what_an_idle_agent_takes_is_refused_and_everything_is_closed_again(tmp_path: Path) -> None:
    ticks = count()
    config = AgentConfig(id="a", spool_path=str(tmp_path / "spool.db"), sources=(), budget=BudgetConfig(cores=0.002))
    with publisher_to(tmp_path / "log.db") as publisher:
        with pytest.raises(BudgetTooSmallError, match=r"budget\.cores is 0\.002, but this agent takes 0.0"):
            Agent(config, [PLAN], TABLES, publisher, machine=MACHINE, cpu_s=lambda: next(ticks) * 1e-3)
        Agent(config, [PLAN], TABLES, publisher, machine=MACHINE, cpu_s=lambda: 0.0).close()


@pytest.mark.parametrize(
    ("cores", "epoch_s", "turn_s", "interval_s"),
    [(1.0, 1.0, 0.001, 0.1), (0.05, 1.0, 0.001, 0.2), (0.01, 1.0, 0.01, 1.0), (0.01, 0.05, 0.01, 0.1)],
)
def test_at_tiny_budgets_sources_are_looked_at_less_often_down_to_once_per_epoch(
    cores: float, epoch_s: float, turn_s: float, interval_s: float
) -> None:
    assert turn_interval_s(AgentConfig(epoch_s=epoch_s), cores, turn_s) == pytest.approx(interval_s)


@pytest.mark.parametrize(
    ("checkpoint_s", "epoch_s", "epochs"), [(2.0, 1.0, 2), (0.05, 1.0, 1), (2.0, 0.3, 7), (0.3, 0.1, 3)]
)
def test_checkpoints_come_after_whole_epochs(checkpoint_s: float, epoch_s: float, epochs: int) -> None:
    assert epochs_between_checkpoints(AgentConfig(checkpoint_s=checkpoint_s, epoch_s=epoch_s)) == epochs


@pytest.mark.parametrize(("policy", "early"), [("all-sp", True), ("all-src", False)])
def test_drained_rows_are_checkpointed_early_and_groups_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str, early: bool
) -> None:
    with publisher_to(tmp_path / "log.db") as publisher:
        one = CostlyAgent.start(tmp_path, publisher, monkeypatch, policy=policy, memory_max_bytes=2**20, epoch_s=60.0)
        before = one.agent._checkpointer.stored
        one.agent.executor.add(Batch("probes", one.batch), live=True)
        one.agent.executor.run_waiting()
        assert one.agent.executor.held_bytes > 2**10
        one.agent.turn()
        assert (one.agent._checkpointer.stored > before) is early
        one.agent.abandon()
