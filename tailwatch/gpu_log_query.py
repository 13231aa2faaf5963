"""The query by which agents keep lines of jobs' logs: those that rules may match, the last ones, some of the others.

The others, one a kilobyte of a file, are ordinary lines before and after what looks like a failure: they tell that a
job has survived it. Without them 1 % of jobs that write much and pass seem to have failed, with them a tenth of that
(benchmarks/gpu/keeping.py).
Labels and metrics are called as the collectors' job for GPU failures expects them: `job`, `node`, `rank`, `file` and
`source`; metrics of their functions, whatever the query is called. The filter runs where the lines are, so that most
of what healthy jobs write never leaves its host.
"""

from dataclasses import dataclass
from typing import Final

from analytics.gpu.line_filter import LineFilter

QUERY_NAME: Final = "job_logs"
STREAM: Final = "job_logs"
WINDOW_S: Final = 10
#: A line is sampled where the file's next stretch of so many bytes begins in it or behind it; longer lines are not.
SAMPLED_BYTES: Final = 1_024


@dataclass(frozen=True, slots=True)
class Layout:
    """How paths of log files tell where their lines come from; expressions in Rust's syntax.

    Attributes:
        job, rank: group 1 is the job's name, and the number of its process; rank "" where paths do not tell.
        kernel, scheduler: files of these, which belong to no job.
        node: group 1 is the node's name; "" where each node has an agent of its own.
    """

    job: str
    rank: str
    kernel: str = r"/(?:kern|kernel|messages|syslog|dmesg)[^/]*$"
    scheduler: str = r"/slurm(?:d|ctld)[^/]*\.log$"
    node: str = ""


#: By name. Slurm: slurm-%j.out, slurm-%A_%a.out, and with -%t behind it a file for each task; `job` for `slurm`, too.
#: Kubernetes: /var/log/pods/<namespace>_<pod>_<uid>/<container>/<restarts>.log, where the pod of a job is called after
#: it, with a role and index, an index and five letters, or five letters.
LAYOUTS: Final = {
    "slurm": Layout(job=r"/(?:slurm|job)-(\d+(?:_\d+)?)[^/]*$", rank=r"/(?:slurm|job)-\d+(?:_\d+)?-(\d+)\.[^/]*$"),
    "kubernetes": Layout(
        job=r"/pods/[^/_]+_([^/_]+?)-(?:(?:master|worker|launcher|chief|ps)-\d+|(?:\d+-)?[a-z0-9]{5})_[^/]*/", rank=""
    ),
}


def job_log_query(kept: LineFilter, layout: Layout) -> str:
    """The query as SQL over the stream `job_logs`."""
    labels = {
        "job": f"REGEXP_EXTRACT(file, {_quoted(layout.job)}, 1)",
        "node": f"REGEXP_EXTRACT(file, {_quoted(layout.node)}, 1)" if layout.node else "host",
        "rank": f"REGEXP_EXTRACT(file, {_quoted(layout.rank)}, 1)" if layout.rank else "",
        "file": "file",
        "source": _source(layout),
    }
    named = {name: sql for name, sql in labels.items() if sql}
    chosen = [sql if sql == name else f"{sql} AS {name}" for name, sql in named.items()]
    matched = f"CASE WHEN REGEXP_LIKE(LOWER(text), {_quoted(kept.pattern)}) THEN text END"
    begins = f"place DIV {SAMPLED_BYTES} <> (place + LENGTH(text) + 1) DIV {SAMPLED_BYTES}"
    sampled = f"CASE WHEN LENGTH(text) < {SAMPLED_BYTES} AND {begins} THEN text END"
    metrics = [
        f"last_lines({sampled}, place) AS job_log_sampled_lines",
        "last_lines(text, place) AS job_log_last_lines",
        "count(*) AS job_log_lines_total",
        f"first_lines({matched}, place) AS job_log_first_lines",
    ]
    selected = ",\n       ".join([*chosen, *metrics])
    return "\n".join(
        [
            f"-- Lines that may match one of {kept.rules} rules, by {kept.texts} fixed texts of at most {kept.longest}",
            "-- characters. When rules change, make it anew: tailwatch gpu rules query",
            f"SELECT {selected}",
            f"FROM {STREAM}",
            f"GROUP BY TUMBLE(ts, INTERVAL '{WINDOW_S}' SECOND), {', '.join(named)}\n",
        ]
    )


def _source(layout: Layout) -> str:
    """`kernel` and `scheduler` by the file's path; NULL is for what the lines themselves tell."""
    branches = [
        f"WHEN REGEXP_LIKE(file, {_quoted(path)}) THEN '{name}'"
        for name, path in (("kernel", layout.kernel), ("scheduler", layout.scheduler))
        if path
    ]
    return f"CASE {' '.join(branches)} END" if branches else ""


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
