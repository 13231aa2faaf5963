"""An agent whose CPU is what a test says: each record costs so much per operator, each byte so much to encode."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl
import pytest

from agents import frames, profiling
from agents.agent import Agent
from agents.config import AgentConfig, BudgetConfig
from agents.sources.configs import DatagramsConfig
from agents.sources.source import Batch
from pipeline.chain import Chain
from tests.agents.live import turned
from tests.agents.world import MACHINE, PLAN
from tests.fleet import SCHEMA, TABLES, probe_records
from wire.transport import Publisher

#: CPU seconds per record: filter, join, projection, aggregate. And per encoded byte.
RECORD_S: Final = (0.5e-6, 2e-6, 1e-6, 5e-6)
BYTE_S: Final = 2e-8
EPOCH_ROWS: Final = 20_000
BATCHES: Final = 4


@dataclass
class FakeCpu:
    """CPU seconds of the process."""

    now_s: float = 0.0

    def read(self) -> float:
        return self.now_s

    def costly(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """From now on everything that runs queries or encodes costs, and nothing else does."""
        aggregate, pack = Chain.aggregate, frames.pack_columns

        def costly(stages: Callable[[Chain, int, pl.DataFrame], pl.DataFrame]) -> object:
            def run(chain: Chain, stage: int, rows: pl.DataFrame) -> pl.DataFrame:
                self.now_s += rows.height * RECORD_S[stage - 1]
                return stages(chain, stage, rows)

            return run

        def aggregated(chain: Chain, rows: pl.DataFrame, *coded: Any) -> Any:
            self.now_s += rows.height * RECORD_S[-1]
            return aggregate(chain, rows, *coded)

        def packed(columns: Any) -> bytes:
            body = pack(columns)
            self.now_s += len(body) * BYTE_S
            return body

        monkeypatch.setattr(Chain, "apply", costly(Chain.apply))
        monkeypatch.setattr(Chain, "local", costly(Chain.local))
        monkeypatch.setattr(Chain, "aggregate", aggregated)
        for module in (frames, profiling):
            monkeypatch.setattr(module, "pack_columns", packed)


def close(agent: Agent) -> None:
    """End it with all delivered: `close` alone publishes for a moment and leaves the rest to the next start."""
    agent.checkpoint()
    assert turned(agent, lambda: not agent.spool.frames, 60.0)
    agent.close()
    assert not agent.spool.frames


@dataclass
class CostlyAgent:
    """An agent that gets records and epochs from a test; `cpu_s` holds what each epoch really took."""

    cpu: FakeCpu
    agent: Agent
    config: AgentConfig
    batch: pl.DataFrame = field(default_factory=lambda: probe_records(EPOCH_ROWS // BATCHES, 7))
    cpu_s: list[float] = field(default_factory=list)
    batches: int = 0
    seeds: Iterator[int] = field(default_factory=count)

    @staticmethod
    def start(folder: Path, publisher: Publisher, monkeypatch: pytest.MonkeyPatch, **changes: object) -> "CostlyAgent":
        cpu = FakeCpu()
        values: dict[str, object] = {
            "id": "a",
            "host": "h",
            "spool_path": str(folder / "spool.db"),
            # Nobody sends to it: without a source of that stream the query would not run.
            "sources": (DatagramsConfig(stream="probes", path=str(folder / "rows.sock")),),
            "streams": {"probes": {name: kind for name, kind in SCHEMA.items() if name not in ("ts", "host")}},
        }
        config = AgentConfig(**(values | changes))  # type: ignore[arg-type]
        agent = Agent(config, [PLAN], TABLES, publisher, machine=MACHINE, cpu_s=cpu.read)
        cpu.costly(monkeypatch)
        return CostlyAgent(cpu, agent, config)

    def epochs(self, count: int, *, batches: int = BATCHES, each: Callable[[], object] = lambda: None) -> "CostlyAgent":
        """So many epochs of live records, a checkpoint after every second one."""
        for _ in range(count):
            before_s = self.cpu.now_s
            for _ in range(batches):
                # In another order each time: packed together, equal batches would take no more bytes than one.
                rows = self.batch.sample(fraction=1.0, shuffle=True, seed=next(self.seeds))
                self.agent.executor.add(Batch("probes", rows), live=True)
                self.agent.executor.run_waiting()
            self.batches += batches
            self.agent.loop.end(self.agent.loop.due_s)
            if len(self.cpu_s) % 2:
                self.agent.checkpoint()
            self.cpu_s.append(self.cpu.now_s - before_s)
            each()
        return self

    def give(self, **budget: float) -> None:
        """Another budget from now on."""
        self.config = msgspec.structs.replace(self.config, budget=BudgetConfig(**budget))
        self.agent.loop.configure(self.config)

    @property
    def shares(self) -> tuple[float, ...]:
        """Those of the last status."""
        (query,) = self.agent.loop.status().queries
        return tuple(proxy.share for proxy in query.proxies)

    @property
    def metrics(self) -> Mapping[str, float]:
        """Own metrics without their labels; of those with several values, the last."""
        return {sample.metric.removeprefix("tailwatch_agents_"): sample.value for sample in self.agent.samples()}

    def mean_cores(self, epochs: int = 10) -> list[float]:
        """Over any so many epochs in a row."""
        return [sum(self.cpu_s[at : at + epochs]) / epochs for at in range(len(self.cpu_s) - epochs + 1)]
