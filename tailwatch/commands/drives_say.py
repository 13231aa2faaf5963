"""`tailwatch drives acknowledge`, `unacknowledge` and `outcome`: what an operator knows of a drive, sent to the API.

An API that asks for keys wants one of the scope admin, in TAILWATCH_API_KEY; its name stands beside what was said.
"""

import argparse
from urllib.parse import quote

from tailwatch.http_client import delete, post


def run(args: argparse.Namespace) -> int:
    """Send it, and print what was written down and when it takes effect."""
    drive = f"/api/v1/drives/{quote(args.drive, safe='')}"
    note = {"note": args.note} if "note" in args else {}
    if args.saying == "outcome":
        body = {"outcome": args.outcome, **note, **({"day": args.day} if args.day else {})}
        answer = post(args.url, f"{drive}/outcome", body)
    elif args.saying == "acknowledge":
        causes = {"causes": args.causes} if args.causes else {}
        body = {**causes, **note, **({"until": args.until} if args.until else {})}
        answer = post(args.url, f"{drive}/acknowledge", body)
    else:
        answer = delete(args.url, f"{drive}/acknowledge", {"cause": args.cause} if args.cause else {})
    for action in answer["actions"]:
        if args.saying == "outcome":
            print(f"{action['drive']}: {action['outcome']} on {action['day']}")
        elif args.saying == "acknowledge":
            print(f"{action['drive']}: {action['cause']} acknowledged until {action['until'] or 'it is taken back'}")
        else:
            print(f"{action['drive']}: {action['cause']} no longer acknowledged")
    print(answer["takes_effect"])
    return 0
