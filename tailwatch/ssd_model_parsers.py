"""Flags of the commands of `tailwatch ssd` that look after the database's models and drives."""

import argparse

from tailwatch.command_examples import EXAMPLES
from tailwatch.command_parser import add_settings_flags, command_parser


def add_model_actions(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """`install`, `models`, `promote` and `export`."""
    text = "keep a model in the database, as the first one or in the shadow of the active one"
    install = command_parser(actions.add_parser, "install", text, example=EXAMPLES["ssd install"])
    install.add_argument("model", metavar="MODEL", help="what `tailwatch ssd train` wrote")
    install.add_argument("--shadow", action="store_true", help="let it score beside the active model, and say nothing")
    install.set_defaults(command_module="ssd_models", action="install")
    text = "list all models of the database, and what they were trained on"
    models = command_parser(actions.add_parser, "models", text, example=EXAMPLES["ssd models"])
    models.add_argument("--output", choices=["table", "json"], default="table", help="default: table")
    models.set_defaults(command_module="ssd_models", action="models")
    text = "let the shadow take the active model's place, where the gate lets it pass"
    promote = command_parser(actions.add_parser, "promote", text, example=EXAMPLES["ssd promote"])
    promote.add_argument(
        "--on",
        metavar="FILE",
        help="drive-days and failures to judge by; days that a model was trained on are left out",
    )
    promote.add_argument("--force", action="store_true", help="promote it whatever the gate says, or without asking it")
    promote.add_argument("--because", metavar="TEXT", help="why; kept with the model, and wanted with --force")
    promote.set_defaults(command_module="ssd_models", action="promote")
    text = "write the database's drive-days and failures as one table that `tailwatch ssd train` reads"
    export = command_parser(actions.add_parser, "export", text, example=EXAMPLES["ssd export"])
    export.add_argument("file", metavar="FILE", help="the table, .parquet; replaced when the new one is whole")
    export.set_defaults(command_module="ssd_export")
    for parser in (install, models, promote, export):
        add_settings_flags(parser)
