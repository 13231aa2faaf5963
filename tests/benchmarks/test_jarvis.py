"""The benchmarks of adaptive partitioning: the quick run as a user starts it, and what its numbers rest on."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.cost_model import Groups, OperatorCosts, QueryCosts, predicted
from agents.policies import shares_for
from agents.shares import Policy
from benchmarks import documented
from benchmarks.jarvis.__main__ import TABLES
from benchmarks.jarvis.budgets import against_best
from benchmarks.jarvis.cells import Found, best_baseline, feasible
from benchmarks.jarvis.findings import found
from benchmarks.jarvis.free_draining import without_shipping
from benchmarks.jarvis.goals import TARGETS
from benchmarks.jarvis.host import Epoch, Host
from benchmarks.jarvis.load import Clock, Load
from benchmarks.jarvis.measured import WORKLOADS, Mean
from benchmarks.jarvis.plots import draw
from benchmarks.jarvis.settling import epochs_to_stable
from benchmarks.jarvis.sizing import QUICK
from benchmarks.jarvis.taking_in import take_in
from benchmarks.jarvis.throughput import Limits, Tried, largest
from benchmarks.jarvis.workloads import (
    FAILED,
    MATCHING,
    RELAYED_SERVERS,
    log_analytics,
    logs,
    probes,
    rack_to_rack,
    relayed,
    server_to_server,
)
from pipeline.chain import Chain
from pipeline.manifest import MANIFEST_SCHEMA
from quantiles._kernels import choice
from wire.columns import unpack_columns
from wire.frame import decode_frame

ROOT = Path(__file__).resolve().parents[2]
TARGET_LINE = re.compile(r"TARGET (jarvis\.\w+) (reached|missed) (nan|inf|-?[0-9.]+) goal(>=|<=)([0-9.e+]+)")

# As the issue names them.
WANTED = {
    "jarvis.epochs_to_stable_p50": "<=5",
    "jarvis.epochs_to_stable_p95": "<=8",
    "jarvis.bytes_vs_best_baseline": "<=1.03",
    "jarvis.bytes_gain_over_best_op": ">=1.5",
    "jarvis.throughput_gain_constrained": ">=1.2",
    "jarvis.agents_per_collector": ">=1.75",
    "jarvis.adaptation_overhead_pct": "<=3",
    "jarvis.chain_records_per_s": ">=1e+07",
    "jarvis.chain_vs_polars": ">=1",
    "jarvis.chain_vs_polars_1m": ">=0.7",
    "jarvis.chain_vs_polars_text_keys": ">=0.7",
}
UNLIMITED_S = 1000.0


@pytest.fixture(autouse=True)
def _own_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measurements choose kernels for the whole process; afterwards the choice is what it was."""
    monkeypatch.setattr(choice, "_chosen", dict(choice._chosen))


@pytest.mark.system
def test_the_quick_run_gives_every_target_once_and_a_result_file_and_plots(tmp_path: Path) -> None:
    out = tmp_path / "jarvis.json"
    command = [sys.executable, "-m", "benchmarks.jarvis", "--out", str(out)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"QUICK": "1"}, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = [line for line in done.stdout.splitlines() if line.startswith("TARGET")]
    matches = [TARGET_LINE.fullmatch(line) for line in lines]
    assert None not in matches, lines
    assert {m[1]: f"{m[4]}{m[5]}" for m in matches if m} == WANTED
    assert len(lines) == len(WANTED)
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["quick"] is True
    assert {table["name"] for table in content["tables"]} >= set(TABLES) - {"chain"}
    assert " failed:" not in done.stdout
    for name in ("bytes-over-budget.png", "shares-over-epochs.png"):
        assert (tmp_path / name).stat().st_size > 10_000
    assert "- *log analytics*: draining costs" in "\n".join(found(content))


def test_the_targets_are_those_of_the_issue() -> None:
    assert {target.id: f"{target.sense}{target.goal:g}" for target in TARGETS} == WANTED


