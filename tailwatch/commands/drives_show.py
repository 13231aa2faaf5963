"""`tailwatch drives show SERIAL`: one drive, its rules, wear and probability apart, and what was said of it."""

import argparse
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from tailwatch.commands.drives import percent
from tailwatch.http_client import get
from tailwatch.terminal import harmless

_CHANGES = 10


def run(args: argparse.Namespace) -> int:
    """Ask for one drive and print it."""
    path = f"/api/v1/drives/{quote(args.drive, safe='')}"
    drive = get(args.url, path, {} if args.output == "json" else {"days": "0", "changes": str(_CHANGES)})
    print(
        json.dumps(drive, indent=2, ensure_ascii=False)
        if args.output == "json"
        else "\n".join(map(harmless, lines_of(drive)))
    )
    return 0


def lines_of(drive: dict[str, Any]) -> Iterator[str]:
    """The drive in words, the three outputs one after the other."""
    what = ", ".join(drive[name] for name in ("model", "firmware", "kind") if drive[name])
    where = " in ".join(text for text in (drive["node"], drive["rack"]) if text)
    yield f"{drive['drive']}: {drive['state']}" + (f" since {drive['since'][:10]}" if drive["since"] else "")
    yield f"  {what or 'of no known model'}; {where or 'in no known host'}; last read {drive['last_day']}"
    if drive["synthetic"]:
        yield "  synthetic: a generator made this drive up"
    if drive["why_unknown"]:
        yield f"  unknown: {drive['why_unknown']}"
    yield "rules"
    for rule in drive["rules"]:
        yield f"  {rule['severity']}: {rule['text']} ({rule['rule']}{', muted' if rule['muted'] else ''})"
    if not drive["rules"]:
        yield "  none fired"
    yield "wear"
    yield f"  {_wear(drive['wear'])}"
    yield "probability of failing"
    yield from (f"  {line}" for line in _probability(drive))
    if drive["shadow"] is not None:
        yield f"in the shadow, counts for nothing: {_both(drive['shadow'])}, by model {drive['shadow']['digest'][:19]}"
    if drive["muted"]:
        yield f"muted: {', '.join(drive['muted'])}; `tailwatch drives mutes` says by whom"
    known = [cause["cause"] for cause in drive["causes"] if cause["acknowledged"]]
    if known:
        yield f"acknowledged: {', '.join(known)}"
    if drive["actions"]:
        yield "said"
    for action in drive["actions"]:
        yield f"  {_said(action)}"
    if drive["states"]:
        yield "changes"
    for change in drive["states"]:
        yield f"  {change['at'][:10]} {change['was']} -> {change['state']}: {change['why']}"


def _said(action: dict[str, Any]) -> str:
    """What somebody said of it, with the note that they left for whoever looks next."""
    if action["kind"] == "outcome":
        what = f"{action['outcome']} on {action['day']}"
    else:
        done = "acknowledged" if action["kind"] == "acknowledge" else "muted"
        until = action["until"] or "it is taken back"
        what = f"{action['cause'] or action['column']} {done} until {until}"
        if action["drive"] is None:
            what += " on all drives" if action["model"] is None else f" on drives of model {action['model']}"
    note = f": {action['note']}" if action["note"] else ""
    ended = f" (ended {action['ended'][:10]})" if action["ended"] else ""
    return f"{action['created'][:10]} {action['who']}: {what}{ended}{note}"


def _wear(wear: dict[str, Any] | None) -> str:
    if wear is None or wear["used_percent"] is None:
        return "not known" + (f": {wear['why_not']}" if wear and wear["why_not"] else "")
    used = f"{wear['used_percent']:g} % of the rated life used"
    if wear["used_percent"] >= 100:
        return f"{used}: it is used up"
    if wear["ends"] is None:
        return f"{used}; {wear['why_not'] or 'no end in sight'}"
    early, late = wear["ends_early"] or "before", wear["ends_late"] or "open"
    basis = {"window": ", by its last days", "life": ", by its whole life"}.get(wear["basis"] or "", "")
    return f"{used}; ends {wear['ends']} ({early} to {late} with {100 * wear['confidence']:.0f} %{basis})"


def _probability(drive: dict[str, Any]) -> Iterator[str]:
    if drive["probability_7d"] is None and drive["probability_30d"] is None:
        yield f"none: {drive['why_no_probability']}"
        return
    yield _both(drive)
    if drive["model_synthetic"]:
        yield "synthetic: the model learned from made-up drives"
    for reason in drive["reasons"]:
        yield f"{'for' if reason['contribution'] > 0 else 'against'}: {reason['text']}"


def _both(said: dict[str, Any]) -> str:
    return f"{percent(said['probability_7d'])} within 7 days, {percent(said['probability_30d'])} within 30 days"
