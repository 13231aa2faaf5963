"""`tailwatch gpu failures`: what GPU jobs died of, as a table or as the API's own JSON."""

import argparse
import json
from collections.abc import Sequence
from typing import Any, Final

from tailwatch.http_client import get
from tailwatch.terminal import table

PATH: Final = "/api/v1/gpu/failures"
_FILTERS: Final = ("job", "reason", "category", "user", "node", "status", "start", "end")
_HEADERS: Final = (
    "failed", "job", "attempt", "reason", "sure", "category", "node", "user", "GPUs", "lost GPU h", "retry",
)  # fmt: skip
_RIGHT: Final = (False, False, True, False, True, False, False, False, True, True, False)
_A_PAGE: Final = 100
#: Of a time in RFC 3339; what stands behind says nothing to a person.
_SECONDS: Final = len("2026-11-22T07:00:10")

Failure = dict[str, Any]


def run(args: argparse.Namespace) -> int:
    """Ask page by page up to --limit and print; no failure at all is said in words."""
    failures, more = _failures(args)
    if args.output == "json":
        print(json.dumps({"failures": failures}, indent=2, ensure_ascii=False))
    elif failures:
        print(as_table(failures))
        if more:
            print(f"\nthere are more; --limit {2 * args.limit} shows more of them")
    else:
        narrowed = any(getattr(args, name) for name in _FILTERS)
        yet = "no failures found yet; docs/how-to/gpu-jobs.md says what it takes to find them"
        print("no failures like that" if narrowed else yet)
    return 0


def as_table(failures: Sequence[Failure]) -> str:
    """One line a failure; where any is of a made-up job, a column says which, and where others come from."""
    made_up = any(failure["synthetic"] for failure in failures)
    rows = [
        [*_row(failure), *([("synthetic" if failure["synthetic"] else failure["origin"])] if made_up else [])]
        for failure in failures
    ]
    return table([*_HEADERS, *(["origin"] if made_up else [])], rows, [*_RIGHT, *([False] if made_up else [])])


def _failures(args: argparse.Namespace) -> tuple[list[Failure], bool]:
    """(at most --limit failures, whether there are more)."""
    asked = [(name, text) for name in _FILTERS if (text := getattr(args, name))]
    found: list[Failure] = []
    cursor: list[tuple[str, str]] = []
    while True:
        limit = ("limit", str(min(args.limit - len(found), _A_PAGE)))
        page = get(args.url, PATH, [*asked, limit, *cursor])
        found += page["failures"]
        if page["next_cursor"] is None or len(found) >= args.limit:
            return found, page["next_cursor"] is not None
        cursor = [("cursor", page["next_cursor"])]


def _row(failure: Failure) -> list[str]:
    lost = failure["lost_gpu_hours"]
    return [
        failure["failed"][:_SECONDS] + "Z",
        failure["job"],
        str(failure["number"]),
        _reason(failure),
        f"{failure['confidence']:.0%}" if failure["guess"] else "-",
        failure["category"] or "-",
        failure["node"] or "-",
        failure["user"] or "-",
        "-" if failure["gpus"] is None else f"{failure['gpus']:g}",
        "-" if lost is None else f"{lost:,.1f}",
        failure["retry"] or "-",
    ]


def _reason(failure: Failure) -> str:
    if failure["reason"]:
        return str(failure["reason"])
    return f"unknown, perhaps {failure['guess']}" if failure["guess"] else "unknown"
