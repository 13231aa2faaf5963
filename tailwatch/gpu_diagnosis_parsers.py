"""Flags of the commands of `tailwatch gpu` that say why a job died, and what no rule knows yet."""

import argparse

from tailwatch.command_examples import EXAMPLES
from tailwatch.command_parser import command_parser
from tailwatch.flag_values import count_up_to
from tailwatch.gpu_job_facts import moment_ns, signal_number

_RULES = "a file of your own rules, on top of those shipped"
_OUTPUT = "default: text"


def add_diagnosis(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """`classify` and `unknowns`."""
    _add_classify(actions)
    _add_unknowns(actions)


def _add_classify(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "say why a job died, from the logs of all its ranks and of its nodes"
    classify = command_parser(actions.add_parser, "classify", text, example=EXAMPLES["gpu classify"])
    classify.add_argument(
        "files", nargs="+", metavar="FILE", help="logs of one job, or folders of them; - for standard input"
    )
    classify.add_argument(
        "--labels",
        metavar="LABELS",
        help="a CSV table file,reason,category,source: take each FILE for a job and say how often the table agrees",
    )
    classify.add_argument(
        "--exit-code",
        type=count_up_to(255, 0),
        metavar="N",
        help="how the job ended: 0 is no failure, whatever is logged",
    )
    classify.add_argument(
        "--signal", type=signal_number, metavar="SIG", help="what it was ended by, such as SIGKILL or 9"
    )
    classify.add_argument(
        "--nodes", metavar="NODES", help="where it ran, such as gpu[01-04],gpu-9: events of other nodes are left out"
    )
    classify.add_argument("--start", type=moment_ns, metavar="TIME", help="when it began: earlier events are left out")
    classify.add_argument("--end", type=moment_ns, metavar="TIME", help="when it ended: later events are left out")
    classify.add_argument("--rules", metavar="FILE", help=_RULES)
    classify.add_argument("--output", choices=["text", "json"], default="text", help=_OUTPUT)
    classify.set_defaults(command_module="gpu_classify")


def _add_unknowns(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "list what failed jobs say that no rule knows, what passed jobs do not say first"
    unknowns = command_parser(actions.add_parser, "unknowns", text, example=EXAMPLES["gpu unknowns"])
    unknowns.add_argument(
        "files", nargs="+", metavar="FILE", help="logs of failed jobs, one job a file; or folders of them"
    )
    unknowns.add_argument("--passed", metavar="DIR", help="logs of jobs that passed, to compare with")
    unknowns.add_argument("--top", type=count_up_to(10_000), default=20, metavar="N", help="default: 20")
    unknowns.add_argument(
        "--draft", type=count_up_to(10_000), metavar="N", help="write a rule for the N-th of the list, for --reason"
    )
    unknowns.add_argument("--reason", metavar="REASON", help="what the drafted rule's reason is, one of the taxonomy")
    unknowns.add_argument("--rules", metavar="FILE", help=_RULES)
    unknowns.add_argument("--output", choices=["text", "json"], default="text", help=_OUTPUT)
    unknowns.set_defaults(command_module="gpu_unknowns")
