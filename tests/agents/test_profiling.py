"""What a profile finds, with a clock that the operators themselves turn: no reading of real CPU is in it."""

from collections.abc import Callable
from math import expm1, log1p

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import profiling, shipping
from agents.cost_line import LEAST_S, CostLine, ShippingLine
from agents.cost_model import QueryCosts
from agents.executor import Executor
from agents.frames import frames_of
from agents.group_estimates import Gathered, chao1, distinct_evenly
from agents.shares import Decision, Policy, Shares
from agents.shipping import Shipping, Trial
from agents.sources.source import Batch
from pipeline.chain import Chain
from pipeline.partial import Partial
from pipeline.sql import compile_query
from tests.fleet import START_NS, TABLES, probe_plan, probe_records
from wire import columns
from wire.columns import pack_columns

PLAN = probe_plan()
VERSION = PLAN.version
FIXED_S = 1e-3
#: Seconds per row of filter, join, project and aggregate; and per byte packed.
SLOPES = (1e-7, 4e-6, 2e-7, 3e-6)
BYTE_S = 1e-7
RECORDS = probe_records(9000, 1).sample(30_000, with_replacement=True, seed=3)


class Turned:
    """A clock that every operator and every encoding turns on by a fixed part and so much per row or byte."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now_s = 0.0
        self.slopes = list(SLOPES)
        apply, aggregate, pack = Chain.local, Chain.aggregate, profiling.pack_columns
        patch.setattr(
            Chain, "local", lambda chain, i, rows: self.turn(self.slopes[i - 1], rows.height, apply, chain, i, rows)
        )
        patch.setattr(
            Chain, "aggregate", lambda chain, rows: self.turn(self.slopes[3], rows.height, aggregate, chain, rows)
        )
        for module in (profiling, _frames()):
            patch.setattr(module, "pack_columns", lambda rows: self.packed(pack(rows)))

    def __call__(self) -> float:
        return self.now_s

    def turn(self, slope_s: float, rows: int, call: Callable[..., object], *given: object) -> object:
        self.now_s += FIXED_S + slope_s * rows
        return call(*given)

    def packed(self, body: bytes) -> bytes:
        self.now_s += FIXED_S + BYTE_S * len(body)
        return body


def _frames() -> object:
    from agents import frames

    return frames


def profiled(clock: Turned, shares: Shares, records: pl.DataFrame = RECORDS) -> tuple[Executor, QueryCosts]:
    """An executor that had one epoch to profile, and what it found."""
    executor = Executor([PLAN], TABLES, "h", clock=clock)
    executor.decide(Decision({VERSION: shares}, profile=True))
    executor.add(Batch("probes", records))
    executor.end_epoch()
    costs = executor.costs()
    assert costs is not None
    return executor, costs[VERSION]


@pytest.mark.parametrize("shares", [(0.0,) * 4, (1.0,) * 4, (1.0, 0.0, 1.0, 1.0), (0.3,) * 4])
def test_a_profile_finds_slopes_without_the_fixed_cost_of_a_call_whatever_the_shares(
    shares: Shares, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, costs = profiled(Turned(monkeypatch), shares)
    assert [one.cpu_s for one in costs.operators] == pytest.approx(SLOPES, rel=0.1)
    kept = RECORDS.filter(pl.col("err") == 0).height / RECORDS.height
    assert [one.selectivity for one in costs.operators[:3]] == pytest.approx([kept, 0.75, 1.0], rel=0.03)
    assert costs.records == RECORDS.height


def test_a_probe_passes_some_thousand_rows_through_every_operator_and_they_are_part_of_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    executor = Executor([PLAN], TABLES, "h", clock=Turned(monkeypatch))
    executor.decide(Decision(profile=True))
    for start in range(0, 30_000, 5_000):
        executor.add(Batch("probes", RECORDS.slice(start, 5_000)))
    counts = executor.end_epoch()[VERSION]
    assert counts.reached[0] == 30_000
    assert profiling.PROBE_ROWS <= counts.local[0] <= 3 * profiling.PROBE_ROWS
    (delta,) = executor.take()
    assert sum(Partial.merge(delta.partials).record_counts().values()) == counts.local[-1] > 0
    assert delta.manifest.conserved()


def test_trials_leave_no_trace_in_what_is_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    executor, _ = profiled(Turned(monkeypatch), (1.0,) * 4)
    (delta,) = executor.take()
    assert not delta.drained
    assert sum(window.n_local for window in delta.manifest.windows().values()) == sum(
        Partial.merge(delta.partials).record_counts().values()
    )


def test_of_versions_that_run_no_longer_no_sizes_are_kept() -> None:
    shipped = Shipping()
    for version in ("gone", "here"):
        shipped.encoded(version, 0, 1000, 20_000, 1e-3)
    shipped.keep({"here"})
    assert dict(shipped.bytes_by_version) == {"here": 20_000}


def test_what_was_sampled_lasts_when_it_is_decided_again_within_the_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reload, or a query that comes, in the epoch of a profile must not make all others run their probes twice."""
    executor = Executor([PLAN], TABLES, "h", clock=Turned(monkeypatch))
    for _ in range(8):
        executor.decide(Decision(profile=True))
        executor.add(Batch("probes", RECORDS.head(5_000)))
    counts = executor.end_epoch()[VERSION]
    assert profiling.PROBE_ROWS <= counts.local[0] <= 3 * profiling.PROBE_ROWS
    costs = executor.costs()
    assert costs is not None
    assert [one.cpu_s for one in costs[VERSION].operators] == pytest.approx(SLOPES, rel=0.1)


