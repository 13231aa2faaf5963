"""Logs of jobs from files through an agent and a collector into the database, and out again to a diagnosis."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

import pytest

from agents.agent import Agent
from agents.config import AgentConfig
from agents.sources.configs import LogsConfig
from agents.sources.logs import LogsSource
from agents.sources.streams import BUILTIN_STREAMS
from analytics.gpu.classifier import diagnose
from analytics.gpu.cleaning import Origin
from analytics.gpu.line_filter import line_filter
from analytics.gpu.scanning import Scanner
from analytics.gpu.signature_files import shipped_signatures
from collector.config import CollectorConfig
from collector.jobs.config import GpuConfig, JobsConfig
from collector.jobs.gpu_jobs import GpuRounds
from collector.plans import Plans
from collector.runner import Collector
from pipeline.line_rule import FIRST, LAST, Rule
from pipeline.sql import compile_query
from pipeline.states import KeptLine, LinesState
from store.connect import open_engine
from store.gpu_attempts import AttemptRow, put_attempts
from store.gpu_failures import failures_of
from store.registry import register_queries
from store.windows import Selection, merged
from tailwatch.gpu_log_query import LAYOUTS, job_log_query
from tests.agents.world import MACHINE, publisher_to
from tests.collector.jobs.gpu_world import PLANS
from tests.collector.timeless import timeless
from tests.kept_lines import exactly
from wire.embedded import EmbeddedPublisher, EmbeddedSubscriber

HOUR_NS = 3_600 * 10**9
PLAN = compile_query(
    "job_logs", job_log_query(line_filter(shipped_signatures()), LAYOUTS["slurm"]), BUILTIN_STREAMS, {}
)
HEALTHY = [f"step {step} | loss {9 / (step + 1):.4f} | {1000 + step} tokens/s" for step in range(900)]
DYING = [
    *HEALTHY[:500],
    "Traceback (most recent call last):",
    '  File "train.py", line 71, in <module>',
    "    loss.backward()",
    "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 3.1 GiB. GPU 0 has 79 GiB in all",
    *(f"W{n} waiting for the others to stop, still {40 - n} of them" for n in range(40)),
]
Kept = dict[tuple[str, str, str], list[KeptLine]]  # by job, rank and source


class Upgraded(Protocol):
    def sqlite(self, path: Path) -> str: ...


def agent_on(folder: Path, publisher: EmbeddedPublisher, policy: str) -> Agent:
    paths = (str(folder / "*.out"), str(folder / "kern.log"))
    config = AgentConfig(
        id="agent-1", host="node7", policy=policy, checkpoint_s=60.0, epoch_s=60.0,  # type: ignore[arg-type]
        spool_path=str(folder / "spool.db"), sources=(LogsConfig(paths=paths, pattern="text", begin="beginning"),),
    )  # fmt: skip
    return Agent(config, [PLAN], {}, publisher, machine=MACHINE)


def read_all(agent: Agent) -> None:
    (one,) = agent.sources
    source = cast("LogsSource", one.source)
    source._next_look_s = 0.0
    agent.turn()
    while source.lag_bytes:
        agent.turn()


def written(folder: Path) -> Callable[[int], None]:
    """What writes the part of each log that is there at a third of the job, at two thirds, at its end."""
    logs = {
        "slurm-4711-0.out": HEALTHY, "slurm-4711-1.out": DYING, "slurm-4712.out": HEALTHY[:50],
        "kern.log": ["node7 kernel: NVRM: Xid (PCI:0000:3b:00): 43, pid=812, name=python"],
    }  # fmt: skip

    def write(third: int) -> None:
        for name, lines in logs.items():
            part = lines[len(lines) * third // 3 : len(lines) * (third + 1) // 3]
            with (folder / name).open("a", encoding="utf-8") as file:
                file.write("".join(f"{line}\n" for line in part))

    return write


def kept(folder: Path, url: str) -> dict[str, Kept]:
    """What the database holds of each metric, after a collector has taken all in."""
    engine = open_engine(url)
    plans = Plans(engine, {})
    plans.register([PLAN], 0, 0)
    collector = Collector(timeless(flush_interval_s=1e-9), engine, plans, EmbeddedSubscriber(folder / "log.db"))
    for _ in range(12):
        collector.step(0.0)
    now_ns = time.time_ns()
    found: dict[str, Kept] = {}
    with engine.connect() as connection:
        for metric in ("job_log_first_lines", "job_log_last_lines"):
            span = (now_ns - HOUR_NS) // HOUR_NS * HOUR_NS, (now_ns + HOUR_NS) // HOUR_NS * HOUR_NS
            answer = merged(connection, Selection(metric, *span, ("job", "rank", "source")))
            states = [(group.labels, cast("LinesState", group.state)) for group in answer.groups]
            found[metric] = {
                (labels["job"], labels["rank"], labels["source"]): state.lines(0) for labels, state in states
            }
    engine.dispose()
    return found


def expected(lines: list[str], rule: Rule) -> list[str]:
    return [text for _, _, text in exactly([(0, place, line) for place, line in enumerate(lines)], rule)]


@pytest.mark.parametrize("policy", ["all-src", "all-sp"])
def test_lines_that_rules_match_and_the_last_ones_arrive_once_and_tell_why_a_job_died(
    tmp_path: Path, upgraded: Upgraded, policy: str
) -> None:
    write = written(tmp_path)
    with publisher_to(tmp_path / "log.db") as publisher:
        for third in range(3):
            write(third)
            agent = agent_on(tmp_path, publisher, policy)
            read_all(agent)
            if third == 1:  # killed, with what it had read since its last checkpoint
                agent.abandon()
            else:
                agent.close()
    found = kept(tmp_path, upgraded.sqlite(tmp_path / "tailwatch.db"))
    first, last = found["job_log_first_lines"], found["job_log_last_lines"]
    ranks = {("4711", "0", ""), ("4711", "1", ""), ("4712", "", "")}
    assert set(first) == set(last) == {*ranks, ("", "", "kernel")}
    dying = ("4711", "1", "")
    assert [line.text for line in last[dying]] == expected(DYING, LAST)
    assert [line.text for line in last["4711", "0", ""]] == expected(HEALTHY, LAST)
    assert [line.text for line in first[dying]] == expected([DYING[500], DYING[503]], FIRST)
    assert first["4711", "0", ""] == []
    assert [line.place for line in first[dying]] == [len("\n".join([*DYING[:at], ""])) for at in (500, 503)]
    assert len(first["", "", "kernel"]) == 1
    scanner = Scanner(shipped_signatures())
    assert diagnosed(scanner, [*first[dying], *last[dying]]) == ("answered", "gpu_oom")
    assert diagnosed(scanner, [*first["4712", "", ""], *last["4712", "", ""]]) == ("no_failure", None)


def test_the_collectors_job_finds_out_of_what_agents_kept_why_a_reported_job_died(
    tmp_path: Path, upgraded: Upgraded
) -> None:
    write, began_ns = written(tmp_path), time.time_ns()
    with publisher_to(tmp_path / "log.db") as publisher:
        for third in range(3):
            write(third)
            agent = agent_on(tmp_path, publisher, "all-src")
            read_all(agent)
            agent.close()
    url = upgraded.sqlite(tmp_path / "tailwatch.db")
    kept(tmp_path, url)
    engine = open_engine(url)
    second_ns = 10**9
    attempt = AttemptRow(
        job="4711", number=1, user="anna", queue="q", nodes=("node7",), gpus=8.0,
        submitted_ns=began_ns - 60 * second_ns,
        start_ns=began_ns - 50 * second_ns, end_ns=began_ns + 20 * second_ns, outcome="failed",
        reported_ns=began_ns + 21 * second_ns,
    )  # fmt: skip
    with engine.begin() as connection:
        register_queries(connection, list(PLANS.values()), 0)
        put_attempts(connection, [attempt])
    rounds = GpuRounds(CollectorConfig(jobs=JobsConfig(gpu=GpuConfig(cpu_share=1.0, interval_s=1e-9))), engine, "one")
    for _ in range(3):
        rounds.tick(time.time_ns() + HOUR_NS)
    rounds.leave()
    with engine.connect() as connection:
        (failure,) = failures_of(connection, "4711")
    assert (failure.reason, failure.rank, failure.node, failure.user) == ("gpu_oom", 1, "node7", "anna")
    assert failure.lost_gpu_s == pytest.approx(8 * 70, rel=0.01)
    engine.dispose()


def diagnosed(scanner: Scanner, lines: list[KeptLine]) -> tuple[str, str | None]:
    texts = dict.fromkeys(sorted(lines, key=lambda line: (line.ts_ns, line.place)))
    data = "".join(f"{line.text}\n" for line in texts).encode()
    found = diagnose([scanner.scan([data], Origin("kept"))])
    return found.status, found.reason
