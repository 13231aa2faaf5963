"""Flags of the commands of `tailwatch gpu` that are about running failed jobs again."""

import argparse

from tailwatch.command_examples import EXAMPLES
from tailwatch.command_parser import command_parser
from tailwatch.flag_values import count_up_to

Actions = argparse._SubParsersAction  # the type that argparse gives, and does not name


def add_retries(actions: "Actions[argparse.ArgumentParser]") -> None:
    """`retry-advice` and `simulate`."""
    _add_advice(actions)
    _add_simulate(actions)


def _add_advice(actions: "Actions[argparse.ArgumentParser]") -> None:
    text = "say of each failed job whether to run it again, how, and why"
    advice = command_parser(actions.add_parser, "retry-advice", text, example=EXAMPLES["gpu retry-advice"])
    advice.add_argument(
        "file",
        metavar="ATTEMPTS",
        nargs="?",
        help="attempts of jobs: CSV, JSON, or what sacct prints; - for standard input",
    )
    advice.add_argument(
        "--state", metavar="FILE", help="what was learned before (default: none, the priors of each reason)"
    )
    advice.add_argument(
        "--learn", action="store_true", help="learn what became of earlier retries in ATTEMPTS, and keep it in --state"
    )
    advice.add_argument(
        "--roll-back", type=count_up_to(10**12, 0), metavar="N", help="put generation N of --state into use again"
    )
    advice.add_argument("--priors", metavar="FILE", help="a site's own priors, on top of those of the release")
    advice.add_argument(
        "--attempts", type=count_up_to(1_000), default=4, metavar="N", help="ceiling of attempts of a job (default: 4)"
    )
    advice.add_argument(
        "--gpu-hours",
        type=_hours,
        default=2_000.0,
        metavar="H",
        help="ceiling of GPU hours a job loses (default: 2000)",
    )
    advice.add_argument(
        "--handback-hours",
        type=_hours,
        default=8.0,
        metavar="H",
        help="how long a job takes to come again when it is handed back (default: 8)",
    )
    advice.add_argument(
        "--explore",
        type=_share,
        default=0.05,
        metavar="SHARE",
        help="share of cheap retries that look hopeless and are made all the same, to learn from (default: 0.05)",
    )
    advice.add_argument(
        "--seed", type=count_up_to(2**31 - 1, 0), default=0, metavar="N", help="of a new state (default: 0)"
    )
    advice.add_argument("--output", choices=["text", "json"], default="text", help="default: text")
    advice.set_defaults(command_module="gpu_retry_advice")


def _add_simulate(actions: "Actions[argparse.ArgumentParser]") -> None:
    text = "compare policies of retrying on a simulated cluster, in the worst of many cases"
    simulate = command_parser(actions.add_parser, "simulate", text, example=EXAMPLES["gpu simulate"])
    simulate.add_argument("--seed", type=count_up_to(2**31 - 1, 0), default=0, metavar="N", help="default: 0")
    simulate.add_argument(
        "--jobs",
        type=count_up_to(100_000, 10),
        default=4_000,
        metavar="N",
        help="jobs that fail, beside which others run that do not (default: 4000)",
    )
    simulate.add_argument("--output", choices=["text", "json"], default="text", help="default: text")
    simulate.set_defaults(command_module="gpu_simulate")


def _hours(text: str) -> float:
    """Hours, 0 or more."""
    return _within(text, 1e9, "hours, 0 or more")


def _share(text: str) -> float:
    """A share up to a half."""
    return _within(text, 0.5, "a share, 0 to 0.5")


def _within(text: str, most: float, wanted: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is no number here; want {wanted}")
    return number
