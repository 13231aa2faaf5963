"""Flags of `tailwatch ssd`: training, evaluating and applying what foretells failing drives."""

import argparse

from tailwatch.command_examples import EXAMPLES
from tailwatch.command_parser import command_parser
from tailwatch.flag_values import count_up_to, horizon_days, horizons
from tailwatch.ssd_drive_parsers import add_drive_commands
from tailwatch.ssd_model_parsers import add_model_actions

Actions = argparse._SubParsersAction  # the type that argparse gives, and does not name

_FILE = "drive-days, drive statistics or readings: .csv, .csv.gz or .parquet"


def add_ssd(commands: "Actions[argparse.ArgumentParser]") -> None:
    """The group `ssd` with its commands."""
    text = "foretell which drives fail: train, evaluate, score and explain"
    group = commands.add_parser("ssd", help=text, description=text.capitalize() + ".")
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    _add_train(actions)
    _add_evaluate(actions)
    add_drive_commands(actions)
    add_model_actions(actions)


def _add_train(actions: "Actions[argparse.ArgumentParser]") -> None:
    text = "train a model on drive-days with known failures, and write it with its card"
    train = command_parser(actions.add_parser, "train", text, example=EXAMPLES["ssd train"])
    train.add_argument("file", metavar="FILE", help=_FILE)
    train.add_argument(
        "--out", required=True, metavar="MODEL", help="where to write the model; its card goes beside it"
    )
    train.add_argument(
        "--horizons", type=horizons, default=(7, 30), metavar="DAYS", help="days to look ahead (default: 7,30)"
    )
    train.add_argument("--seed", type=count_up_to(2**31 - 1, 0), default=0, metavar="N", help="default: 0")
    train.add_argument(
        "--seeds",
        type=count_up_to(100, 0),
        default=2,
        metavar="N",
        help="seeds of the evaluation for the card; 0: a card without figures, which no gate lets pass (default: 2)",
    )
    train.add_argument("--origin", metavar="TEXT", help="where the data come from, for the card (default: FILE's name)")
    train.set_defaults(command_module="ssd_train")


def _add_evaluate(actions: "Actions[argparse.ArgumentParser]") -> None:
    text = "say how well failures are foretold, on days and drives that the training did not see"
    evaluate = command_parser(actions.add_parser, "evaluate", text, example=EXAMPLES["ssd evaluate"])
    evaluate.add_argument("file", metavar="FILE", help=_FILE)
    evaluate.add_argument(
        "--horizon", type=horizon_days, default=30, metavar="H", help="days to look ahead (default: 30)"
    )
    evaluate.add_argument("--seeds", type=count_up_to(100), default=10, metavar="N", help="default: 10")
    evaluate.add_argument("--folds", type=count_up_to(20, 3), default=5, metavar="N", help="default: 5")
    evaluate.add_argument("--model", metavar="MODEL", help="evaluate this model instead of training any")
    evaluate.add_argument("--json", dest="as_json", action="store_true", help="the same as JSON")
    evaluate.set_defaults(command_module="ssd_evaluate")
