"""The benchmarks of adaptive parallelism: the quick run as a user starts it, and what its numbers stand beside."""

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from analytics.tail.causes import CAUSES, NOT_SLOW
from analytics.tail.policies import Fixed, Predictive, Sequential, Server
from analytics.tail.simulation import simulate
from analytics.tail.speedup import WEB_SEARCH
from benchmarks import documented
from benchmarks.tail.__main__ import TABLES
from benchmarks.tail.goals import LOADS, TARGETS
from benchmarks.tail.peers import plain_python, plain_queue
from benchmarks.tail.recorded import SERVER, recording
from benchmarks.tail.service_times import REAL_VARIABLE, SYNTHETIC, workloads
from benchmarks.tail.serving import policies
from benchmarks.tail.simulating import TPC, erlang_c
from benchmarks.tail.telling import TARGET_MS, true_causes
from examples.parallel_service.degree_table import Load

ROOT = Path(__file__).resolve().parents[2]
TARGET_LINE = re.compile(r"TARGET (tail\.\w+) (reached|missed) (nan|-?[0-9.]+) goal(>=|<=)([0-9.e+]+)")

# As the issue names them, with a line of its own for each of two bounds; "below 1" is a thousandth below.
WANTED = {
    "tail.p999_gain_over_no_correction_pct": ">=30",
    "tail.p999_gain_over_no_correction_at_60_pct": ">=25",
    "tail.p99_vs_best_baseline": "<=1.05",
    "tail.p99_vs_best_baseline_to_45": "<=0.999",
    "tail.mean_vs_sequential_at_80": "<=1.1",
    "tail.simulator_requests_per_s": ">=5e+06",
    "tail.whatif_p99_error_pct": "<=6",
    "tail.whatif_answered_share": ">=0.7",
    "tail.whatif_answers_off_by_20_pct": "<=0",
    "tail.whatif_p99_error_real_pct": "<=15",
    "tail.attribution_agreement": ">=0.95",
}
SHOWN = {
    "policies_1", "policies_2", "simulating_rates", "simulating_formula", "asking_cases", "asking_gates", "telling",
    "serving_runs", "serving_forecasts",
}  # fmt: skip


@pytest.mark.system
def test_the_quick_run_gives_every_target_once_and_a_result_file(tmp_path: Path) -> None:
    out = tmp_path / "tail.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.tail", "--out", str(out)],
        cwd=ROOT, env=os.environ | {"QUICK": "1"}, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = [line for line in done.stdout.splitlines() if line.startswith("TARGET")]
    matches = {m[1]: m for line in lines if (m := TARGET_LINE.fullmatch(line))}
    assert {name: f"{m[4]}{m[5]}" for name, m in matches.items()} == WANTED
    assert len(lines) == len(WANTED)
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["quick"] is True
    assert {table["name"] for table in content["tables"]} | {"policies_2"} == SHOWN
    remarks = {target["id"]: target["remark"] for target in content["targets"]}
    assert "it was not measured" not in remarks.values()


def test_the_targets_are_those_of_the_issue() -> None:
    assert {target.id: f"{target.sense}{target.goal:g}" for target in TARGETS} == WANTED


def test_peers_come_to_the_same_latencies() -> None:
    requests = SYNTHETIC.campaign([0.8], 3_000, 12, 5)[0.8]
    ours = simulate(requests, Server(), WEB_SEARCH, TPC)
    assert ours.raises > 50
    assert np.allclose(plain_python(requests, Server(), WEB_SEARCH, TPC), ours.latencies_ms, atol=1e-6)
    queue = Server(threads=12, workers=12, max_degree=1)
    alone = simulate(requests, queue, WEB_SEARCH, Sequential()).latencies_ms
    assert np.allclose(plain_queue()(requests, 12), alone, atol=1e-6)


def test_erlang_c_is_what_books_say() -> None:
    assert erlang_c(1, 0.7) == pytest.approx(0.7)
    assert erlang_c(2, 0.5) == pytest.approx(1 / 3)


def test_recordings_tell_what_the_simulator_did_and_no_more() -> None:
    seen = recording(SYNTHETIC, 0.7, Predictive(3), 5_000, 0.05, 3)
    samples, run = seen.samples, seen.run
    assert len(samples) == 5_000
    assert np.allclose(samples.latencies_ms, run.latencies_ms, atol=1e-5)
    assert np.array_equal(samples.degrees, run.first_degrees)
    assert 150 < np.count_nonzero(samples.explored) < 350
    assert np.all(np.isnan(samples.cpu_ms))
    place = int(np.argmax(run.queued))
    start, arrivals = run.starts_ms[place], run.requests.arrivals_ms
    here = np.count_nonzero((arrivals <= start) & (run.ends_ms > start)) - 1
    assert samples.in_system[place] == here > SERVER.workers / 3


def test_the_true_cause_is_the_first_that_holds() -> None:
    for policy, load, most in ((Sequential(), 0.3, "under_parallel"), (Fixed(3), 0.5, "queueing")):
        run = recording(SYNTHETIC, load, policy, 20_000, 0.01, 4).run
        causes = true_causes(run)
        assert np.array_equal(causes == NOT_SLOW, run.latencies_ms <= TARGET_MS)
        shares = [np.count_nonzero(causes == place) for place in range(len(CAUSES))]
        assert CAUSES[int(np.argmax(shares))] == most
    assert set(np.unique(true_causes(run, target_ms=0.1))) == {CAUSES.index("intrinsic")}


def test_measured_times_are_named_as_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REAL_VARIABLE, raising=False)
    found, told = workloads()
    assert found == [SYNTHETIC]
    assert told == "Lucene skipped: TAILWATCH_TEST_DATA names no folder with service_times/searchbench_times.csv.gz"


def test_the_reference_server_runs_the_policies_that_are_forecast() -> None:
    rng, idle = random.Random(2), Load(0, 0, 0, 0)
    degrees = {}
    for policy, choose in policies().items():
        chosen = [choose(predicted_ms, idle, rng) for predicted_ms in [1.0] * 50 + [50.0] * 50]
        degrees[policy.name] = [one.degree for one in chosen if not one.explored]
    short, long = [1] * 30, [2] * 30
    assert {name: (found[:30], found[-30:]) for name, found in degrees.items()} == {
        "sequential": (short, short), "predictive d=2": (short, long), "tpc": (short, long),
    }  # fmt: skip


def test_the_page_names_every_table_and_target() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    begin, end = documented.marks("tail")
    written = text.partition(begin)[0] + text.partition(end)[2]  # by hand, not by the last run
    for name in (*TABLES, *WANTED):
        assert f"`{name}`" in written, name
    assert sorted(LOADS) == list(LOADS)
