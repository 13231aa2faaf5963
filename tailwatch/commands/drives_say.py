"""`tailwatch drives acknowledge` and `outcome`: what an operator knows of a drive, sent to the API.

An API that asks for keys wants one of the scope admin, in TAILWATCH_API_KEY; its name stands beside what was said.
"""

import argparse
from urllib.parse import quote

from tailwatch.http_client import post


def run(args: argparse.Namespace) -> int:
    """Send it, and print what was written down and when it takes effect."""
    said, body = _said(args)
    answer = post(args.url, f"/api/v1/drives/{quote(args.drive, safe='')}/{said}", body)
    for action in answer["actions"]:
        if said == "outcome":
            print(f"{action['drive']}: {action['outcome']} on {action['day']}")
        else:
            print(f"{action['drive']}: {action['cause']} acknowledged until {action['until'] or 'it is taken back'}")
    print(answer["takes_effect"])
    return 0


def _said(args: argparse.Namespace) -> tuple[str, dict[str, object]]:
    """(last part of the path, body)."""
    note = {"note": args.note}
    if "outcome" in args:
        return "outcome", {"outcome": args.outcome, **note, **({"day": args.day} if args.day else {})}
    causes = {"causes": args.causes} if args.causes else {}
    return "acknowledge", {**causes, **note, **({"until": args.until} if args.until else {})}
