"""The executor: the stored result is the same whatever is decided, and every record's fate is counted."""

import random
from dataclasses import dataclass, field
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import executor as executor_module
from agents.bounds import ALWAYS, BEGINNING_NS, END_NS
from agents.executor import Executor, Wanted
from agents.frames import frames_of
from agents.query_run import QueryDelta
from agents.shares import Decision, ProxyCounts, Shares
from agents.sources.source import Batch
from pipeline.chain import Chain
from pipeline.manifest import Manifest, WindowCounts
from pipeline.partial import Partial
from tests.agents.test_query_run import merged
from tests.agents.world import assert_same_answer, truth
from tests.fleet import START_NS, TABLES, WINDOW_NS, probe_plan, probe_records

MIDDLE_NS = START_NS + 2 * WINDOW_NS
BY_HOST = (
    "SELECT src, err, sketch(rtt_us) AS host_rtt_us FROM probes WHERE load > 0 "
    "GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), src, err"
)
PER_HOUR = "SELECT count(*) AS hour_total, avg(load) AS load_ratio FROM probes GROUP BY TUMBLE(ts, INTERVAL '1' HOUR)"
CHAINS = [Chain(plan, TABLES) for plan in (probe_plan(), probe_plan(BY_HOST, "hosts"), probe_plan(PER_HOUR, "hour"))]
LATER = Chain(probe_plan(BY_HOST.replace("load > 0", "load > 1"), "hosts"), TABLES)
#: Version -> the records that are its own.
SPANS = {
    CHAINS[0].plan.version: ALWAYS.spans,
    CHAINS[1].plan.version: ((BEGINNING_NS, MIDDLE_NS),),
    CHAINS[2].plan.version: ALWAYS.spans,
    LATER.plan.version: ((MIDDLE_NS, END_NS),),
}
ALL = [*CHAINS, LATER]
SHARE = st.one_of(st.sampled_from([0.0, 1.0, 0.5]), st.floats(0, 1))


@dataclass
class Tap:
    """An allowance that fails when it is told to."""

    answers: random.Random
    chance: float = 0.0
    asked: int = 0
    owed_s: list[float] = field(default_factory=list)

    def left_s(self) -> float:
        self.asked += 1
        return -1.0 if self.answers.random() < self.chance else self.answers.choice([1e-9, 1e-3, 10.0])

    def owe(self, cpu_s: float) -> None:
        assert cpu_s >= 0
        self.owed_s.append(cpu_s)


@st.composite
def decisions(draw: st.DrawFn) -> Decision:
    """Any shares; a version may be left out, and an epoch may be one to profile."""

    def vectors() -> dict[str, Shares]:
        chosen = {}
        for chain in ALL:
            m = chain.row_stages + 1
            if draw(st.booleans()):
                chosen[chain.plan.version] = tuple(draw(st.lists(SHARE, min_size=m, max_size=m)))
        return chosen

    return Decision(vectors(), vectors(), profile=draw(st.booleans()))


def fates(deltas: list[QueryDelta]) -> dict[str, WindowCounts]:
    """By version, all windows together; each must conserve its records."""
    found: dict[str, WindowCounts] = {}
    for chain in ALL:
        manifest = Manifest.merge(one.manifest for one in deltas if one.plan.version == chain.plan.version)
        assert manifest.conserved()
        total = found.setdefault(chain.plan.version, WindowCounts(n_drained=[0] * 9))
        for counts in manifest.windows().values():
            total.n_in += counts.n_in
            total.n_filtered += counts.n_filtered
            total.n_local += counts.n_local
            total.n_sampled_out += counts.n_sampled_out
            for cut, rows in enumerate(counts.n_drained):
                total.n_drained[cut] += rows
    return found


