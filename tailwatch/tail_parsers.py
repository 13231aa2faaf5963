"""Flags of `tailwatch tail`: how much parallelism a service needs."""

import argparse
import math
from pathlib import Path

from tailwatch.command_examples import EXAMPLES
from tailwatch.command_parser import command_parser
from tailwatch.flag_values import count_up_to
from tailwatch.tail_recorded_parsers import add_recorded, class_edges, milliseconds
from tailwatch.tail_service_parsers import add_services

Actions = argparse._SubParsersAction  # the type that argparse gives, and does not name


def add_tail(commands: "Actions[argparse.ArgumentParser]") -> None:
    """The group `tail` with its commands."""
    text = "say how much parallelism a service needs to meet its tail-latency target"
    group = commands.add_parser("tail", help=text, description=text[:1].upper() + text[1:] + ".")
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    _add_simulate(actions)
    add_recorded(actions)
    add_services(actions)


def _add_simulate(actions: "Actions[argparse.ArgumentParser]") -> None:
    text = "compare policies of parallelism on a simulated server, by load"
    simulate = command_parser(actions.add_parser, "simulate", text, example=EXAMPLES["tail simulate"])
    simulate.add_argument(
        "--workload",
        metavar="NAME|FILE",
        default="bing-like",
        help="bing-like (synthetic), or a CSV file of service times in a column ms or us (default: bing-like)",
    )
    simulate.add_argument(
        "--loads",
        type=_loads,
        default=(0.15, 0.3, 0.45, 0.6, 0.7, 0.8),
        metavar="L,...",
        help="offered work as shares of the hardware threads (default: 0.15,0.3,0.45,0.6,0.7,0.8)",
    )
    simulate.add_argument(
        "--threads", type=count_up_to(4_096), default=12, metavar="N", help="of the hardware (default: 12)"
    )
    simulate.add_argument(
        "--workers",
        type=count_up_to(4_096),
        default=24,
        metavar="N",
        help="of the pool that runs requests (default: 24)",
    )
    simulate.add_argument(
        "--requests",
        type=count_up_to(10_000_000, 20_000),
        default=200_000,
        metavar="N",
        help="in a run (default: 200000)",
    )
    simulate.add_argument(
        "--seeds", type=count_up_to(100), default=4, metavar="N", help="independent runs of each (default: 4)"
    )
    simulate.add_argument(
        "--fan-out",
        type=count_up_to(100_000),
        default=1,
        metavar="N",
        help="show quantiles of the slowest of so many such servers (default: 1)",
    )
    simulate.add_argument(
        "--metric",
        choices=["threads_and_queue", "long_threads", "in_system"],
        default="threads_and_queue",
        help="load by which targets are chosen (default: threads_and_queue)",
    )
    simulate.add_argument(
        "--burstiness",
        type=_burstiness,
        default=1.0,
        metavar="CV2",
        help="squared variation of the gaps between arrivals (default: 1, Poisson)",
    )
    simulate.add_argument(
        "--class-edges", type=class_edges, metavar="MS,...",
        help="of a file: where the two longer classes of work begin (default: p85 and p95 of its times)",
    )  # fmt: skip
    simulate.add_argument(
        "--long-ms", type=milliseconds, metavar="MS",
        help="of a file: what the predictive policy takes for long (default: where the longest class begins)",
    )  # fmt: skip
    simulate.add_argument("--plot", type=Path, metavar="FILE", help="draw p99 and p99.9 by load into a PNG or SVG file")
    simulate.add_argument("--output", choices=["text", "json"], default="text", help="default: text")
    simulate.set_defaults(command_module="tail_simulate")


def _loads(text: str) -> tuple[float, ...]:
    """Shares, different ones, above 0 and below 1.5."""
    try:
        loads = tuple(float(one) for one in text.split(","))
    except ValueError:
        loads = ()
    if not loads or not all(0 < load < 1.5 for load in loads) or len(set(loads)) != len(loads):
        raise argparse.ArgumentTypeError(f"{text!r} are no loads; want different shares below 1.5, such as 0.3,0.6")
    return loads


def _burstiness(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0.01 <= number <= 1_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no squared variation; want 0.01 to 1000")
    return number
