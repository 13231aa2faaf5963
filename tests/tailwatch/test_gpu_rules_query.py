"""`tailwatch gpu rules query`: a query that runs, keeps what rules match, and tells jobs by their files."""

import json
from itertools import accumulate
from pathlib import Path

import polars as pl
import pytest

from agents.sources.streams import BUILTIN_STREAMS, JOB_LOGS
from analytics.gpu.line_filter import LineFilter
from pipeline.chain import Chain
from pipeline.plan import Plan
from pipeline.schema import polars_schema
from pipeline.sql import compile_query
from tailwatch.cli import main
from tailwatch.gpu_log_query import LAYOUTS, job_log_query
from tailwatch.settings import load_settings

SITE = """
signatures:
  - {id: ours, reason: network_conn, role: root, pattern: 'badge reader asleep', examples: ['badge reader asleep']}
"""
KERNEL = "/var/log/kern.log"
ANY = LineFilter(".", rules=1, texts=1, longest=1)


def printed(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    assert main(["gpu", "rules", "query", *flags]) == 0
    return capsys.readouterr().out


def plan_of(sql: str) -> Plan:
    return compile_query("job_logs", sql, BUILTIN_STREAMS, {})


def projected(sql: str, rows: list[tuple[str, str]], places: list[int] | None = None) -> pl.DataFrame:
    """What the chain makes of (file, line) before it aggregates."""
    chain = Chain(plan_of(sql), {})
    files, texts = zip(*rows, strict=True)
    columns = {"ts": 0, "host": "n1", "file": files, "place": places or range(len(rows)), "text": texts}
    frame = chain.prepare(pl.DataFrame(columns, schema=polars_schema(JOB_LOGS)))
    for stage in range(1, chain.row_stages + 1):
        frame = chain.apply(stage, frame)
    return frame


def test_the_query_has_the_labels_and_metrics_that_the_collectors_job_expects(
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan = plan_of(printed(capsys))
    assert plan.source == "job_logs"
    assert {each.alias: each.function for each in plan.aggregates} == {
        "job_log_first_lines": "first_lines", "job_log_last_lines": "last_lines",
        "job_log_sampled_lines": "last_lines", "job_log_lines_total": "count",
    }  # fmt: skip
    assert plan.labels == ["job", "node", "rank", "file", "source"]
    pods = plan_of(job_log_query(ANY, LAYOUTS["kubernetes"]))
    assert pods.labels == ["job", "node", "file", "source"]


def test_lines_that_rules_match_are_kept_and_ordinary_ones_are_not(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    lines = [
        "step 7 | loss 2.25 | 81 tokens/s",
        "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried",
        "badge READER asleep",
    ]
    rows = projected(printed(capsys), [("/x/slurm-7.out", line) for line in lines])
    assert rows["job_log_first_lines"].to_list() == [None, lines[1], None]
    assert rows["job_log_last_lines"].to_list() == lines
    (tmp_path / "ours.yaml").write_text(SITE)
    rows = projected(printed(capsys, "--rules", str(tmp_path / "ours.yaml")), [("/x/slurm-7.out", lines[2])])
    assert rows["job_log_first_lines"].to_list() == [lines[2]]


def test_a_line_a_kilobyte_is_sampled_and_none_that_is_longer() -> None:
    texts = ["a" * 1_000, "b" * 22, "c", "d" * 900, "e" * 2_000, "f" * 40, "g" * 170, "h" * 1_023, "i"]
    ends = list(accumulate(len(text) + 1 for text in texts))
    assert ends[1] == 1_024  # the next kilobyte begins with the next line
    rows = projected(job_log_query(ANY, LAYOUTS["slurm"]), [("/x", text) for text in texts], [0, *ends[:-1]])
    assert rows["job_log_sampled_lines"].drop_nulls().to_list() == [texts[1], texts[6], texts[7]]


@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        ("/jobs/slurm-4711.out", ("4711", None, None)),
        ("/jobs/slurm-4711_12.out", ("4711_12", None, None)),
        ("/jobs/slurm-4711_12-3.err", ("4711_12", "3", None)),
        ("/jobs/job-4711-0.out", ("4711", "0", None)),
        ("/runs/train.log", (None, None, None)),
        ("/var/log/slurm/slurmd.log", (None, None, "scheduler")),
        ("/var/log/messages", (None, None, "kernel")),
    ],
)
def test_paths_tell_job_rank_and_source(file: str, wanted: tuple[str | None, ...]) -> None:
    rows = projected(job_log_query(ANY, LAYOUTS["slurm"]), [(file, "x")])
    assert rows.select("job", "rank", "source").row(0) == wanted


@pytest.mark.parametrize(
    ("pod", "job"),
    [
        ("llama-7b-worker-3", "llama-7b"), ("llama-7b-master-0", "llama-7b"), ("llama-7b-11-x7k2p", "llama-7b"),
        ("llama-7b-x7k2p", "llama-7b"), ("llama", None),
    ],
)  # fmt: skip
def test_pods_are_called_after_their_job(pod: str, job: str | None) -> None:
    files = [f"/var/log/pods/training_{pod}_0f3c-77/main/0.log", KERNEL]
    rows = projected(job_log_query(ANY, LAYOUTS["kubernetes"]), [(file, "x") for file in files])
    assert rows.select("job", "source").rows() == [(job, None), (None, "kernel")]


def test_a_site_says_where_its_paths_tell_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    sql = printed(capsys, "--job", "/it's/([^/]+)/", "--rank", r"rank(\d+)")
    assert projected(sql, [("/it's/o'hara/rank12.log", "x")]).select("job", "rank").row(0) == ("o'hara", "12")


def test_the_query_can_be_posted_and_configured(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    sql = printed(capsys)
    posted = json.loads(printed(capsys, "--output", "json"))
    assert posted == {"name": "job_logs", "sql": sql}
    path = tmp_path / "tailwatch.yaml"
    path.write_text(printed(capsys, "--output", "yaml"))
    (query,) = load_settings(path, environment={}).settings.queries
    assert (query.name, query.sql) == ("job_logs", sql)


@pytest.mark.parametrize(("job", "told"), [("(x", "unclosed group"), ("x", "has no group 1, it has 0")])
def test_an_expression_that_tells_no_job_is_refused_with_its_place(
    capsys: pytest.CaptureFixture[str], job: str, told: str
) -> None:
    assert main(["gpu", "rules", "query", "--job", job]) == 1
    said = capsys.readouterr().err
    assert told in said
    assert "REGEXP_EXTRACT(file, " in said
