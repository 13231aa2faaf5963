"""Flags of the commands of `tailwatch ssd` that say what is the matter with drives: explain and score."""

import argparse

from tailwatch.command_examples import EXAMPLES
from tailwatch.command_parser import command_parser
from tailwatch.flag_values import count_up_to

Actions = argparse._SubParsersAction  # the type that argparse gives, and does not name


def add_drive_commands(actions: "Actions[argparse.ArgumentParser]") -> None:
    """Both, in the group `ssd`."""
    _add_explain(actions)
    _add_score(actions)


def _add_explain(actions: "Actions[argparse.ArgumentParser]") -> None:
    text = "say all that can be said of one drive: its fields, rules that fire, wear, probability, state"
    explain = command_parser(actions.add_parser, "explain", text, example=EXAMPLES["ssd explain"])
    explain.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="answers of `smartctl --json -x DEVICE`, of one drive on one or several days; or one table of drives",
    )
    explain.add_argument("--drive", metavar="SERIAL", help="which drive of a table")
    explain.add_argument("--model", metavar="MODEL", help="a model of `tailwatch ssd train` (default: none)")
    explain.add_argument("--json", dest="as_json", action="store_true", help="the same as JSON")
    explain.set_defaults(command_module="ssd_explain")


def _add_score(actions: "Actions[argparse.ArgumentParser]") -> None:
    text = "rank the drives of a table by what is to be done about them on its newest day"
    score = command_parser(actions.add_parser, "score", text, example=EXAMPLES["ssd score"])
    score.add_argument(
        "file", metavar="FILE", help="drive-days, drive statistics or readings: .csv, .csv.gz or .parquet"
    )
    score.add_argument(
        "--model", metavar="MODEL", help="a model of `tailwatch ssd train` (default: none, rules and wear alone)"
    )
    score.add_argument(
        "--top", type=count_up_to(10_000_000, 0), default=20, metavar="N", help="how many; 0 for all (default: 20)"
    )
    form = score.add_mutually_exclusive_group()
    form.add_argument("--json", dest="as_json", action="store_true", help="as JSON")
    form.add_argument("--csv", dest="as_csv", action="store_true", help="as CSV")
    score.set_defaults(command_module="ssd_score")
