"""What the first `tailwatch demo` in a folder writes as its configuration: the user's to edit from then on."""

import glob
import json
from typing import TYPE_CHECKING, Final

from tailwatch.demo_gpu_jobs import FOLDER
from tailwatch.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from tailwatch.settings import Settings

PARTS_FILE: Final = "parts.yaml"
#: The list of sources stands last, so that one more can be added.
_CONFIG: Final = f"""\
# Written by the first `tailwatch demo` here; yours to edit, it is not written again.
# `tailwatch config check FILE` names mistakes, docs/reference/configuration.md names every setting.
data_dir: .
api:
  telemetry_socket: api.sock
agent:
  sources:
    - kind: hiccups
    - kind: host
    - {{kind: datagrams, stream: api_requests, path: api.sock}}
    # How Tailwatch itself is; the demo writes into this file where its collector and its API show their metrics.
    - {{kind: tailwatch, targets_path: {PARTS_FILE}}}
"""
_JOB_LOGS: Final = """\
    # Logs of the made-up GPU jobs of `tailwatch demo --gpu-jobs N`.
    - {{kind: logs, paths: [{paths}], pattern: text, begin: beginning, max_files: 2000}}
collector:
  jobs:
    # Made-up jobs die within seconds, and somebody looks on; a cluster can wait for the defaults.
    gpu: {{interval_s: 2, settle_s: 3}}
queries:
  # What `tailwatch gpu rules query` prints, for where the demo writes its logs.
"""


def first_config(folder: "Path", *, gpu_jobs: bool) -> str:
    """The file's text, for a demo in this folder.

    Raises:
        analytics.errors.MissingLibraryError: made-up jobs want rules, and these a library that is not installed.
    """
    if not gpu_jobs:
        return _CONFIG
    # Globs are no paths to the settings: relative ones would start from wherever the demo is started.
    paths = json.dumps(f"{glob.escape(str(folder / FOLDER))}/**/*.log")
    return _CONFIG + _JOB_LOGS.format(paths=paths) + _job_log_query()


def check_job_logs(settings: "Settings", path: "Path") -> None:
    """Refuse made-up jobs whose logs nobody reads: the file is the user's, or of a demo without such jobs.

    Raises:
        ConfigError: with what to do.
    """
    from agents.sources.configs import LogsConfig

    reads = any(isinstance(source, LogsConfig) and source.pattern == "text" for source in settings.agent.sources)
    if not (reads and any(query.name == _query_name() for query in settings.queries)):
        problem = (
            f"{path} has no source that reads logs of GPU jobs, or no query that keeps their lines: it was written "
            "for a demo without such jobs; choose a new folder with --data, or move the file away"
        )
        raise ConfigError([problem])


def _query_name() -> str:
    from tailwatch.gpu_log_query import QUERY_NAME

    return QUERY_NAME


def _job_log_query() -> str:
    """The query as an entry of `queries`; nodes are folders here, and all jobs on one host."""
    from analytics.gpu.line_filter import line_filter
    from analytics.gpu.signature_files import with_site_file
    from tailwatch.gpu_log_query import Layout, job_log_query

    layout = Layout(
        job=r"/job-([\w-]+)/", rank=r"/rank(\d+)\.log$", kernel=r"/kernel\.log$", scheduler="",
        node=rf"/{FOLDER}/([^/]+)/",
    )  # fmt: skip
    sql = job_log_query(line_filter(with_site_file(None)), layout)
    return f"  - name: {_query_name()}\n    sql: |\n" + "".join(f"      {line}\n" for line in sql.splitlines())
