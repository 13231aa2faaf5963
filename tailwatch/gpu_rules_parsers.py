"""Flags of `tailwatch gpu rules`: what is known of failing GPU jobs, a site's own rules, the query made from both."""

import argparse

from tailwatch.command_examples import EXAMPLES
from tailwatch.command_parser import command_parser


def add_rules(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """`check`, `list` and `query`."""
    text = "rules by which failures of GPU jobs are told"
    group = actions.add_parser("rules", help=text, description=text[:1].upper() + text[1:] + ".")
    rules = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    text = "say what is wrong with a file of rules, each fault with its line, and try its examples"
    check = command_parser(rules.add_parser, "check", text, example=EXAMPLES["gpu rules check"])
    check.add_argument("file", metavar="FILE", help="a site's rules, YAML")
    check.add_argument("--alone", action="store_true", help="without the shipped rules, which it otherwise adds to")
    check.add_argument("--output", choices=["text", "json"], default="text", help="default: text")
    check.set_defaults(command_module="gpu_rules", action="check")
    text = "list the rules in use, or one with all it says"
    shown = command_parser(rules.add_parser, "list", text, example=EXAMPLES["gpu rules list"])
    shown.add_argument("id", nargs="?", metavar="ID", help="one rule, with its pattern and examples")
    shown.add_argument("--rules", metavar="FILE", help="a site's rules on top of the shipped ones")
    shown.add_argument("--reason", metavar="REASON", help="only rules of this reason, for example gpu_oom")
    shown.add_argument(
        "--category", choices=["infrastructure", "ai_engine", "user"], help="only rules of this category"
    )
    shown.add_argument("--output", choices=["text", "json"], default="text", help="default: text")
    shown.set_defaults(command_module="gpu_rules", action="list")
    _add_query(rules)


def _add_query(rules: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "print the query by which agents keep those lines of jobs' logs that rules may match"
    made = command_parser(rules.add_parser, "query", text, example=EXAMPLES["gpu rules query"])
    made.add_argument(
        "--layout", choices=["slurm", "kubernetes"], default="slurm", help="how log files are called; default: slurm"
    )
    made.add_argument("--job", metavar="REGEX", help="group 1 is the job's name in the path of a file")
    made.add_argument("--rank", metavar="REGEX", help="group 1 is the number of its process in that path")
    made.add_argument("--rules", metavar="FILE", help="a site's rules on top of the shipped ones")
    made.add_argument(
        "--output",
        choices=["sql", "yaml", "json"],
        default="sql",
        help="SQL, an entry for a configuration file, or the body of POST /api/v1/queries; default: sql",
    )
    made.set_defaults(command_module="gpu_rules_query")
