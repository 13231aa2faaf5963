"""Table 5: what agents keep of jobs' logs, and whether that tells what the whole logs tell.

Jobs write at a steady pace; what they wrote goes through the very query that agents run, window by window, and the
kept lines of all windows, in their order, are diagnosed as a log of their own. The failing jobs are labelled excerpts
of real failures behind the lines of a made-up job; the others are made-up jobs that passed.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl

from agents.sources.streams import BUILTIN_STREAMS
from analytics.gpu.accuracy import accuracy
from analytics.gpu.accuracy_held_out import Labelled, judge
from analytics.gpu.accuracy_labels import Label, read_labels
from analytics.gpu.classifier import diagnose
from analytics.gpu.cleaning import Origin
from analytics.gpu.line_filter import LineFilter, line_filter
from analytics.gpu.passed_logs import passed_log, passed_logs
from analytics.gpu.scanning import Scan, Scanner
from analytics.gpu.signature_files import shipped_signatures
from benchmarks.gpu.sizing import Sizing
from benchmarks.gpu.telling import REAL_VARIABLE
from benchmarks.rounds import Candidate, interleaved
from benchmarks.tables import Column, Row, Table
from benchmarks.targets import Scoreboard
from pipeline.chain import Chain
from pipeline.coded import IntArray
from pipeline.sql import compile_query
from pipeline.states import KeptLine, LinesState
from tailwatch.gpu_log_query import LAYOUTS, WINDOW_S, job_log_query

#: Lines that a job writes in a window: few, and as many as a job that logs every step of every rank.
PACES = (20, 100, 1_000)
#: None that anything was chosen on; of the made-up lines before an excerpt, and of jobs that passed.
SEED = 20_262
#: A quick run asks about every so-manieth excerpt.
QUICK_STEP = 12
START_NS = 1_795_000_000 * 10**9
FIRST, LAST, SAMPLED = "job_log_first_lines", "job_log_last_lines", "job_log_sampled_lines"
Job = Sequence[str]
Kept = dict[str, list[KeptLine]]  # by metric
COLUMNS = [
    Column("what", "what is diagnosed"), Column("pace", "lines in 10 s"), Column("kept", "bytes kept, %", 1),
    Column("reason", "reason right", 3), Column("category", "category right", 3), Column("coverage", "answered", 3),
    Column("answered", "of these right", 3), Column("passed_kept", "of passed jobs, bytes kept, %", 1),
    Column("false", "passed jobs answered, %", 2),
]  # fmt: skip


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """Diagnoses from whole logs and from kept lines, and what the query costs an agent."""
    del board  # there is no target
    kept = line_filter(shipped_signatures())
    return [_telling(size, kept)]


def kept_lines(jobs: Mapping[str, Job], pace: int, chain: Chain) -> dict[str, Kept]:
    """Of each job what the query keeps of all its windows, where it writes `pace` lines in one.

    Args:
        jobs: number of a job -> its lines.
        chain: of `chain_of`.
    """
    step_ns = WINDOW_S * 10**9 // pace
    counts = [len(lines) for lines in jobs.values()]
    frame = pl.DataFrame(
        {
            "ts": np.concatenate([START_NS + np.arange(count) * step_ns for count in counts]),
            "host": "n1",
            "file": [f"/logs/slurm-{name}.out" for name, lines in jobs.items() for _ in lines],
            "place": np.concatenate([_places(lines) for lines in jobs.values()]),
            "text": [line for lines in jobs.values() for line in lines],
        }
    )
    partial = chain.finish(chain.prepare(frame), after=0)
    states = {metric: cast("LinesState", partial.states[metric]) for metric in (FIRST, LAST, SAMPLED)}
    found: dict[str, Kept] = {name: {metric: [] for metric in states} for name in jobs}
    for place, name in enumerate(partial.keys["job"].to_list()):
        for metric, state in states.items():
            found[name][metric].extend(state.lines(place))
    return found


def chain_of(kept: LineFilter) -> Chain:
    """The query with this filter, ready to run."""
    return Chain(compile_query("job_logs", job_log_query(kept, LAYOUTS["slurm"]), BUILTIN_STREAMS, {}), {})


def _telling(size: Sizing, kept: LineFilter) -> Table:
    table = Table("keeping", "5. What agents keep of logs", COLUMNS)
    scanner, chain = Scanner(shipped_signatures()), chain_of(kept)
    passed = {str(at): lines for at, (_, lines) in enumerate(passed_logs(size.passed, SEED))}
    folder = Path(os.environ.get(REAL_VARIABLE) or "-", "gpu_logs")
    labels: tuple[Label, ...] = ()
    if (folder / "labels.csv").is_file():
        labels = read_labels((folder / "labels.csv").read_text(encoding="utf-8"), "labels.csv")
        labels = labels[:: QUICK_STEP if size.quick else 1]
    else:
        table.notes.append(f"no failing jobs: {REAL_VARIABLE} names no folder with gpu_logs/labels.csv")
    failing = {
        str(at): [*passed_log(SEED + at), *_lines((folder / label.file).read_bytes())]
        for at, label in enumerate(labels)
    }
    table.notes.append(
        f"{len(failing)} excerpts of real failures behind the lines of a synthetic job, {_size(failing) / 1e6:.2f} MB; "
        f"{len(passed)} synthetic jobs that passed, {_size(passed) / 1e6:.2f} MB"
    )
    table.notes.append(
        f"the filter: {kept.texts} texts of {kept.rules} rules, cut to {kept.longest} characters, {len(kept.pattern)} "
        "characters in all; bytes are those of texts before any compression"
    )
    table.notes.append(_cost(size, kept, chain))
    rows: list[tuple[str, int | None, Mapping[str, Job], Mapping[str, Job]]]
    rows = [("whole logs", None, failing, passed)]
    for pace in PACES:
        of_failing, of_passed = (kept_lines(jobs, pace, chain) if jobs else {} for jobs in (failing, passed))
        rows.append(("kept lines", pace, _together(of_failing), _together(of_passed)))
    for what, metrics in (("kept lines, none sampled", (FIRST, LAST)), ("kept first lines alone", (FIRST,))):
        rows.append((what, PACES[-1], _together(of_failing, metrics), _together(of_passed, metrics)))
    for what, at_pace, kept_failing, kept_passed in rows:
        row: Row = {"what": what, "pace": at_pace, "passed_kept": 100 * _size(kept_passed) / _size(passed)}
        if labels:
            told = [judge(Labelled(_scan(scanner, kept_failing[str(at)]), one)) for at, one in enumerate(labels)]
            found = accuracy(told)
            row |= {
                "kept": 100 * _size(kept_failing) / _size(failing), "reason": found.reason,
                "category": found.category, "coverage": found.coverage, "answered": found.answered,
            }  # fmt: skip
        answered = sum(diagnose([_scan(scanner, lines)]).status == "answered" for lines in kept_passed.values())
        table.rows.append(row | {"false": 100 * answered / len(kept_passed)})
    return table


def _cost(size: Sizing, kept: LineFilter, chain: Chain) -> str:
    """What the query takes of an agent's core, and what its filter would take that ignores case, in words."""
    lines = [line for _, lines in passed_logs(size.jobs, SEED) for line in lines]
    many, few = _cut(lines, size.round_bytes), _cut(lines, size.slow_bytes)
    texts, some = pl.Series("text", many), pl.Series("text", few)
    many_mb, few_mb = (sum(len(line) + 1 for line in each) / 1e6 for each in (many, few))
    ours, alone, naive = "query", "filter", "ignoring case"
    found = interleaved(
        {
            ours: Candidate(lambda _: kept_lines({"1": many}, PACES[-1], chain), per_run=many_mb),
            alone: Candidate(lambda _: texts.str.to_lowercase().str.contains(kept.pattern), per_run=many_mb),
            naive: Candidate(lambda _: some.str.contains(f"(?i){kept.pattern}"), per_run=few_mb),
        },
        size.rounds,
    )
    rates = {name: found.rate(name).median for name in (ours, alone, naive)}
    return (
        f"MB per CPU second of an agent, reading of files left out: the query {rates[ours]:.0f}, its filter alone "
        f"{rates[alone]:.0f}, the same filter ignoring case instead of in lower case {rates[naive]:.0f}"
    )