def test_records_are_as_large_and_as_mixed_as_the_page_says() -> None:
    assert server_to_server().record_bytes == pytest.approx(86, rel=0.03)
    rows = probes(50_000, 1)
    assert (rows["err"] != 0).mean() == pytest.approx(FAILED, abs=0.01)
    assert rows["dst"].n_unique() == 20_000
    lines = logs(20_000, 1)["line"]
    assert lines.str.contains("Stat=", literal=True).mean() == pytest.approx(MATCHING, abs=0.01)


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_record_of_a_workload_that_passes_its_filter_ends_in_a_group(name: str) -> None:
    workload = WORKLOADS[name]()
    rows = workload.records(5_000, 3)
    partial = workload.chain.finish(workload.chain.prepare(rows), after=0)
    wanted = (rows["err"] == 0).sum() if name != "log analytics" else rows["line"].str.contains("Stat=").sum()
    assert partial.keys["rows"].sum() == wanted
    if name == "log analytics":
        assert "" not in partial.keys["tenant"].to_list()


def test_a_larger_table_joins_the_same_records() -> None:
    small, large = rack_to_rack(), rack_to_rack(40_000)
    assert small.plan.version != large.plan.version
    rows = small.records(2_000, 1)
    both = [Chain(one.plan, one.tables) for one in (small, large)]
    assert len({len(chain.finish(chain.prepare(rows), after=0)) for chain in both}) == 1


def test_an_epoch_holds_its_records_at_its_own_times() -> None:
    load = Load(log_analytics(), 1_000, 0.25)
    first, third = (load.epoch(number) for number in (0, 2))
    assert sum(batch.rows.height for batch in third) == 1_000
    assert third[0].rows["ts"][0] - first[0].rows["ts"][0] == 500_000_000
    assert first[-1].rows["ts"][-1] - first[0].rows["ts"][0] < 250_000_000


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.5])
def test_another_rate_is_the_same_mixture(factor: float) -> None:
    load = Load(log_analytics(), 2_000, 0.25).at_rate(factor)
    assert load.records == 2_000 * factor
    matching = sum(batch.rows["line"].str.contains("Stat=").sum() for batch in load.epoch(0))
    assert matching / load.records == pytest.approx(MATCHING, abs=0.04)


def test_the_clock_stands_while_the_benchmark_works_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 10.0
    monkeypatch.setattr("benchmarks.jarvis.load.time.process_time", lambda: now_s)
    clock = Clock()
    began_s = clock()
    now_s = 11.0
    with clock.excluded():
        now_s = 15.0
        assert clock() - began_s == 1.0
    now_s = 15.5
    assert clock() - began_s == 1.5
    with clock.excluded(), pytest.raises(RuntimeError, match="stands"), clock.excluded():
        pass


@pytest.mark.parametrize("shares", [(1.0, 1.0, 1.0, 1.0), (0.0, 0.0, 0.0, 0.0), (1.0, 0.5, 1.0, 0.5)])
def test_a_host_with_shares_told_sends_every_record_and_a_collector_takes_its_frames(shares: tuple[float, ...]) -> None:
    workload = log_analytics()
    load = Load(workload, 2_000, QUICK.epoch_s)
    with Host(load, "adaptive", UNLIMITED_S, QUICK, fixed={workload.plan.version: shares}) as host:
        host.take_payloads()
        epochs = host.run(4)
        payloads = host.take_payloads()
    manifest: dict[str, int] = {}
    for frame in map(decode_frame, payloads):
        if frame.header.kind == "manifest":
            for _, item, rows in unpack_columns(frame.body, dict(MANIFEST_SCHEMA)).iter_rows():
                manifest[item] = manifest.get(item, 0) + rows
    assert manifest["in"] == 4 * 2_000
    assert manifest["in"] == sum(rows for item, rows in manifest.items() if item != "in")
    assert sum(epoch.wire_bytes for epoch in epochs) == sum(map(len, payloads))
    assert ("local" in manifest) == (shares[-1] > 0)
    assert take_in(workload, payloads, agents=2).frames == 2 * sum(
        decode_frame(one).header.kind in ("partial", "drained", "manifest") for one in payloads
    )