@pytest.mark.parametrize(("slope_s", "most_s"), [(3e-6, 0.3), (6e-5, 0.5), (1e-3, 1.0)])
def test_trials_take_less_than_a_second_however_costly_an_operator_is(
    slope_s: float, most_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Turned(monkeypatch)
    clock.slopes[1] = slope_s
    executor = Executor([PLAN], TABLES, "h", clock=clock)
    executor.decide(Decision({VERSION: (0.0,) * 4}, profile=True))
    executor.add(Batch("probes", RECORDS))
    executor.run_waiting()
    begun_s = clock()
    executor.end_epoch()
    assert clock() - begun_s <= most_s
    costs = executor.costs()
    assert costs is not None
    assert costs[VERSION].operators[1].cpu_s == pytest.approx(slope_s, rel=0.1)


def test_costs_are_told_only_after_an_epoch_that_was_profiled(monkeypatch: pytest.MonkeyPatch) -> None:
    executor, _ = profiled(Turned(monkeypatch), (0.5,) * 4)
    executor.decide(Decision({VERSION: (0.5,) * 4}))
    executor.add(Batch("probes", RECORDS))
    executor.end_epoch()
    assert executor.costs() is None


def test_an_operator_that_became_dearer_is_found_out_by_the_next_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Turned(monkeypatch)
    executor, before = profiled(clock, (1.0,) * 4)
    clock.slopes[1] *= 5
    for profile in (False, False, False, True):
        executor.decide(Decision({VERSION: (1.0,) * 4}, profile=profile))
        executor.add(Batch("probes", RECORDS))
        executor.end_epoch()
    costs = executor.costs()
    assert costs is not None
    assert costs[VERSION].operators[1].cpu_s == pytest.approx(5 * before.operators[1].cpu_s, rel=0.15)


def test_bytes_and_cpu_of_a_cut_come_from_a_trial_until_checkpoints_have_encoded_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Turned(monkeypatch)
    executor, tried = profiled(clock, (0.0,) * 4)
    assert all(5 < size < 60 for size in tried.drained_bytes)
    per_byte = shipping._STORED_BYTE_S + shipping._SENT_BYTE_S
    for size, cpu_s in zip(tried.drained_bytes, tried.drained_s, strict=True):
        assert cpu_s == pytest.approx(size * (BYTE_S + per_byte), rel=0.2)
    executor.decide(Decision(profile=True))
    executor.add(Batch("probes", RECORDS))
    (delta,) = executor.take()
    frames = frames_of(delta, 1, executor.shipping)
    executor.end_epoch()
    costs = executor.costs()
    assert costs is not None
    real = sum(len(one.body) for one in frames if one.kind == "drained" and one.cut == 0) / sum(
        one.rows for one in frames if one.kind == "drained" and one.cut == 0
    )
    assert costs[VERSION].drained_bytes[0] == pytest.approx(real)
    assert costs[VERSION].drained_bytes[0] != tried.drained_bytes[0]


def test_an_epoch_without_records_keeps_what_was_known(monkeypatch: pytest.MonkeyPatch) -> None:
    executor, before = profiled(Turned(monkeypatch), (1.0,) * 4)
    for _ in range(3):
        executor.decide(Decision({VERSION: (1.0,) * 4}, profile=True))
        executor.end_epoch()
    costs = executor.costs()
    assert costs is not None
    assert [one.cpu_s for one in costs[VERSION].operators] == pytest.approx([one.cpu_s for one in before.operators])
    assert costs[VERSION].drained_bytes == pytest.approx(before.drained_bytes)
    assert 0 < costs[VERSION].records < before.records


def test_a_query_that_has_met_no_record_has_guesses_and_no_nonsense() -> None:
    executor = Executor([PLAN], TABLES, "h")
    executor.decide(Decision(profile=True))
    executor.end_epoch()
    costs = executor.costs()
    assert costs is not None
    assert costs[VERSION].records == 0
    assert all(one.cpu_s > 0 and one.selectivity == 1 for one in costs[VERSION].operators)
    assert costs[VERSION].groups.distinct == 1


def test_checkpoint_epochs_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = Executor([PLAN], TABLES, "h", clock=Turned(monkeypatch))
    for _ in range(12):
        for profile in (False, True):
            executor.decide(Decision(profile=profile))
            executor.end_epoch()
        executor.take()
    executor.decide(Decision(profile=True))
    executor.end_epoch()
    costs = executor.costs()
    assert costs is not None
    assert costs[VERSION].groups.checkpoint_epochs == pytest.approx(2, abs=0.3)


def test_few_rows_tell_the_fixed_cost_and_many_the_slope() -> None:
    line = CostLine(256, 1.0)
    for rows in (10_000, 64, 64, 20_000, 64, 15_000, 64, 30_000):
        line.add(rows, 2e-4 + rows * 3e-7)
    line.add_more(0.0)
    for _ in range(5):
        line.forget()
        for rows in (64, 10_000):
            line.add(rows, 2e-4 + rows * 3e-7)
    assert line.slope_s == pytest.approx(3e-7, rel=0.05)
    assert line.fixed_s == pytest.approx(2e-4, rel=0.1)
    assert line.at(1000) == pytest.approx(5e-4, rel=0.1)
    assert line.at(0) == 0.0


def test_a_slope_outlives_epochs_without_rows_and_is_never_nothing() -> None:
    line = CostLine(256, 1e-7)
    assert line.slope_s == 1e-7
    line.add(1000, 0.0)
    assert line.slope_s == LEAST_S
    line.add(99_000, 1e-2)
    for _ in range(40):
        line.forget()
    assert line.slope_s == pytest.approx(1e-7, rel=0.1)


@given(distinct=st.integers(2, 50_000), records=st.integers(2, 200_000))
def test_the_number_of_groups_follows_from_how_many_were_met(distinct: int, records: int) -> None:
    met = round(-distinct * expm1(records * log1p(-1 / distinct)))
    found = distinct_evenly(met, records)
    again = -found * expm1(records * log1p(-1 / found)) if found > 1 else 1.0
    assert found >= max(1, met) * (1 - 1e-9)
    if met < records:
        assert again == pytest.approx(met, rel=1e-6, abs=0.01)


def test_groups_are_told_from_a_sample_by_those_met_once_and_twice() -> None:
    random = np.random.default_rng(1)
    counts = np.bincount(random.integers(0, 3000, 4000))
    assert chao1(counts[counts > 0]) == pytest.approx(3000, rel=0.1)
    assert chao1(np.array([5, 9, 7])) == 3
    assert chao1(np.array([], np.int64)) == 0
    assert chao1(np.ones(4096, np.int64)) > 1e6


def test_distinct_groups_come_from_the_sample_until_partials_held_more(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = probe_plan("SELECT rtt_us, count(*) AS n_total FROM probes GROUP BY TUMBLE(ts, INTERVAL '1' HOUR), rtt_us")
    random = np.random.default_rng(2)
    records = probe_records(1, 1).sample(60_000, with_replacement=True, seed=1)
    records = records.with_columns(rtt_us=pl.Series(random.integers(0, 10_000, 60_000)))
    executor = Executor([plan], TABLES, "h")
    executor.decide(Decision(profile=True))
    executor.add(Batch("probes", records))
    executor.end_epoch()
    (sampled,) = (executor.costs() or {}).values()
    assert sampled.groups.distinct == pytest.approx(10_000, rel=0.1)
    executor.decide(Decision({plan.version: (1.0,) * (len(plan.stages))}, profile=True))
    executor.add(Batch("probes", records.head(30_000)))
    (delta,) = executor.take()
    frames_of(delta, 1, executor.shipping)
    executor.end_epoch()
    (held,) = (executor.costs() or {}).values()
    assert held.groups.distinct == pytest.approx(10_000, rel=0.02)


def test_groups_met_before_in_the_interval_are_not_owed_again() -> None:
    executor = Executor([PLAN], TABLES, "h")
    (run,) = executor.runs
    gathered = Gathered(100, 100_000)
    assert run.profile.new_groups(100, gathered) == pytest.approx(100)
    assert run.profile.new_groups(100, gathered) == pytest.approx(0, abs=1e-6)
    run.profile.checkpoint()
    assert run.profile.new_groups(60, gathered) == pytest.approx(60)
    assert run.profile.new_groups(60, gathered) == pytest.approx(24)
    assert run.profile.new_groups(7, None) == 7


def test_a_partial_result_over_the_end_of_a_window_does_not_double_the_groups_there_are() -> None:
    shipped = Shipping(lambda: 0.0)
    found = []
    for groups in (40, 40, 40, 40, 80) * 4:
        shipped.encoded_groups("v", 3, Gathered(groups, 250_000), 330 * groups, 1e-3)
        gathered = shipped.gathered("v")
        assert gathered is not None
        found.append(gathered.distinct)
    assert max(found) < 60
    shipped.encoded_groups("v", 3, Gathered(35, 300), 35 * 330, 1e-3)
    assert shipped.gathered("v") == Gathered(35, 300)  # other shares: what was before says nothing of so few records


def test_sending_nothing_is_no_shipping_and_a_checkpoint_of_little_makes_no_byte_dear() -> None:
    shipped = Shipping(lambda: 0.0)
    before_s = shipped.row_s("v", 0)
    shipped.sent(0, 5.0)
    assert shipped.row_s("v", 0) == before_s
    for _ in range(50):
        shipped.stored(300, 5e-3)
        shipped.sent(300, 5e-3)
    assert shipped.row_s("v", 0) == pytest.approx(before_s, rel=0.01)
    for size in (200_000, 1_000_000, 600_000) * 4:
        shipped.stored(size, 5e-3 + size * 20e-9)
        shipped.sent(size, 5e-3 + size * 20e-9)
    assert shipped.row_s("v", 0) - before_s == pytest.approx(shipped.row_bytes("v", 0) * 2 * 12e-9, rel=0.2)


def test_a_few_rows_drained_at_every_checkpoint_do_not_make_a_row_dear() -> None:
    line = ShippingLine(1e-7, 5e-4)
    line.tried(64, 4e-4 + 64 * 6e-7, 4096, 4e-4 + 4096 * 6e-7)
    assert line.slope_s == pytest.approx(6e-7)
    for _ in range(100):
        line.add(300, 2e-3)
    assert line.slope_s < 3 * 6e-7  # their mean would be eleven times that
    for rows in (20_000, 80_000) * 10:
        line.add(rows, 2e-3 + rows * 3e-7)
    assert line.slope_s == pytest.approx(3e-7, rel=0.1)


def test_versions_that_run_no_longer_are_forgotten() -> None:
    shipped = Shipping(lambda: 0.0)
    shipped.encoded("old", 0, 10_000, 40_000, 1e-3)
    shipped.encoded_groups("old", 3, Gathered(10, 100), 400, 1e-3)
    assert (shipped.row_bytes("old", 0), shipped.group_bytes("old", 3)) == (4, 40)
    shipped.keep({"new"})
    assert shipped.gathered("old") is None
    assert shipped.row_bytes("old", 0) != 4


def test_a_source_that_goes_round_all_its_groups_is_not_taken_for_one_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that meets each group once in a turn: rows that follow each other are all of different groups."""
    plan = compile_query(
        "by_peer", "SELECT peer, count(*) AS n FROM s GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), peer",
        {"s": {"peer": "int64"}}, {},
    )  # fmt: skip
    rng = np.random.default_rng(1)
    peers = np.concatenate([rng.permutation(20_000) for _ in range(10)])
    rows = pl.DataFrame({"ts": np.arange(peers.size), "host": "h", "peer": peers})
    executor = Executor([plan], {}, "h", clock=Turned(monkeypatch))
    executor.decide(Decision(profile=True))
    for start in range(0, rows.height, 16_384):
        executor.add(Batch("s", rows.slice(start, 16_384)))
    executor.end_epoch()
    costs = executor.costs()
    assert costs is not None
    assert 10_000 < costs[plan.version].groups.distinct < 50_000


def test_what_is_drained_for_the_first_time_is_a_guess_only_in_its_first_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Turned(monkeypatch)
    executor = Executor([PLAN], TABLES, "h", "all-sp", clock=clock)
    executor.add(Batch("probes", RECORDS))
    guess_s = executor.shipping.row_s(VERSION, 0)
    executor.end_epoch()
    learnt_s = executor.shipping.row_s(VERSION, 0)
    body = len(pack_columns(executor.runs[0].chain.prepare(RECORDS).head(profiling.PROBE_ROWS)))
    assert learnt_s == pytest.approx(BYTE_S * body / profiling.PROBE_ROWS, rel=0.3)
    assert abs(guess_s - learnt_s) > 0.2 * learnt_s
    before_s = clock()
    executor.add(Batch("probes", RECORDS))
    executor.end_epoch()
    assert clock() == before_s  # once is enough


def test_bytes_of_a_trial_are_scaled_by_what_frames_of_another_cut_took() -> None:
    shipped = Shipping(lambda: 0.0)
    for cut, size_bytes in ((0, 8_000), (1, 12_000)):
        shipped.tried("v", cut, Trial(64, 1_000, 1e-4), Trial(1_000, size_bytes, 1e-3))
    assert (shipped.row_bytes("v", 0), shipped.row_bytes("v", 1)) == (8.0, 12.0)
    shipped.encoded("v", 0, 100_000, 400_000, 0.01)  # whole frames: half of what the sample took
    assert (shipped.row_bytes("v", 0), shipped.row_bytes("v", 1)) == (4.0, 6.0)
    shipped.tried("v", 0, Trial(64, 900, 1e-4), Trial(1_000, 5_000, 1e-3))
    assert shipped.row_bytes("v", 0) == 4.0, "a trial beside frames is a measure only"
    assert shipped.row_bytes("v", 1) == pytest.approx(9.6)
    shipped.encoded("v", 1, 100_000, 700_000, 0.01)
    assert shipped.row_bytes("v", 1) == 7.0


def test_groups_of_a_source_that_goes_round_its_peers_are_counted_by_rows_from_all_over() -> None:
    plan = compile_query(
        "pairs",
        "SELECT src, count(*) AS pairs_total FROM pairs GROUP BY TUMBLE(ts, INTERVAL '1' HOUR), src",
        {"pairs": {"src": "int64"}},
        {},
    )
    executor, peers = Executor([plan], {}, "h", "all-sp"), 5_000
    executor.decide(Decision({plan.version: (0.0, 0.0)}, {}, profile=True))
    for start in range(0, 40_000, 4_000):
        around = [at % peers for at in range(start, start + 4_000)]
        executor.add(Batch("pairs", pl.DataFrame({"ts": [START_NS + 1] * 4_000, "src": around})))
    executor.end_epoch()
    costs = executor.costs()
    assert costs is not None
    assert costs[plan.version].groups.distinct == pytest.approx(peers, rel=0.2)


@pytest.mark.parametrize("batches", [1, 3])
def test_an_aggregate_that_costs_by_its_groups_is_tried_on_as_many_as_batches_have(
    batches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is drained, so that only probes and trials tell; with several batches, what merging takes is in it."""
    plan = compile_query(
        "pairs",
        "SELECT src, count(*) AS pairs_total FROM pairs GROUP BY TUMBLE(ts, INTERVAL '1' HOUR), src",
        {"pairs": {"src": "int64"}},
        {},
    )
    rows, peers, group_s, merged_s = 100_000, 20_000, 8e-8, 4e-8
    now_s = 0.0
    aggregate, merge = Chain.aggregate, Partial.merge

    def aggregated(chain: Chain, of: pl.DataFrame) -> Partial:
        nonlocal now_s
        partial = aggregate(chain, of)
        now_s += FIXED_S + group_s * len(partial)
        return partial

    def merged(partials: list[Partial]) -> Partial:
        nonlocal now_s
        now_s += merged_s * sum(map(len, partials))
        return merge(partials)

    monkeypatch.setattr(Chain, "aggregate", aggregated)
    monkeypatch.setattr(Partial, "merge", merged)
    executor = Executor([plan], {}, "h", "all-sp", clock=lambda: now_s)
    executor.decide(Decision({plan.version: (0.0, 0.0)}, {}, profile=True))
    around = pl.DataFrame({"ts": [START_NS + 1] * rows, "src": [at % peers for at in range(rows)]})
    for _ in range(batches):
        executor.add(Batch("pairs", around))
        executor.run_waiting()
    executor.end_epoch()
    (costs,) = (executor.costs() or {}).values()
    each_s = peers * (group_s + (merged_s if batches > 2 else 0.0)) / rows
    assert costs.operators[-1].cpu_s == pytest.approx(each_s, rel=0.1)


@pytest.mark.parametrize("policy", ["all-sp", "all-src"])
def test_a_sample_that_no_frame_takes_is_halved_and_does_not_end_the_agent(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "MAX_UNPACKED_BYTES", 20_000)
    by_src = "SELECT src, count(*) AS src_total FROM probes GROUP BY TUMBLE(ts, INTERVAL '1' HOUR), src"
    plan = probe_plan(by_src, "by_src")
    records = RECORDS.head(1000).with_columns(src=pl.Series([f"{n:0100}" for n in range(1000)]))
    executor = Executor([plan], TABLES, "h", policy)
    executor.decide(Decision({plan.version: (float(policy == "all-src"),) * len(plan.stages)}, profile=True))
    executor.add(Batch("probes", records))
    executor.end_epoch()
    assert executor.dropped == {}
    costs = (executor.costs() or {})[plan.version]
    assert 1 < costs.drained_bytes[0] < 15  # zeros take no place: both are no guesses, which are 20 and 60
    assert 1 < costs.groups.group_bytes < 15
