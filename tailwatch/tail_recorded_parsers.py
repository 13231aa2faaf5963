"""Flags of `tailwatch tail learn`, `whatif` and `attribute`, which look at requests that a service recorded."""

import argparse
import math
from pathlib import Path

from tailwatch.command_examples import EXAMPLES
from tailwatch.command_parser import command_parser
from tailwatch.flag_values import count_up_to

Actions = argparse._SubParsersAction  # the type that argparse gives, and does not name

_MOST: int = 2_000_000


def add_recorded(actions: "Actions[argparse.ArgumentParser]") -> None:
    """`learn`, `whatif` and `attribute`."""
    _add_learn(actions)
    _add_whatif(actions)
    _add_attribute(actions)


def milliseconds(text: str) -> float:
    """A time above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 1e-6 <= number < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; want milliseconds above 0, such as 80")
    return number


def class_edges(text: str) -> tuple[float, ...]:
    """Where the next class of work begins, ascending."""
    edges = tuple(milliseconds(one) for one in text.split(","))
    if list(edges) != sorted(set(edges)) or len(edges) > 20:
        raise argparse.ArgumentTypeError(
            f"{text!r} are no edges of classes; want ascending milliseconds, such as 30,80"
        )
    return edges


def percentile(text: str) -> float:
    """As a share: .99, never 99."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0.5 <= number <= 0.99999:
        raise argparse.ArgumentTypeError(f"{text!r} is no percentile here; want 0.5 to 0.99999, such as 0.99")
    return number


def multiplier(text: str) -> float:
    """So many times the load."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0.05 <= number <= 20:
        raise argparse.ArgumentTypeError(f"{text!r} is no multiple of the load; want 0.05 to 20")
    return number


def share(text: str) -> float:
    """A share of all, 0 to 1."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share; want 0 to 1, such as 0.01")
    return number


def _add_learn(actions: "Actions[argparse.ArgumentParser]") -> None:
    text = "learn from recorded requests how much faster they run on more threads, and what a predictor is worth"
    learn = command_parser(actions.add_parser, "learn", text, example=EXAMPLES["tail learn"])
    _add_requests(learn)
    learn.add_argument("--out", type=Path, metavar="FILE", help="write the speed-ups there as JSON, for --profile")
    learn.add_argument(
        "--features", type=_names, default=(), metavar="A,B",
        help="columns of numbers that are known before a request runs: train a predictor of its time from them",
    )  # fmt: skip
    learn.add_argument(
        "--long-ms", type=milliseconds, metavar="MS", help="from there on a request is long (default: the last class)"
    )
    learn.add_argument("--model", type=Path, metavar="FILE", help="write the trained predictor there")
    learn.add_argument("--seed", type=count_up_to(2**31 - 1, 0), default=0, metavar="N", help="default: 0")
    _add_answer(learn, "the speed-ups")
    learn.set_defaults(command_module="tail_learn")


def _add_whatif(actions: "Actions[argparse.ArgumentParser]") -> None:
    text = "say what another policy would have made of recorded requests, or why that cannot be said"
    whatif = command_parser(actions.add_parser, "whatif", text, example=EXAMPLES["tail whatif"])
    _add_requests(whatif)
    _add_profile(whatif)
    which = whatif.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--candidate", metavar="POLICY",
        help="sequential, fixed:3, predictive:3:80, adaptive, wq-linear:12, ramp-up:10, or a JSON file with a policy",
    )  # fmt: skip
    which.add_argument("--search", action="store_true", help="search the target table that suits the recording")
    whatif.add_argument(
        "--current", metavar="POLICY", help="that the service had when it recorded (default: degrees as recorded)"
    )
    whatif.add_argument(
        "--workers", type=count_up_to(4_096), metavar="N", help="of the pool that runs requests (default: --threads)"
    )
    for what, text in (
        ("threads", "hardware threads"),
        ("workers", "workers"),
        ("max-degree", "most threads of a request"),
    ):
        whatif.add_argument(
            f"--candidate-{what}",
            type=count_up_to(4_096),
            metavar="N",
            help=f"{text} of the candidate (default: as now)",
        )
    whatif.add_argument(
        "--load-multiplier", type=multiplier, default=1.0, metavar="X", help="so many times the load (default: 1)"
    )
    whatif.add_argument(
        "--fan-out", type=count_up_to(100_000), default=1, metavar="N",
        help="quantiles of the slowest of so many such servers (default: 1)",
    )  # fmt: skip
    whatif.add_argument(
        "--metric",
        choices=["threads_and_queue", "long_threads", "in_system"],
        default="threads_and_queue",
        help="with --search, load by which targets are chosen (default: threads_and_queue)",
    )
    whatif.add_argument(
        "--out", type=Path, metavar="FILE", help="with --search, write the policy there, for --candidate"
    )
    _add_answer(whatif, "latencies now and then")
    whatif.set_defaults(command_module="tail_whatif")


def _add_attribute(actions: "Actions[argparse.ArgumentParser]") -> None:
    text = "say why slow requests were slow: each has one cause, shares by load"
    attribute = command_parser(actions.add_parser, "attribute", text, example=EXAMPLES["tail attribute"])
    _add_requests(attribute)
    _add_profile(attribute)
    attribute.add_argument(
        "--target-ms", type=milliseconds, required=True, metavar="MS", help="longer from arrival to end is slow"
    )
    attribute.add_argument(
        "--percentile", type=percentile, default=0.99, metavar="Q",
        help="of requests that shall meet it: said where no policy could keep that (default: 0.99)",
    )  # fmt: skip
    attribute.add_argument(
        "--slowest", type=count_up_to(10_000, 0), default=10, metavar="N", help="show so many of them (default: 10)"
    )
    _add_answer(attribute, "the causes by load")
    attribute.set_defaults(command_module="tail_attribute")


def _add_requests(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE",
        help="recorded requests: .parquet, .csv or .ndjson (.jsonl), the latter two also with .gz",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=count_up_to(4_096), required=True, metavar="N", help="of the hardware, of each instance"
    )
    parser.add_argument(
        "--max-degree", type=count_up_to(4_096), metavar="D", help="most threads of a request (default: as recorded)"
    )
    parser.add_argument(
        "--class-edges", type=class_edges, metavar="MS,...",
        help="where classes of work begin (default: p85 and p95 of the predicted times)",
    )  # fmt: skip
    parser.add_argument("--service", metavar="NAME", help="only its requests, where files hold those of several")
    parser.add_argument("--instance", metavar="NAME", help="only requests that this instance or host ran")
    parser.add_argument(
        "--most", type=count_up_to(200_000_000), default=_MOST, metavar="N",
        help=f"look at the newest so many requests (default: {_MOST})",
    )  # fmt: skip


def _add_profile(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--profile", type=Path, metavar="FILE", help="speed-ups of `tail learn --out` (default: learnt from the files)"
    )


def _add_answer(parser: argparse.ArgumentParser, drawn: str) -> None:
    parser.add_argument("--plot", type=Path, metavar="FILE", help=f"draw {drawn} into a PNG or SVG file")
    parser.add_argument("--output", choices=["text", "json"], default="text", help="default: text")


def _names(text: str) -> tuple[str, ...]:
    names = tuple(one.strip() for one in text.split(","))
    if not all(names) or len(set(names)) != len(names):
        raise argparse.ArgumentTypeError(f"{text!r} are no columns; want different names, such as terms,type")
    return names
