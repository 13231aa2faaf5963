"""`tailwatch gpu rules query`: the query for jobs' logs as text, as configuration, or ready to be posted."""

import argparse
import json
from dataclasses import replace


def run(args: argparse.Namespace) -> int:
    """Make it, see that it runs, print it."""
    from agents.sources.streams import BUILTIN_STREAMS
    from analytics.gpu.line_filter import line_filter
    from analytics.gpu.signature_files import with_site_file
    from pipeline.sql import compile_query
    from tailwatch.gpu_log_query import LAYOUTS, QUERY_NAME, job_log_query

    given = {"job": args.job, "rank": args.rank}
    layout = replace(LAYOUTS[args.layout], **{name: regex for name, regex in given.items() if regex is not None})
    sql = job_log_query(line_filter(with_site_file(args.rules)), layout)
    compile_query(QUERY_NAME, sql, BUILTIN_STREAMS, {})
    print(_shown(QUERY_NAME, sql, args.output), end="")
    return 0


def _shown(name: str, sql: str, output: str) -> str:
    if output == "json":
        return json.dumps({"name": name, "sql": sql}) + "\n"
    if output == "yaml":
        indented = "".join(f"      {line}\n" for line in sql.splitlines())
        return f"queries:\n  - name: {name}\n    sql: |\n{indented}"
    return sql
