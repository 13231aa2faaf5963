"""One agent's parts in one process, as the agent puts them together: chain, proxies, runtime, spool, uplink, transport.

Epochs run back to back instead of once a second: the budget is CPU per epoch, so how long an epoch takes by the wall
changes nothing. CPU is the process's own, all threads; making records and reading the transport empty is left out.
The limits on memory are larger than an agent's defaults, so that checkpoints come when they are due.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from agents import policies
from agents.allowance import EpochAllowance
from agents.bounds import ALWAYS
from agents.checkpoint import Checkpointer
from agents.config import AgentConfig, BudgetConfig
from agents.cost_model import kept_of
from agents.cpu_meter import CpuMeter
from agents.epochs import EpochLoop
from agents.executor import Executor, Wanted
from agents.runtime import Runtime
from agents.shares import Decision, Policy, Shares
from agents.spool import Spool
from agents.uplink import Uplink
from benchmarks.jarvis.load import Clock, Load
from benchmarks.jarvis.sizing import Sizing
from wire.embedded import EmbeddedPublisher, EmbeddedSubscriber

MEMORY_BYTES = 2**30
# So much more allowance is tried, and bytes that it saves are worth a move from this part on.
_MORE = 1.05
_WORTH_IT = 0.02
_MACHINE = "bench-machine"


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch was like.

    Attributes:
        cpu_s: CPU of the process in it, checkpoints where they fell.
        charged_s: as the agent counts it: shipping in the epoch whose records are shipped.
        overflow: at the proxy where it was largest, the part of the records drained for want of CPU.
        kept: e_1..e_M in this epoch, of the first query.
        state: of the runtime, in this epoch.
        could_save: with a little more CPU there would be fewer bytes, by the runtime's own model.
        sampled: of the records, the part that was taken in.
    """

    cpu_s: float
    charged_s: float
    budget_s: float
    records: int
    wire_bytes: int
    overflow: float
    kept: Shares
    state: str
    could_save: bool
    sampled: float


