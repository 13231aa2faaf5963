"""Flags of `tailwatch gpu report`."""

import argparse

from tailwatch.command_examples import EXAMPLES
from tailwatch.command_parser import command_parser
from tailwatch.flag_values import count_up_to, false_share


def add_report(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """`report`."""
    text = "say what a cluster's GPU jobs failed of, what that cost, and which nodes stand out"
    report = command_parser(actions.add_parser, "report", text, example=EXAMPLES["gpu report"])
    report.add_argument("trace", metavar="TRACE", help="a published trace, or attempts of your own: a file or a folder")
    report.add_argument(
        "--format",
        choices=["auto", "philly", "alibaba", "acme", "slurm", "attempts"],
        default="auto",
        help="what TRACE is (default: auto, by its names and columns)",
    )
    report.add_argument(
        "--utilisation",
        action="store_true",
        help="read how busy GPUs were, too, from the large files beside the jobs (Philly, Alibaba)",
    )
    report.add_argument("--output", choices=["text", "json"], default="text", help="default: text")
    report.add_argument("--top", type=count_up_to(10_000), default=10, metavar="N", help="rows a table (default: 10)")
    report.add_argument(
        "--alpha",
        type=false_share,
        default=0.05,
        metavar="SHARE",
        help="accepted share of false names among the nodes that stand out (default: 0.05)",
    )
    report.add_argument("--plots", metavar="DIR", help="draw the report's plots into this folder (extra `plots`)")
    report.add_argument("--plot-format", choices=["png", "svg"], default="png", help="default: png")
    report.set_defaults(command_module="gpu_report")
