"""`tailwatch drives`: which drives to replace and which to watch, as a table or as the API's own JSON."""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from tailwatch.http_client import get
from tailwatch.terminal import table

_HEADERS = ("state", "fails in 30 d", "wear", "life ends", "host", "rack", "serial", "model", "firmware", "reason")
_RIGHT = (False, True, True, *(False for _ in range(7)))
_A_PAGE = 100


def run(args: argparse.Namespace) -> int:
    """Ask page by page up to --limit and print; no drive at all is said in words."""
    drives, more = _drives(args)
    if args.output == "json":
        print(json.dumps({"drives": drives}, indent=2, ensure_ascii=False))
    elif drives:
        print(as_table(drives))
        notes = [*notes_on(drives), *([f"there are more; --limit {2 * args.limit} shows more of them"] if more else [])]
        if notes:
            print("\n" + "\n".join(notes))
    else:
        narrowed = args.state or args.model or args.firmware or args.node
        print("no drives like that" if narrowed else "no drives yet; agents read them with the source smart")
    return 0


def as_table(drives: Sequence[dict[str, Any]]) -> str:
    """One line a drive; where any is made up, a column says which."""
    made_up = any(drive["synthetic"] for drive in drives)
    rows = [[*_row(drive), *([("synthetic" if drive["synthetic"] else "measured")] if made_up else [])]
            for drive in drives]  # fmt: skip
    return table([*_HEADERS, *(["origin"] if made_up else [])], rows, [*_RIGHT, *([False] if made_up else [])])


def notes_on(drives: Sequence[dict[str, Any]]) -> list[str]:
    """What has to be known before anybody acts on a figure."""
    if any(drive["model_synthetic"] for drive in drives):
        return ["probabilities are of a model that learned from synthetic drives: see GET /api/v1/drives/model"]
    return []


def percent(share: float | None) -> str:
    """A probability, or a dash where there is none."""
    return "-" if share is None else f"{100 * share:.1f}%"


def _drives(args: argparse.Namespace) -> tuple[list[dict[str, Any]], bool]:
    """(at most --limit drives, whether there are more)."""
    asked = [(name, text) for name in ("state", "model", "firmware", "node", "sort") if (text := getattr(args, name))]
    found: list[dict[str, Any]] = []
    cursor: list[tuple[str, str]] = []
    while True:
        limit = ("limit", str(min(args.limit - len(found), _A_PAGE)))
        page = get(args.url, "/api/v1/drives", [*asked, limit, *cursor])
        found += page["drives"]
        if page["next_cursor"] is None or len(found) >= args.limit:
            return found, page["next_cursor"] is not None
        cursor = [("cursor", page["next_cursor"])]


def _row(drive: dict[str, Any]) -> list[str]:
    wear = drive["wear_used_percent"]
    return [
        drive["state"],
        percent(drive["probability_30d"]),
        "-" if wear is None else f"{wear:.0f}%",
        "used up" if wear is not None and wear >= 100 else drive["wear_ends"] or "-",
        *(drive[name] or "-" for name in ("node", "rack", "drive", "model", "firmware", "first_reason")),
    ]