class Host:
    """An agent with one query; a context manager, since it has a spool and a log on disk."""

    def __init__(
        self,
        load: Load,
        policy: Policy,
        budget_s: float,
        size: Sizing,
        *,
        fixed: Mapping[str, Shares] | None = None,
        schedule: Sequence[Shares] = (),
        first_epoch: int = 0,
    ) -> None:
        """`budget_s` is CPU per epoch. With `fixed` shares there is no runtime and no limit.

        They hold to the end, or change epoch by epoch as in `schedule`, which may still grow.
        """
        self._load = load
        self._size = size
        self._policy: Policy = policy
        self._epochs = first_epoch
        self._began = first_epoch
        self._fixed = fixed
        self._schedule = schedule
        self.taken: list[Shares] = []
        self._payloads: list[bytes] = []
        self._keeping = False
        self._to_checkpoint = size.checkpoint_epochs
        self._opened = ExitStack()
        folder = Path(self._opened.enter_context(TemporaryDirectory(prefix="tailwatch-bench-")))
        workload = load.workload
        self.clock = Clock()
        meter = CpuMeter(own_s=self.clock)
        self._allowance = EpochAllowance(meter.own_s)
        self.executor = Executor(
            [], {}, "bench", policy, allowance=None if fixed else self._allowance, memory_max_bytes=MEMORY_BYTES,
            clock=self.clock,
        )  # fmt: skip
        self.executor.adopt([Wanted(workload.chain, ALWAYS.spans)])
        self._spool = Spool(folder / "spool.db", _MACHINE, MEMORY_BYTES)
        self._opened.callback(self._spool.close)
        self._publisher = EmbeddedPublisher(folder / "log.db", partitions=1, max_bytes=MEMORY_BYTES)
        self._opened.callback(self._publisher.close)
        self._reader = EmbeddedSubscriber(folder / "log.db", partitions=1)
        self._opened.callback(self._reader.close)
        self._reader.subscribe(lambda _: self._reader.seek(0, 0), lambda _: None)
        self.uplink = Uplink(self._spool, self._publisher)
        self._checkpointer = Checkpointer(
            self._spool, self._spool.begin("bench", time.time_ns()), self.executor, [], host="bench",
            machine=_MACHINE, counters=dict,
        )  # fmt: skip
        self._budget_s = budget_s
        self.loop: EpochLoop | None = None
        if fixed is None:
            self.loop = EpochLoop(self._config(), self.executor, meter, self._allowance, clock=self._now_s)
        else:
            self.executor.decide(self._told())

    def __enter__(self) -> "Host":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._opened.close()

    @property
    def runtime(self) -> Runtime:
        """What decides; there is none with fixed shares."""
        assert self.loop is not None
        return self.loop._runtime

    def run(self, epochs: int) -> list[Epoch]:
        """So many epochs."""
        return [self._epoch() for _ in range(epochs)]

    def run_to_checkpoint(self) -> None:
        """Epochs until one has ended with a checkpoint."""
        while self._to_checkpoint != self._size.checkpoint_epochs:
            self._epoch()

    def give(self, budget_s: float) -> None:
        """Another budget, as a reload brings it."""
        self._budget_s = budget_s
        assert self.loop is not None
        self.loop.configure(self._config())

    def offer(self, load: Load) -> None:
        """Other records from the next epoch on."""
        self._load = load

    def replace_query(self, load: Load) -> None:
        """Another query instead of the present one, as a new plan brings it."""
        assert self.loop is not None
        self.executor.adopt([Wanted(load.workload.chain, ALWAYS.spans)])
        self._checkpointer.note_runs()
        self.loop.adopt()
        self.offer(load)

    def take_payloads(self) -> list[bytes]:
        """The frames that reached the transport since the last call; before the first one they are not kept."""
        found, self._payloads = self._payloads, []
        self._keeping = True
        return found

    def _epoch(self) -> Epoch:
        with self.clock.excluded():
            batches = self._load.epoch(self._epochs)
            shares, state = self._decided()
            self.taken.append(shares)
            kept = kept_of(shares)
        sent, before_s = self.uplink.bytes_published, self.clock()
        for batch in batches:
            self.executor.add(batch, live=True)
        self.executor.run_waiting()
        self._epochs += 1
        if self.loop is not None:
            self.loop.end(self._now_s())
        else:
            self.executor.end_epoch()
            self.executor.decide(self._told())
        self._to_checkpoint -= 1
        if not self._to_checkpoint:
            self._checkpoint()
        cpu_s = self.clock() - before_s
        with self.clock.excluded():
            self._empty_the_log()
            return self._seen(cpu_s, self.uplink.bytes_published - sent, kept, state)

    def _told(self) -> Decision:
        assert self._fixed is not None
        place = self._epochs - self._began
        shares = {one: self._schedule[place] if place < len(self._schedule) else p for one, p in self._fixed.items()}
        return Decision(shares, shares)

    def _checkpoint(self) -> None:
        self._to_checkpoint = self._size.checkpoint_epochs
        if self.loop is None:
            self._ship()
            return
        with self.loop.shipping(settles=True):
            self._ship()

    def _ship(self) -> None:
        self._checkpointer.take(time.time_ns())
        before, before_s = self.uplink.bytes_published, self.clock()
        self.uplink.drain(60.0)
        self.executor.shipping.sent(self.uplink.bytes_published - before, self.clock() - before_s)

    def _seen(self, cpu_s: float, wire_bytes: int, kept: Shares, state: str) -> Epoch:
        if self.loop is None:
            return Epoch(cpu_s, cpu_s, self._budget_s, self._load.records, wire_bytes, 0.0, kept, state, False, 1.0)
        charged_s = next(one.value for one in self.loop.samples() if one.metric == "tailwatch_agents_epoch_cpu_seconds")
        status = self.loop.status()
        proxies = [proxy for query in status.queries for proxy in query.proxies]
        overflow = max((proxy.overflowed / proxy.reached for proxy in proxies if proxy.reached), default=0.0)
        return Epoch(
            cpu_s, charged_s, self._budget_s, self._load.records, wire_bytes, overflow, kept, state,
            self._could_save(), status.sampled,
        )  # fmt: skip

    def _could_save(self) -> bool:
        runtime = self.runtime
        if self._policy in policies.STATIC or not runtime.models:
            return self._policy not in policies.STATIC
        more = policies.shares_for(self._policy, runtime.models, self.executor.operators, _MORE * runtime.theta_s)
        now, then = (policies.taken(runtime.models, each) for each in (runtime.decision.shares, more))
        return then.wire_bytes < (1 - _WORTH_IT) * now.wire_bytes

    def _decided(self) -> tuple[Shares, str]:
        if self.loop is None:
            return next(iter(self._told().shares.values())), "fixed"
        status = self.loop.status()
        return tuple(proxy.share for proxy in status.queries[0].proxies), status.state

    def _empty_the_log(self) -> None:
        """Frees what the transport holds, as a collector does when it has stored it."""
        while records := self._reader.poll(0.0, 1_000):
            self._payloads += [record.payload for record in records]
            self._reader.committed(0, records[-1].offset + 1)
        if not self._keeping:
            self._payloads = []

    def _now_s(self) -> float:
        return self._epochs * self._size.epoch_s

    def _config(self) -> AgentConfig:
        size = self._size
        return AgentConfig(
            id="bench", policy=self._policy, budget=BudgetConfig(cores=self._budget_s / size.epoch_s),
            epoch_s=size.epoch_s, checkpoint_s=size.checkpoint_epochs * size.epoch_s, memory_max_bytes=MEMORY_BYTES,
            spool_max_bytes=MEMORY_BYTES, sources=(),
        )  # fmt: skip
