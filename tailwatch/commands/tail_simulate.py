"""`tailwatch tail simulate`: policies of parallelism beside each other on a simulated server."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analytics.tail.policy_table import Workload


def run(args: argparse.Namespace) -> int:
    """Simulate, print and draw; that nothing can be drawn is said before the long part."""
    from analytics.plotting import needs_library
    from analytics.tail.policies import Server
    from analytics.tail.policy_plots import plot_policies
    from analytics.tail.policy_table import policy_table
    from tailwatch.tail_report import as_dict, as_text

    if args.plot:
        needs_library()
        _check_folder(args.plot)
    workload = _workload(args)
    found = policy_table(
        workload,
        args.loads,
        Server(args.threads, args.workers),
        requests=args.requests,
        seeds=args.seeds,
        fan_out=args.fan_out,
        metric=args.metric,
        progress=_progress,
    )
    _progress("")
    print(json.dumps(as_dict(found), indent=2) if args.output == "json" else as_text(found), flush=True)
    if args.plot:
        args.plot.write_bytes(plot_policies(found, "svg" if args.plot.suffix == ".svg" else "png"))
        print(f"drawn into {args.plot}", file=sys.stderr)
    return 0


def _workload(args: argparse.Namespace) -> "Workload":
    from analytics.tail.policy_table import Workload
    from analytics.tail.time_scale import scale_of
    from analytics.tail.workloads import ModelledPredictor
    from tailwatch.errors import ServiceTimesError
    from tailwatch.service_times import read_service_times

    if args.workload == "bing-like":
        if args.class_edges or args.long_ms:
            raise ServiceTimesError(
                "--class-edges and --long-ms are for a file of service times; bing-like has its own"
            )
        return Workload("bing-like (synthetic)", cv2=args.burstiness)
    times = read_service_times(args.workload)
    scale = scale_of(times, args.class_edges, args.long_ms)
    predictor = ModelledPredictor(from_ms=scale.profile.edges_ms[0])
    return Workload(args.workload, times, predictor, args.burstiness, scale)


def _check_folder(path: Path) -> None:
    from tailwatch.errors import ExportError

    if path.suffix not in (".png", ".svg") or not path.absolute().parent.is_dir():
        raise ExportError(f"{path} cannot be drawn; want a file ending in .png or .svg in a folder that is there")


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
