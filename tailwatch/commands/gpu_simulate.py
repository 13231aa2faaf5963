"""`tailwatch gpu simulate`: policies of retrying failed jobs on a simulated cluster, in the worst of many cases."""

import argparse
import json
import sys


def run(args: argparse.Namespace) -> int:
    """Simulate the grid and print it."""
    from analytics.gpu.simulation.grid import run_grid
    from tailwatch.gpu_simulation_report import as_text

    found = run_grid(args.jobs, args.seed, progress=_progress)
    print(json.dumps(found.to_dict(), indent=2, ensure_ascii=False) if args.output == "json" else as_text(found))
    return 0


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
