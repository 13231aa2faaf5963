"""`tailwatch hosts`: every agent the API knows, with how far behind it is, as a table or as the API's own JSON."""

import argparse
import json
from typing import Any

from tailwatch.http_client import get
from tailwatch.terminal import table

_HEADERS = ("agent", "host", "state", "silent", "lag", "oldest frame", "clock ahead")
_RIGHT = (False, False, False, True, True, True, True)


def run(args: argparse.Namespace) -> int:
    """Ask page by page and print; no agent at all is said in words."""
    agents = _agents(args)
    if args.output == "json":
        print(json.dumps({"agents": agents}, indent=2, ensure_ascii=False))
    elif agents:
        print(table(_HEADERS, [_row(agent) for agent in agents], _RIGHT))
    else:
        print("no agents" + (" like that" if args.state or args.prefix else " yet"))
    return 0


def _agents(args: argparse.Namespace) -> list[dict[str, Any]]:
    asked = [(name, text) for name in ("state", "prefix") if (text := getattr(args, name))]
    found: list[dict[str, Any]] = []
    cursor: list[tuple[str, str]] = []
    while True:
        page = get(args.url, "/api/v1/agents", [*asked, *cursor])
        found += page["agents"]
        if page["next_cursor"] is None:
            return found
        cursor = [("cursor", page["next_cursor"])]


def _row(agent: dict[str, Any]) -> list[str]:
    ages = [_seconds(agent[name]) for name in ("silent_s", "lag_s", "spool_oldest_age_s", "clock_ahead_s")]
    host = " = ".join(agent["shared_by"]) or agent["host"]
    return [agent["agent"], host, agent["state"], *ages]


def _seconds(value: float | None) -> str:
    """Whole seconds from a minute on, tenths below; a dash where it is not known."""
    if value is None:
        return "-"
    return f"{value:,.0f} s" if abs(value) >= 60 else f"{value:.1f} s"
