"""Flags of `tailwatch tail services`: objectives, alerts, questions and target tables, over HTTP."""

import argparse
import os

from tailwatch.command_examples import EXAMPLES
from tailwatch.command_parser import command_parser
from tailwatch.flag_values import count_up_to
from tailwatch.tail_recorded_parsers import class_edges, milliseconds, multiplier, percentile, share

Actions = argparse._SubParsersAction  # the type that argparse gives, and does not name


def add_services(actions: "Actions[argparse.ArgumentParser]") -> None:
    """`services`, which lists them, and what is done with one."""
    text = "list services that record requests; set objectives, ask what would be faster, put target tables in use"
    services = command_parser(actions.add_parser, "services", text, example=EXAMPLES["tail services"])
    _add_output(services, default="table")
    _add_url(services, default=os.environ.get("TAILWATCH_URL") or "http://127.0.0.1:8080")
    services.set_defaults(command_module="tail_services", doing="list")
    of_one = services.add_subparsers(title="actions", metavar="ACTION", help="one service instead of the list")
    _add_objective(of_one)
    _add_alerts(of_one)
    _add_questions(of_one)
    _add_tables(of_one)


def _add_objective(actions: "Actions[argparse.ArgumentParser]") -> None:
    text = "show what a service promises and runs on, or set what is given here and keep the rest"
    objective = _action(actions, "objective", text)
    objective.add_argument("--percentile", type=percentile, metavar="Q", help="of requests that shall meet the target")
    objective.add_argument("--target-ms", type=milliseconds, metavar="MS", help="within so long, from arrival to end")
    objective.add_argument(
        "--fan-out", type=count_up_to(100_000), metavar="N", help="servers that one answer waits for"
    )
    objective.add_argument("--window-days", type=count_up_to(366), metavar="N", help="over which the promise is kept")
    objective.add_argument("--threads", type=count_up_to(4_096), metavar="N", help="of the hardware, of each instance")
    objective.add_argument("--workers", type=count_up_to(4_096), metavar="N", help="of the pool that runs requests")
    objective.add_argument("--max-degree", type=count_up_to(4_096), metavar="D", help="most threads of a request")
    objective.add_argument(
        "--class-edges", dest="class_edges_ms", type=class_edges, metavar="MS,...", help="where classes of work begin"
    )
    objective.add_argument("--policy", metavar="POLICY", help="that decides on degrees now, as `tail whatif` takes it")
    objective.add_argument(
        "--explore-share", type=share, metavar="X", help="of requests, with a degree drawn by chance, such as 0.01"
    )


def _add_alerts(actions: "Actions[argparse.ArgumentParser]") -> None:
    alerts = _action(actions, "alerts", "show what fires, why and since when", service="?")
    alerts.add_argument("--all", action="store_true", dest="quiet_too", help="those that are quiet, too")
    history = _action(
        actions, "alert-history", "show each time that an alert began, ended or changed, the newest first"
    )
    history.add_argument("--start", default="-7d", metavar="TIME", help="changes from then on (default: -7d)")
    history.add_argument("--end", default="now", metavar="TIME", help="changes before then (default: now)")


def _add_questions(actions: "Actions[argparse.ArgumentParser]") -> None:
    learn = _action(actions, "learn", "learn speed-ups anew from what is recorded, and use them")
    what_if = _action(actions, "what-if", "ask what another policy would make of what is recorded")
    search = _action(actions, "search", "search the target table that suits what is recorded, and keep it as a draft")
    which = what_if.add_mutually_exclusive_group(required=True)
    which.add_argument("--candidate", metavar="POLICY", help="as `tail whatif` takes it: in words, or a JSON file")
    which.add_argument("--table", type=count_up_to(2**31 - 1), metavar="VERSION", help="a target table of the service")
    what_if.add_argument(
        "--load-multiplier", type=multiplier, default=1.0, metavar="X", help="so many times the load (default: 1)"
    )
    search.add_argument("--note", default="", metavar="TEXT", help="stands with the draft")
    for asked in (learn, what_if, search):
        asked.add_argument("--start", default="-6h", metavar="TIME", help="requests from then on (default: -6h)")
        asked.add_argument("--end", default="now", metavar="TIME", help="requests before then (default: now)")
        asked.add_argument("--no-wait", action="store_true", help="print the run and leave; it goes on")
    _action(actions, "runs", "list what was asked, the newest first, and how far the answers are")
    cancel = _action(actions, "cancel", "want no answer any more to what waits or is worked on")
    cancel.add_argument("run", metavar="RUN", help="as `runs` shows it")


def _add_tables(actions: "Actions[argparse.ArgumentParser]") -> None:
    _action(actions, "tables", "list target tables: drafts, the one in use, and those that were")
    activate = _action(actions, "activate", "have the service's servers use a target table")
    activate.add_argument("version", type=count_up_to(2**31 - 1), metavar="VERSION", help="as `tables` shows it")
    roll_back = _action(actions, "roll-back", "take the table in use back: the one before it is used again")
    for changing in (activate, roll_back):
        changing.add_argument("--note", default="", metavar="TEXT", help="why; stands in the list of changes")


def _action(
    actions: "Actions[argparse.ArgumentParser]", name: str, text: str, service: str | None = None
) -> argparse.ArgumentParser:
    parser = command_parser(actions.add_parser, name, text, example=EXAMPLES[f"tail services {name}"])
    parser.add_argument("service", nargs=service, metavar="SERVICE", help="its name, as the list shows it")
    _add_output(parser, default=argparse.SUPPRESS)
    _add_url(parser, default=argparse.SUPPRESS)
    parser.set_defaults(command_module="tail_services", doing=name)
    return parser


def _add_output(parser: argparse.ArgumentParser, *, default: str) -> None:
    parser.add_argument("--output", choices=["table", "json"], default=default, help="default: table")


def _add_url(parser: argparse.ArgumentParser, *, default: str) -> None:
    parser.add_argument(
        "--url", default=default, help="address of the API (default: $TAILWATCH_URL, else http://127.0.0.1:8080)"
    )
