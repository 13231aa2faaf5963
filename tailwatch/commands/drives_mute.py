"""`tailwatch drives mute`, `unmute` and `mutes`: which attributes of drives are not looked at, and which are not now.

Whether a drive, a model or the whole fleet is meant has to be said: what is muted by mistake is not heard of.
"""

import argparse
import json
from typing import Any
from urllib.parse import quote

from tailwatch.http_client import delete, get, post
from tailwatch.terminal import table

_FLEET = "/api/v1/drives/mute"
_HEADERS = ("column", "of", "until", "who", "since", "note")


def run(args: argparse.Namespace) -> int:
    """Do what the action says, and print what is muted, or no longer."""
    if args.saying == "mutes":
        return _listed(args)
    path = _FLEET if args.drive is None else f"/api/v1/drives/{quote(args.drive, safe='')}/mute"
    of_model = {"model": args.of_model} if args.of_model is not None else {}
    if args.saying == "mute":
        until = {"until": args.until} if args.until else {}
        answer = post(args.url, path, {"column": args.column, "note": args.note, **until, **of_model})
    else:
        answer = delete(args.url, path, {**({"column": args.column} if args.column else {}), **of_model})
    for action in answer["actions"]:
        done = f"muted until {action['until'] or 'it is taken back'}" if args.saying == "mute" else "no longer muted"
        print(f"{_about(action)}: {action['column']} {done}")
    print(answer["takes_effect"])
    return 0


def _listed(args: argparse.Namespace) -> int:
    """All of them: whoever looks for what is kept quiet must not miss the last page."""
    mutes: list[dict[str, Any]] = []
    cursor: list[tuple[str, str]] = []
    while True:
        page = get(args.url, _FLEET, cursor)
        mutes += page["mutes"]
        if page["next_cursor"] is None:
            break
        cursor = [("cursor", page["next_cursor"])]
    if args.output == "json":
        print(json.dumps({"mutes": mutes}, indent=2, ensure_ascii=False))
    elif mutes:
        print(table(_HEADERS, [_row(one) for one in mutes], [False] * len(_HEADERS)))
    else:
        print("nothing is muted")
    return 0


def _row(mute: dict[str, Any]) -> list[str]:
    until = mute["until"] or "it is taken back"
    return [mute["column"], _about(mute), until, mute["who"], mute["created"][:10], mute["note"] or "-"]


def _about(mute: dict[str, Any]) -> str:
    if mute["drive"] is not None:
        return str(mute["drive"])
    return "all drives" if mute["model"] is None else f"drives of model {mute['model']}"