def test_a_host_that_adapts_profiles_and_then_aggregates_within_a_budget_for_all() -> None:
    load = Load(server_to_server(), 2_000, QUICK.epoch_s)
    with Host(load, "adaptive", UNLIMITED_S, QUICK) as host:
        epochs = host.run(7)
        assert "profile" in {epoch.state for epoch in epochs}
        assert host.runtime.models
        assert host.taken[0] == (0.0,) * 3
    assert max(epoch.overflow for epoch in epochs) == 0


def _epoch(**changed: Any) -> Epoch:
    calm = Epoch(1.0, 1.0, 1.0, 100, 10, 0.0, (1.0, 0.5), "probe", could_save=True, sampled=1.0)
    return replace(calm, **changed)


CALM = _epoch()


@pytest.mark.parametrize(
    "restless",
    [
        _epoch(state="profile"), _epoch(state="startup"), _epoch(overflow=0.06), _epoch(charged_s=1.25),
        _epoch(charged_s=0.5), _epoch(kept=(1.0, 0.44)),
    ],
)  # fmt: skip
def test_stable_begins_behind_the_last_epoch_that_was_not(restless: Epoch) -> None:
    assert epochs_to_stable([CALM] * 4, 4) == 1
    assert epochs_to_stable([restless, CALM, CALM, restless, CALM, CALM, CALM, CALM, CALM], 4) == 5
    assert epochs_to_stable([CALM, CALM, CALM, restless, CALM, CALM, CALM], 4) is None


def test_the_rhythm_of_checkpoints_is_no_unrest_nor_is_what_nothing_can_use() -> None:
    swinging = [_epoch(charged_s=cpu_s) for cpu_s in (0.93, 1.08, 0.95, 1.02)]
    assert epochs_to_stable(swinging, 4) == 1
    idle = [_epoch(charged_s=0.4, could_save=could_save) for could_save in (False, True) for _ in range(4)]
    assert epochs_to_stable(idle[:4], 4) == 1
    assert epochs_to_stable(idle[4:], 4) is None


def _found(wire_bytes: float, cpu_s: float, sampled: float = 1.0) -> Found:
    return Found(Mean(cpu_s, wire_bytes, 0.0, (1.0,), 1, sampled), 1.0)


def test_only_what_keeps_to_the_budget_is_compared() -> None:
    others: dict[Policy, Found] = {"all-src": _found(10, 1.2), "all-sp": _found(100, 0.9), "best-op": _found(80, 1.04)}
    assert against_best({"adaptive": _found(40, 1.0), **others}) == 0.5
    assert against_best({"adaptive": _found(40, 1.2), **others}) == float("inf")
    assert best_baseline({"adaptive": _found(40, 1.0), **others}) == "best-op"


def test_a_budget_that_no_policy_keeps_is_infeasible_and_thinning_out_keeps_none() -> None:
    over: dict[Policy, Found] = {"adaptive": _found(40, 1.2), "all-src": _found(10, 1.2), "all-sp": _found(100, 1.3)}
    assert not feasible(over)
    assert against_best(over) is None
    barely: dict[Policy, Found] = {**over, "all-sp": _found(100, 1.04)}
    assert not feasible(barely)
    thinned: dict[Policy, Found] = {**over, "adaptive": _found(40, 1.0, sampled=0.8)}
    assert not feasible(thinned)
    alone: dict[Policy, Found] = {**over, "adaptive": _found(40, 1.0)}
    assert feasible(alone)
    assert against_best(alone) == 0.0


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [
        (Limits(10.0, 1e9), (1.25, "CPU")),
        (Limits(1e9, 250.0), (1.5, "link")),
        (Limits(4.0, 1e9), (0.5, "CPU")),
        (Limits(1e9, 1e9), (2.0, "highest tried")),
    ],
)
def test_a_rate_is_kept_up_with_until_cpu_or_link_is_used_up(limits: Limits, wanted: tuple[float, str]) -> None:
    tried = [Tried(rate, Mean(8.0 * rate, sent, 0.0, (1.0,), 1)) for rate, sent in ((1.0, 100.0), (2.0, 400.0))]
    assert largest(tried, limits) == wanted
    noisy = Tried(0.5, Mean(1e12, 1e12, 0.0, (1.0,), 1))
    assert largest([noisy, *tried], limits) == (wanted if wanted[0] >= 1 else (0.5 * 4 / 1e12, "CPU"))


