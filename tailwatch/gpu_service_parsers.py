"""Flags of the commands of `tailwatch gpu` that ask or tell a running API: what failed, which attempts there were."""

import argparse
import os

from tailwatch.command_examples import EXAMPLES
from tailwatch.command_parser import command_parser
from tailwatch.flag_values import row_count

Actions = argparse._SubParsersAction  # the type that argparse gives, and does not name


def add_service(actions: "Actions[argparse.ArgumentParser]") -> None:
    """`failures` and `attempts`."""
    _add_failures(actions)
    _add_attempts(actions)


def _add_failures(actions: "Actions[argparse.ArgumentParser]") -> None:
    text = "list the failures of GPU jobs that the service has found, the newest first, with their reasons"
    failures = command_parser(actions.add_parser, "failures", text, example=EXAMPLES["gpu failures"])
    failures.add_argument("--job", metavar="JOB", help="only attempts of this job")
    failures.add_argument("--reason", metavar="REASON", help="only this reason, for example gpu_ecc")
    failures.add_argument(
        "--category", choices=["infrastructure", "ai_engine", "user"], help="only reasons of this category"
    )
    failures.add_argument("--user", metavar="NAME", help="only jobs of this user")
    failures.add_argument("--node", metavar="NODE", help="only failures whose root stands on this node")
    failures.add_argument("--status", choices=["answered", "abstained"], help="only those with a reason, or without")
    failures.add_argument("--start", metavar="TIME", help="failed from then on: -1d, or RFC 3339")
    failures.add_argument("--end", metavar="TIME", help="failed before then: -1h, or RFC 3339")
    failures.add_argument("--limit", type=row_count, default=50, metavar="N", help="at most so many (default: 50)")
    failures.add_argument("--output", choices=["table", "json"], default="table", help="default: table")
    _add_url(failures)
    failures.set_defaults(command_module="gpu_failures")


def _add_attempts(actions: "Actions[argparse.ArgumentParser]") -> None:
    text = "tell the service which GPU jobs ran, where, and how they ended"
    attempts = command_parser(actions.add_parser, "attempts", text, example=EXAMPLES["gpu attempts"])
    attempts.add_argument(
        "file", metavar="FILE", help="attempts of jobs: CSV, JSON, or what sacct prints; - for standard input"
    )
    attempts.add_argument("--without-gpus", action="store_true", help="send attempts that held no GPU, too")
    attempts.add_argument("--synthetic", action="store_true", help="say of all of them that they are made up")
    attempts.add_argument("--output", choices=["text", "json"], default="text", help="default: text")
    _add_url(attempts)
    attempts.set_defaults(command_module="gpu_attempts")


def _add_url(parser: argparse.ArgumentParser) -> None:
    default = os.environ.get("TAILWATCH_URL") or "http://127.0.0.1:8080"
    parser.add_argument(
        "--url", default=default, help="address of the API (default: $TAILWATCH_URL, else http://127.0.0.1:8080)"
    )
