"""`tailwatch config check FILE`: everything that would stop a start, found without starting anything."""

import argparse
import sys


def run(args: argparse.Namespace) -> int:
    """Check the file, its tables, its queries and its objectives, as the processes would at their start."""
    from tailwatch.grafana.objective_check import check_objectives
    from tailwatch.query_set import compiled
    from tailwatch.settings_flags import loaded_from

    loaded = loaded_from(args)
    queries = compiled(loaded)
    for note in check_objectives(loaded, queries.plans):
        print(f"note: {note}", file=sys.stderr)
    metrics = sum(len(plan.metrics) for plan in queries.plans)
    print(f"{args.config}: ok ({len(queries.plans)} queries, {metrics} metrics, {len(queries.tables)} tables)")
    return 0