def test_a_relay_takes_in_the_probes_of_many_servers() -> None:
    rows = relayed(20_000, 1)
    assert rows["src"].n_unique() == RELAYED_SERVERS
    assert rows["dst"].n_unique() > 19_000
    assert rows.columns == probes(10, 1).columns


def test_free_draining_promises_more_than_it_can_keep() -> None:
    groups = Groups(distinct=10, group_bytes=10, group_s=1e-6, checkpoint_epochs=2)
    costs = QueryCosts(1e5, (OperatorCosts(2e-6, 1.0), OperatorCosts(1e-6, 1.0)), (20.0, 10.0), (1e-6, 5e-7), groups)
    version, kinds = "v", {"v": ("filter", "aggregate")}
    allowance_s = 0.5 * predicted(without_shipping(costs), (1.0, 1.0)).cpu_s
    shares = shares_for("adaptive", {version: without_shipping(costs)}, kinds, allowance_s)[version]
    assert predicted(without_shipping(costs), shares).cpu_s == pytest.approx(allowance_s, rel=0.01)
    assert predicted(costs, shares).cpu_s > 1.2 * allowance_s


def test_plots_are_drawn_of_what_is_there(tmp_path: Path) -> None:
    rows = [
        {"workload": "w", "policy": policy, "budget": 100 * share, "bytes": 10.0, "keeps": "yes"}
        for policy in ("adaptive", "best-op")
        for share in (0.2, 1.0)
    ]
    assert draw({"tables": []}, tmp_path) == []
    drawn = draw({"tables": [{"name": "budgets", "rows": rows}]}, tmp_path / "plots")
    assert [path.name for path in drawn] == ["bytes-over-budget.png"]
    assert drawn[0].stat().st_size > 5_000


def _table(name: str, *rows: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "rows": rows}


def test_what_was_found_says_where_no_split_pays_and_what_one_is_worth() -> None:
    costs = {"drained_us": 0.2, "local_us": 0.1, "drained_bytes": 6.0, "local_bytes": 0.03, "least": 100.0}
    within = {"feasible": "yes", "best": "filter-src", "gain": 1.5, "closed": 1.6, "settled": 4}
    content = {
        "tables": [
            _table("costs", {"workload": "a", "ratio": 2.0, **costs}, {"workload": "b", "ratio": 0.4, **costs}),
            _table(
                "outcome",
                {"workload": "a", "budget": 60.0, "feasible": "no"},
                {"workload": "b", "budget": 60.0, "ratio": 0.7, **within},
                {"workload": "b", "budget": 80.0, "ratio": None, **within},
            ),
        ]
    }  # fmt: skip
    a, b = (line for line in found(content) if line.startswith("- "))
    assert "2.00 times the CPU" in a
    assert "200 times" in a
    assert "no split to be found. Infeasible budgets: 60 %." in a
    assert "0.70 at 60 % (filter-src), at 80 % it takes more than the budget, filter-src does not." in b
    assert "1.50 at 60 % (closed form 1.60)" in b
    assert found({"tables": []}) == []


def test_the_page_names_every_table_and_target() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    begin, end = documented.marks("jarvis")
    written = text.partition(begin)[0] + text.partition(end)[2]  # by hand, not by the last run
    for name in TABLES:
        assert f"`{name}`" in written, name
    for target in WANTED:
        assert f"`{target}`" in written, target
