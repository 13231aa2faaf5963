"""How each command's parser is made: its description, its examples below the flags, and the flags of the settings."""

import argparse
from collections.abc import Callable

from tailwatch.command_examples import EXAMPLES


def command_parser(
    make: Callable[..., argparse.ArgumentParser], name: str, text: str, *, prog: str | None = None, example: str = ""
) -> argparse.ArgumentParser:
    """A parser of `make`, for example `subparsers.add_parser`; `text` is its help and its description."""
    names = {"prog": prog} if prog else {"name": name, "help": text}
    return make(
        **names,
        description=text[:1].upper() + text[1:].rstrip(".") + ".",
        epilog=example or EXAMPLES[name],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_settings_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of every command that reads the settings (settings_flags.py)."""
    parser.add_argument("--config", metavar="FILE", help="YAML file (default: $TAILWATCH_CONFIG, else none)")
    parser.add_argument(
        "--set",
        dest="assignments",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="one setting, for example agent.checkpoint_s=1; may be repeated, wins over file and environment",
    )
    parser.add_argument("--data", metavar="DIR", help="data_dir: home of every path without one of its own")
    parser.add_argument("--log-level", choices=["debug", "info", "warning", "error"], help="log_level (default: info)")
