"""`tailwatch tail services`: services over HTTP, their objectives, alerts, questions about them and target tables."""

import argparse
import json
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

from tailwatch.errors import AnswerError
from tailwatch.http_client import delete, get, post, put

Answer = dict[str, Any]

_SETTINGS: Final = (
    "percentile", "target_ms", "fan_out", "window_days", "threads", "workers", "max_degree", "class_edges_ms", "policy",
    "explore_share",
)  # fmt: skip
_NOT_FOUND: Final = 404


def run(args: argparse.Namespace) -> int:
    """Do what the action says."""
    return _ACTIONS[args.doing](args)


def path_of(service: str, rest: str) -> str:
    """Of something of a service; its name may hold anything."""
    return f"/api/v1/services/{quote(service, safe='')}/{rest}"


def shown(args: argparse.Namespace, document: Mapping[str, Any], text: str) -> int:
    """Print it as asked."""
    print(json.dumps(document, indent=2, ensure_ascii=False) if args.output == "json" else text, flush=True)
    return 0


def _list(args: argparse.Namespace) -> int:
    from tailwatch.tail_service_report import services_text

    services = _all(args, "/api/v1/services", "services")
    return shown(args, {"services": services}, services_text(services))


def _objective(args: argparse.Namespace) -> int:
    from tailwatch.tail_service_report import objective_text

    path, given = path_of(args.service, "objective"), _given(args)
    try:
        before = get(args.url, path)
    except AnswerError as error:
        if error.problem.get("status") != _NOT_FOUND or not given:
            raise
        before = {"version": 0}  # the first word on a service that nobody has heard of
    if not given:
        return shown(args, before, objective_text(before))
    kept = {name: before[name] for name in _SETTINGS if name in before}
    after = put(args.url, path, kept | given, expected_version=before["version"])
    return shown(args, after, objective_text(after))


def _given(args: argparse.Namespace) -> Answer:
    """The settings that flags say."""
    given = {name: value for name in _SETTINGS if (value := getattr(args, name)) is not None}
    return given | {"policy": _policy(args.policy)} if args.policy else given


def _policy(text: str) -> Answer:
    from analytics.tail.policy_documents import policy_document
    from tailwatch.commands.tail_whatif import policy_given

    return policy_document(policy_given(text))


def _alerts(args: argparse.Namespace) -> int:
    from tailwatch.tail_service_report import alerts_text

    path = "/api/v1/alerts/services" if args.service is None else path_of(args.service, "alerts")
    alerts = _all(args, path, "alerts", [] if args.quiet_too else [("firing", "true")])
    return shown(args, {"alerts": alerts}, alerts_text(alerts, quiet_too=args.quiet_too))


def _alert_history(args: argparse.Namespace) -> int:
    from tailwatch.tail_service_report import alert_history_text

    stretch = [("start", args.start), ("end", args.end)]
    changes = _all(args, path_of(args.service, "alerts/history"), "changes", stretch)
    return shown(args, {"changes": changes}, alert_history_text(changes))


def _learn(args: argparse.Namespace) -> int:
    return _asked(args, "speedup-profile/learn", {})


def _what_if(args: argparse.Namespace) -> int:
    which: Answer = {"table_version": args.table} if args.table else {"candidate": _policy(args.candidate)}
    return _asked(args, "what-if", {**which, "load_multiplier": args.load_multiplier})


def _search(args: argparse.Namespace) -> int:
    return _asked(args, "target-tables/search", {"note": args.note})


def _asked(args: argparse.Namespace, rest: str, question: Answer) -> int:
    """Ask, and wait for the answer; exit code 1 where there is none."""
    from tailwatch.tail_runs import ended_run
    from tailwatch.tail_service_report import run_text

    stretch = {"start": args.start, "end": args.end}
    row = post(args.url, path_of(args.service, rest), {**stretch, **question})
    if not args.no_wait:
        row = ended_run(args.url, path_of(args.service, f"runs/{row['id']}"))
    shown(args, row, run_text(row))
    return 0 if args.no_wait or row["state"] == "done" else 1


def _runs(args: argparse.Namespace) -> int:
    from tailwatch.tail_service_report import runs_text

    runs = _all(args, path_of(args.service, "runs"), "runs")
    return shown(args, {"runs": runs}, runs_text(runs))


def _cancel(args: argparse.Namespace) -> int:
    row = delete(args.url, path_of(args.service, f"runs/{quote(args.run, safe='')}"))
    return shown(args, row, f"run {row['id']} of {args.service} is {row['state']}")


def _tables(args: argparse.Namespace) -> int:
    from tailwatch.tail_service_report import tables_text

    tables = _all(args, path_of(args.service, "target-tables"), "tables")
    return shown(args, {"tables": tables}, tables_text(tables))


def _activate(args: argparse.Namespace) -> int:
    """Only in place of the table that is active as this begins."""
    path = path_of(args.service, "target-tables")
    active = get(args.url, path)["active"]
    body = {"note": args.note, "expected_active": active}
    row = post(args.url, f"{path}/{args.version}/activate", body)
    return shown(args, row, f"table {row['version']} of {args.service} is in use" + _instead(active, row["version"]))


def _instead(active: int | None, version: int) -> str:
    return "" if active in (None, version) else f" instead of {active}"


def _roll_back(args: argparse.Namespace) -> int:
    path = path_of(args.service, "target-tables")
    active = get(args.url, path)["active"]
    if active is None:
        problem = {"status": 409, "detail": "no target table is in use"}
        raise AnswerError(f"no target table of {args.service} is in use; there is nothing to take back", problem)
    row = post(args.url, f"{path}/{active}/roll-back", {"note": args.note})
    now = row["active"]
    then = "none is in use now" if now is None else f"table {now['version']} is in use again"
    return shown(args, row, f"table {row['rolled_back']} of {args.service} is taken back; {then}")


def _all(args: argparse.Namespace, path: str, name: str, asked: list[tuple[str, str]] | None = None) -> list[Answer]:
    """Every page: whoever looks for what is wrong must not miss the last one."""
    found: list[Answer] = []
    cursor: list[tuple[str, str]] = []
    while True:
        page = get(args.url, path, [*(asked or []), *cursor])
        found += page[name]
        if page["next_cursor"] is None:
            return found
        cursor = [("cursor", page["next_cursor"])]


_ACTIONS: Final[Mapping[str, Callable[[argparse.Namespace], int]]] = {
    "list": _list, "objective": _objective, "alerts": _alerts, "alert-history": _alert_history, "learn": _learn,
    "what-if": _what_if, "search": _search, "runs": _runs, "cancel": _cancel,
    "tables": _tables, "activate": _activate, "roll-back": _roll_back,
}  # fmt: skip
