"""`tailwatch gpu report`: what a cluster's GPU jobs failed of and what that cost, from a trace of them."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from analytics.gpu.report import Report


def run(args: argparse.Namespace) -> int:
    """Read a trace, and print its report or draw it."""
    from analytics.gpu.report import counted_attempts, report
    from analytics.gpu.traces.formats import read_trace
    from tailwatch.gpu_report_text import as_text

    if args.plots:
        from analytics.plotting import needs_library

        needs_library()  # said before minutes are spent on reading
    form = None if args.format == "auto" else args.format
    trace = read_trace(Path(args.trace), form, utilisation=args.utilisation)
    found = report(trace, alpha=args.alpha)
    drawn = _draw(args, found, counted_attempts(trace)) if args.plots else []
    if args.output == "json":
        answer = {"trace": args.trace} | found.to_dict() | ({"plots": drawn} if args.plots else {})
        print(json.dumps(answer, indent=2, ensure_ascii=False, allow_nan=False))
        return 0
    print(as_text(found, args.trace, args.top))
    for path in drawn:
        print(f"drawn: {path}")
    return 0


def _draw(args: argparse.Namespace, found: "Report", attempts: "pl.DataFrame") -> list[str]:
    from analytics.gpu.report_plots import plots

    folder = Path(args.plots)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, image in plots(found, attempts, args.plot_format).items():
        path = folder / f"{name}.{args.plot_format}"
        path.write_bytes(image)
        paths.append(str(path))
    return paths