def _scan(scanner: Scanner, lines: Job) -> Scan:
    return scanner.scan(["".join(f"{line}\n" for line in lines).encode()], Origin("log"))


def _together(kept: Mapping[str, Kept], metrics: Sequence[str] = (FIRST, LAST, SAMPLED)) -> dict[str, Job]:
    """The lines of these metrics in one order, each once."""
    found: dict[str, Job] = {}
    for name, one in kept.items():
        lines = {line for metric in metrics for line in one[metric]}
        found[name] = [line.text for line in sorted(lines, key=lambda line: (line.ts_ns, line.place))]
    return found


def _size(jobs: Mapping[str, Job]) -> int:
    return sum(len(line) + 1 for lines in jobs.values() for line in lines)


def _places(lines: Job) -> IntArray:
    """Where each begins in its file."""
    sizes = np.array([len(line.encode()) + 1 for line in lines], np.int64)
    return np.cumsum(sizes) - sizes


def _lines(data: bytes) -> list[str]:
    """As the source gives them: of what was written over the last state."""
    texts = data.decode("utf-8", errors="replace").split("\n")
    return [shown for text in texts if (shown := text.rstrip("\r").rpartition("\r")[2])]


def _cut(lines: Sequence[str], most_bytes: int) -> list[str]:
    """The first of them that have so many bytes together."""
    ends = np.cumsum([len(line) + 1 for line in lines])
    return list(lines[: int(np.searchsorted(ends, most_bytes, "right"))])
