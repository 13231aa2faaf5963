"""The examples that follow logs of GPU jobs: settings that load, files that are mounted, lines that are read."""

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from agents.sources.configs import LogsConfig
from agents.sources.logs import LogsSource
from agents.sources.streams import JOB_LOGS
from tailwatch.gpu_log_query import LAYOUTS
from tailwatch.settings import load_settings
from tests.deploy.deployed import DEPLOY
from tests.deploy.test_kubernetes import pods, rendered

KUBERNETES = DEPLOY / "kubernetes/gpu-jobs"
SLURM = DEPLOY / "slurm"
EXAMPLES = {"kubernetes": KUBERNETES / "config/agent.yaml", "slurm": SLURM / "agent.yaml"}
JOBS_FILES = {
    "kubernetes": "/var/log/pods/training_llama-worker-3_0f3c-77/pytorch/1.log",
    "slurm": "/var/log/jobs/slurm-4711-3.out",
}


def logs_of(example: str) -> list[LogsConfig]:
    sources = load_settings(EXAMPLES[example], environment={}).settings.agent.sources
    return [source for source in sources if isinstance(source, LogsConfig)]


@pytest.mark.parametrize("example", EXAMPLES)
def test_jobs_logs_and_the_kernels_go_into_the_stream_that_the_query_reads(example: str) -> None:
    entries = logs_of(example)
    assert {entry.stream or "job_logs" for entry in entries} == {"job_logs"}
    patterns = [path for entry in entries for path in entry.paths]
    assert any(fnmatchcase(JOBS_FILES[example], pattern) for pattern in patterns)
    assert "/var/log/kern.log" in patterns
    base = DEPLOY / ("kubernetes/base/config/agent.yaml" if example == "kubernetes" else "systemd/agent.yaml")
    usual = [line for line in base.read_text(encoding="utf-8").splitlines() if line.strip()[:1] not in ("", "#")]
    written = EXAMPLES[example].read_text(encoding="utf-8").splitlines()
    assert [line for line in usual if line not in written] == [], "what the usual agent has is there, too"


def test_lines_of_containers_lose_their_heads_and_keep_their_times(tmp_path: Path) -> None:
    (entry,) = (one for one in logs_of("kubernetes") if one.pattern == "regex")
    path = tmp_path / "0.log"
    head = "2026-11-22T10:00:00.123456789Z stderr F "
    path.write_bytes(f"{head}ValueError: 3 > 2\n{head}\n{head}10 %\r20 % done\n".encode())
    here = LogsConfig(
        (str(path),), entry.pattern, stream=entry.stream, regex=entry.regex, time_column="at", begin="beginning"
    )
    source = LogsSource(here, JOB_LOGS, clock_ns=lambda: 1_795_350_000 * 10**9)
    source.open(None)
    rows = source.poll()[0].rows
    source.close()
    assert rows["text"].to_list() == ["ValueError: 3 > 2", "20 % done"]
    assert {ts % 10**9 for ts in rows["ts"]} == {123_456_789}


def test_agents_of_kubernetes_may_read_the_folder_that_their_configuration_names() -> None:
    (agent,) = (template for name, template in pods(rendered(KUBERNETES)).items() if name == "DaemonSet agent")
    (container,) = agent["spec"]["containers"]
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert mounts["/var/log"]["readOnly"] is True
    assert all(path.startswith("/var/log/") for entry in logs_of("kubernetes") for path in entry.paths)
    assert {volume["name"] for volume in agent["spec"]["volumes"]} == {mount["name"] for mount in mounts.values()}
    assert agent["spec"]["securityContext"]["runAsNonRoot"] is True
    assert agent["spec"]["securityContext"]["supplementalGroups"] == [0, 4]


def test_the_unit_of_a_compute_node_opens_no_more_than_reading() -> None:
    text = (SLURM / "agent-gpu-jobs.conf").read_text(encoding="utf-8")
    given = dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    assert given["CapabilityBoundingSet"] == given["AmbientCapabilities"] == "CAP_DAC_READ_SEARCH"
    assert given["ProtectHome"] == "read-only"
    assert int(given["LimitNOFILE"]) > sum(entry.max_files for entry in logs_of("slurm"))


def test_layouts_know_the_files_of_the_examples() -> None:
    assert set(LAYOUTS) == set(EXAMPLES)