def assert_counted(counts: list[dict[str, ProxyCounts]], deltas: list[QueryDelta]) -> None:
    """The epochs' counts by proxy say the same as the manifests."""
    for version, fate in fates(deltas).items():
        of_epochs = [epoch[version] for epoch in counts if version in epoch]
        for place in range(len(of_epochs[0].reached)):
            held_back = [one.reached[place] - one.local[place] for one in of_epochs]
            assert sum(held_back) == fate.n_drained[place]
            assert all(0 <= one.overflowed[place] <= rows for one, rows in zip(of_epochs, held_back, strict=True))
        assert sum(one.local[-1] for one in of_epochs) == fate.n_local
        assert sum(one.sampled_out for one in of_epochs) == fate.n_sampled_out


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_the_result_is_that_of_one_pass_for_any_decisions_allowance_batching_and_memory(data: st.DataObject) -> None:
    seed = data.draw(st.integers(0, 999), label="seed")
    records = probe_records(data.draw(st.integers(0, 400), label="records"), seed)
    tap = Tap(random.Random(seed))
    executor = Executor(
        [], TABLES, "h", allowance=tap, memory_max_bytes=data.draw(st.sampled_from([2**26, 4000, 900]), label="memory")
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executor_module, "WAITING_ROWS", data.draw(st.sampled_from([1, 40, 2**14])))
        patch.setattr(executor_module, "PIECE_ROWS", data.draw(st.sampled_from([7, 64, 2**14])))
        executor.adopt([Wanted(CHAINS[0], SPANS[CHAINS[0].plan.version]), Wanted(CHAINS[1], ALWAYS.spans)])
        executor.adopt([Wanted(chain, SPANS[chain.plan.version]) for chain in ALL])
        counts, deltas, start = [], [], 0
        for _ in range(data.draw(st.integers(1, 5), label="epochs")):
            if data.draw(st.integers(0, 4)):
                executor.decide(data.draw(decisions()))
            tap.chance = data.draw(st.sampled_from([0.0, 0.5, 1.0]))
            for _ in range(data.draw(st.integers(0, 4))):
                size = data.draw(st.integers(0, 120))
                executor.add(Batch("probes", records.slice(start, size)))
                start += size
            counts.append(executor.end_epoch())
            if data.draw(st.booleans()):
                deltas += executor.take()
        tap.chance = 0.0
        executor.add(Batch("probes", records.slice(start)))
        counts.append(executor.end_epoch())
        deltas += executor.take()
    assert executor.dropped == {}
    for chain in ALL:
        own = pl.concat(
            [records.filter((pl.col("ts") >= low) & (pl.col("ts") < high)) for low, high in SPANS[chain.plan.version]]
        )
        got = Partial.merge([merged(one) for one in deltas if one.plan.version == chain.plan.version]).sorted()
        assert_same_answer(got.to_frame(), truth(own, chain))
        assert fates(deltas)[chain.plan.version].n_in == own.height
    assert_counted(counts, deltas)


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 90), min_size=1, max_size=10),
    shares=st.lists(st.floats(0.01, 1), min_size=10, max_size=10),
    seed=st.integers(0, 99),
)
def test_records_sampled_out_are_accounted_for_and_only_live_ones_are(
    sizes: list[int], shares: list[float], seed: int
) -> None:
    records = probe_records(sum(sizes), seed)
    executor = Executor([chain.plan for chain in CHAINS], TABLES, "h")
    counts, deltas, start, taken, replayed = [], [], 0, 0.0, 0
    for number, (size, sampled) in enumerate(zip(sizes, shares, strict=False)):
        executor.decide(
            Decision({chain.plan.version: (0.5,) * (chain.row_stages + 1) for chain in CHAINS}, sampled=sampled)
        )
        live = bool((seed + number) % 3)
        executor.add(Batch("probes", records.slice(start, size)), live=live)
        start += size
        taken += size * sampled if live else size
        replayed += 0 if live else size
        counts.append(executor.end_epoch())
        deltas += executor.take()
    for chain in CHAINS:
        manifest = Manifest.merge(one.manifest for one in deltas if one.plan.version == chain.plan.version)
        assert manifest.conserved()
        windows = manifest.windows().values()
        n_in, n_out = sum(one.n_in for one in windows), sum(one.n_sampled_out for one in windows)
        assert n_in == records.height
        assert n_in - n_out >= replayed
        assert abs((n_in - n_out) - taken) <= 1
        assert sum(epoch[chain.plan.version].sampled_out for epoch in counts) == n_out


