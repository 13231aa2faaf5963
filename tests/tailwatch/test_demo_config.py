"""The configuration of a first demo: it is sound, and made-up jobs go where it reads."""

from pathlib import Path

import polars as pl
import pytest

from agents.sources.configs import LogsConfig
from analytics.gpu.made_up_jobs import made_up_attempts
from pipeline.chain import Chain
from tailwatch.demo_config import check_job_logs, first_config
from tailwatch.demo_gpu_jobs import FOLDER, path_of
from tailwatch.errors import ConfigError
from tailwatch.query_set import compiled
from tailwatch.settings import Loaded, load_settings

QUERY = "job_logs"


def loaded(folder: Path, *, gpu_jobs: bool) -> Loaded:
    path = folder / "tailwatch.yaml"
    path.write_text(first_config(folder, gpu_jobs=gpu_jobs), encoding="utf-8")
    return load_settings(path, environment={})


def test_a_demo_without_gpu_jobs_reads_no_logs(tmp_path: Path) -> None:
    found = loaded(tmp_path, gpu_jobs=False)
    compiled(found)
    assert not any(isinstance(source, LogsConfig) for source in found.settings.agent.sources)
    with pytest.raises(ConfigError, match=r"choose a new folder with --data"):
        check_job_logs(found.settings, tmp_path / "tailwatch.yaml")


def test_a_demo_with_gpu_jobs_reads_the_logs_that_they_write(tmp_path: Path) -> None:
    found = loaded(tmp_path, gpu_jobs=True)
    check_job_logs(found.settings, tmp_path / "tailwatch.yaml")
    (source,) = [each for each in found.settings.agent.sources if isinstance(each, LogsConfig)]
    assert source.paths == (str(tmp_path / FOLDER / "**/*.log"),)
    (attempt, *_) = [one for one in made_up_attempts(300, 1, 1.0) if one.story == "gpu-off-the-bus" and one.gpus == 16]
    lines = [(str(path_of(tmp_path / FOLDER, attempt, place)), line) for place, line in enumerate(attempt.lines)]
    (plan,) = [plan for plan in compiled(found).plans if plan.query == QUERY]
    rows = pl.DataFrame(
        {
            "ts": [1_795_330_800 * 10**9 + int(line.at_s * 1e9) for _, line in lines],
            "host": ["here"] * len(lines),
            "file": [file for file, _ in lines],
            "text": [line.text for _, line in lines],
            "place": list(range(len(lines))),
        }
    )
    partial = Chain(plan, {}).finish(rows, 0)
    keys = {name: partial.keys[name].to_list() for name in plan.labels}
    groups = set(zip(*(keys[name] for name in ("job", "node", "rank", "source")), strict=True))
    ranks = {(attempt.job, line.node, str(line.rank), "") for _, line in lines if line.rank is not None}
    kernel = {("", line.node, "", "kernel") for _, line in lines if line.rank is None}
    assert groups == ranks | kernel
