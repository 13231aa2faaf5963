"""Flags of `tailwatch drives`: the list, what may be asked or said of one drive, and what is muted."""

import argparse
import os

from tailwatch.command_examples import EXAMPLES
from tailwatch.command_parser import command_parser
from tailwatch.flag_values import row_count


def add_drives(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The command that lists drives, and its actions."""
    text = "list drives, those to replace first, and say what you know of one"
    drives = command_parser(commands.add_parser, "drives", text)
    drives.add_argument("--state", metavar="STATES", help="only replace, watch, good or unknown; several by commas")
    drives.add_argument("--model", metavar="M", help="only drives of exactly this model")
    drives.add_argument("--firmware", metavar="TEXT", help="only drives with exactly this firmware")
    drives.add_argument("--node", metavar="HOST", help="only drives in this host")
    drives.add_argument("--sort", choices=["state", "probability", "wear", "since", "drive"], help="default: state")
    drives.add_argument("--limit", type=row_count, default=50, metavar="N", help="at most so many (default: 50)")
    drives.add_argument("--output", choices=["table", "json"], default="table", help="default: table")
    _add_url(drives, default=os.environ.get("TAILWATCH_URL") or "http://127.0.0.1:8080")
    drives.set_defaults(command_module="drives")
    actions = drives.add_subparsers(title="actions", metavar="ACTION", help="one drive instead of the list")
    _add_show(actions)
    _add_acknowledge(actions)
    _add_unacknowledge(actions)
    _add_outcome(actions)
    _add_mute(actions)
    _add_unmute(actions)
    _add_mutes(actions)


def _add_show(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    show = command_parser(actions.add_parser, "show", "show one drive, and why", example=EXAMPLES["drives show"])
    show.add_argument("--output", choices=["table", "json"], default=argparse.SUPPRESS, help="default: table")
    show.set_defaults(command_module="drives_show")
    _add_drive(show)


def _add_acknowledge(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "say that what is wrong with a drive is known: it is left out of its state until it gets worse"
    acknowledge = command_parser(actions.add_parser, "acknowledge", text)
    acknowledge.add_argument(
        "--cause", dest="causes", action="append", metavar="CAUSE",
        help="a rule, probability or wear; may be repeated (default: all there are)",
    )  # fmt: skip
    acknowledge.add_argument("--until", metavar="TIME", help="now+14d, or RFC 3339 (default: now+30d)")
    _add_note(acknowledge)
    acknowledge.set_defaults(command_module="drives_say", saying="acknowledge")
    _add_drive(acknowledge)


def _add_unacknowledge(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "take an acknowledgement back: what is wrong with the drive counts again"
    unacknowledge = command_parser(actions.add_parser, "unacknowledge", text)
    unacknowledge.add_argument("--cause", metavar="CAUSE", help="only this one (default: all there are)")
    unacknowledge.set_defaults(command_module="drives_say", saying="unacknowledge")
    _add_drive(unacknowledge)


def _add_outcome(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "say what became of a drive: what the next training learns from"
    outcome = command_parser(actions.add_parser, "outcome", text)
    outcome.add_argument("--day", metavar="DAY", help="on which day, for example 2026-11-22 (default: today, UTC)")
    _add_note(outcome)
    outcome.set_defaults(command_module="drives_say", saying="outcome")
    _add_drive(outcome)
    outcome.add_argument(
        "outcome", choices=["failed", "replaced_healthy", "back"], metavar="OUTCOME",
        help="failed, replaced_healthy (it worked), or back (in use again)",
    )  # fmt: skip


def _add_mute(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "leave an attribute out of rules and states: of one drive, of a model, or of all drives"
    mute = command_parser(actions.add_parser, "mute", text)
    mute.add_argument("column", metavar="COLUMN", help="for example crc_total; also probability or wear")
    _add_which(mute)
    mute.add_argument("--until", metavar="TIME", help="now+14d, or RFC 3339 (default: until it is taken back)")
    _add_note(mute)
    mute.set_defaults(command_module="drives_mute", saying="mute")


def _add_unmute(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "take a mute back: the attribute counts again"
    unmute = command_parser(actions.add_parser, "unmute", text)
    unmute.add_argument("column", nargs="?", metavar="COLUMN", help="only this one (default: all that are muted there)")
    _add_which(unmute)
    unmute.set_defaults(command_module="drives_mute", saying="unmute")


def _add_mutes(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    mutes = command_parser(actions.add_parser, "mutes", "list all that is muted now, and by whom")
    mutes.add_argument("--output", choices=["table", "json"], default=argparse.SUPPRESS, help="default: table")
    _add_url(mutes, default=argparse.SUPPRESS)
    mutes.set_defaults(command_module="drives_mute", saying="mutes")


def _add_which(parser: argparse.ArgumentParser) -> None:
    """Of which drives; nothing is meant where nothing is said."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--drive", metavar="SERIAL", help="of this drive alone")
    which.add_argument("--model", dest="of_model", metavar="M", help="of the drives of exactly this model")
    which.add_argument("--fleet", action="store_true", help="of all drives")
    _add_url(parser, default=argparse.SUPPRESS)


def _add_note(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--note", default="", metavar="TEXT", help="for whoever looks at it next")


def _add_drive(parser: argparse.ArgumentParser) -> None:
    """Which drive, and where the API is: the flag may stand before the action, too."""
    parser.add_argument("drive", metavar="SERIAL", help="serial number as the list shows it, or host:device")
    _add_url(parser, default=argparse.SUPPRESS)


def _add_url(parser: argparse.ArgumentParser, *, default: str) -> None:
    parser.add_argument(
        "--url", default=default, help="address of the API (default: $TAILWATCH_URL, else http://127.0.0.1:8080)"
    )