def test_rows_are_thinned_evenly_and_not_from_one_end() -> None:
    executor = Executor([CHAINS[2].plan], TABLES, "h", policy="all-sp")
    executor.decide(Decision(sampled=0.25))
    records = probe_records(100, 1).with_columns(rtt_us=pl.int_range(100, dtype=pl.Int64), load=pl.int_range(100) * 1.0)
    for start in range(0, 100, 10):
        executor.add(Batch("probes", records.slice(start, 10)), live=True)
    (delta,) = executor.take()
    kept = pl.concat(delta.drained[0])["load"].to_list()
    assert len(kept) == 25
    assert {later - earlier for earlier, later in pairwise(kept)} == {4.0}


def test_a_version_that_no_decision_names_is_drained() -> None:
    executor = Executor([CHAINS[0].plan, CHAINS[2].plan], TABLES, "h")
    executor.decide(Decision({CHAINS[2].plan.version: (1.0,) * (CHAINS[2].row_stages + 1)}))
    executor.add(Batch("probes", probe_records(50, 1)))
    unnamed, named = executor.take()
    assert [*unnamed.drained] == [0]
    assert not unnamed.partials
    assert named.partials
    assert not named.drained


@pytest.mark.parametrize(("policy", "local"), [("all-sp", 0), ("all-src", 50), ("adaptive", 50), ("lb-dp", 50)])
def test_before_any_decision_the_policy_says_where_records_go(policy: str, local: int) -> None:
    executor = Executor([CHAINS[2].plan], TABLES, "h", policy)  # type: ignore[arg-type]
    executor.add(Batch("probes", probe_records(50, 1)))
    assert executor.end_epoch()[CHAINS[2].plan.version].local[0] == local


def test_what_waits_runs_by_the_decision_under_which_it_came() -> None:
    executor = Executor([CHAINS[2].plan], TABLES, "h")
    executor.add(Batch("probes", probe_records(50, 1)))
    executor.decide(Decision())
    executor.add(Batch("probes", probe_records(30, 2)))
    counts = executor.end_epoch()[CHAINS[2].plan.version]
    assert (counts.reached[0], counts.local[0]) == (80, 50)


def test_operators_are_named_by_kind() -> None:
    executor = Executor([CHAINS[0].plan], TABLES, "h")
    assert executor.operators == {CHAINS[0].plan.version: ("filter", "join", "project", "aggregate")}


def test_the_allowance_is_asked_before_each_batch_of_each_query_and_large_batches_are_cut_when_little_is_left() -> None:
    for left_s, pieces in ((1e9, 1), (1e-9, 3)):
        tap = Tap(random.Random(1))
        tap.left_s = lambda tap=tap, left_s=left_s: setattr(tap, "asked", tap.asked + 1) or left_s  # type: ignore[method-assign,func-returns-value]
        executor = Executor([CHAINS[0].plan, CHAINS[2].plan], TABLES, "h", allowance=tap)
        rows = probe_records(100, 1).sample(40_000, with_replacement=True, seed=1)
        executor.add(Batch("probes", rows))
        executor.run_waiting()
        assert tap.asked == 2 * pieces
        assert len(tap.owed_s) == 2 * pieces


def test_what_is_gathered_is_owed_and_costs_what_checkpoints_were_read_to_take() -> None:
    clock = iter(range(1000))
    tap = Tap(random.Random(1))
    executor = Executor([CHAINS[2].plan], TABLES, "h", "all-sp", allowance=tap, clock=lambda: next(clock) * 1e-3)
    executor.add(Batch("probes", probe_records(1000, 1)))
    executor.run_waiting()
    (first_s,) = tap.owed_s
    (delta,) = executor.take()
    frames = frames_of(delta, 1, executor.shipping)
    for _ in range(30):
        executor.shipping.stored(10_000_000, 0.5)
        executor.shipping.sent(10_000_000, 0.7)
    executor.add(Batch("probes", probe_records(1000, 1)))
    executor.end_epoch()
    size = sum(len(frame.body) for frame in frames if frame.kind == "drained")
    assert tap.owed_s[1] - first_s > size * 5e-8
    assert tap.owed_s[1] < 2 * size * 12e-8 + 2e-3
