"""`tailwatch ssd score`: the drives of a table as a ranked list, those to replace first."""

import argparse
import csv
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from analytics.ssd.assessment import Assessments
    from analytics.ssd.verdicts import Assessment, Scorer

#: A spreadsheet runs what begins so.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def run(args: argparse.Namespace) -> int:
    """Judge every drive on the table's newest day and print the first of the list."""
    from analytics.ssd.days import any_synthetic
    from analytics.ssd.tables import read_file
    from tailwatch.drive_documents import newest_day
    from tailwatch.drive_models import model_of
    from tailwatch.drive_report import trained_on_synthetic

    model = model_of(args.model)
    days, failures = read_file(Path(args.file))
    alive = days.join(failures, on="drive", how="anti", maintain_order="left")
    said, ranked = _ranked(alive, model, lambda day: _features(days, alive, failures, day), args.top)
    identity = {row["drive"]: row for row in _newest(alive).iter_rows(named=True)}
    rows = [_row(place, one, identity[one.drive]) for place, one in enumerate(ranked, 1)]
    head = {
        "file": args.file,
        "day": None if alive.is_empty() else newest_day(alive).isoformat(),
        "drives": len(said),
        "failed_before": failures.height,
        "states": _counts(said),
        "synthetic": any_synthetic(days),
        "scored_by": None if model is None else {"digest": model.digest, "synthetic": trained_on_synthetic(model)},
        "why_no_probability": "" if model is not None else "no model",
    }
    if args.as_json:
        print(json.dumps({**head, "ranked": rows}, indent=2, ensure_ascii=False))
    elif args.as_csv:
        _write_csv(rows, said.horizons)
    else:
        print(_text(head, rows, said.horizons))
    return 0


def _ranked(
    days: "pl.DataFrame", model: "Scorer | None", made_on: "Callable[[date], pl.DataFrame]", top: int
) -> "tuple[Assessments, list[Assessment]]":
    """Everything, and the first `top` of it with their reasons (0: all of it)."""
    import polars as pl

    from analytics.ssd.assessment import assess
    from tailwatch.drive_documents import newest_day

    if days.is_empty():
        said = assess(days, None, None, {}, {}, {}, date(1970, 1, 1))
        return said, []
    day = newest_day(days)
    made = None if model is None else made_on(day)
    said = assess(days, made, model, {}, {}, {}, day)
    worst = [pl.max_horizontal(f"p{horizon}" for horizon in said.horizons)] if said.horizons else []
    order = said.frame.select("drive", "state", "used_pct", *(one.alias("_p") for one in worst))
    by = ["state", *(["_p"] if worst else []), "used_pct", "drive"]
    descending = [*([True] * (len(by) - 1)), False]
    names = order.sort(by, descending=descending, nulls_last=True)["drive"].to_list()
    names = names[:top] if top else names
    shown = days.filter(pl.col("drive").is_in(names))
    features_shown = None if made is None else made.filter(pl.col("drive").is_in(names))
    first_ones = assess(shown, features_shown, model, {}, {}, {}, day, explained=names)
    found = {one.drive: one for one in first_ones}
    return said, [found[name] for name in names]


def _features(days: "pl.DataFrame", alive: "pl.DataFrame", failures: "pl.DataFrame", day: date) -> "pl.DataFrame":
    """Of the newest days of the drives that are alive; the others say where failures were."""
    from analytics.ssd.features import features
    from analytics.ssd.neighbours import located_failures
    from analytics.ssd.refusals import STALE_AFTER_D
    from tailwatch.drive_models import reference_of

    first = day - timedelta(days=STALE_AFTER_D)
    return features(alive, first, day, failures=located_failures(failures, days), reference=reference_of(days, first))


def _newest(days: "pl.DataFrame") -> "pl.DataFrame":
    return days.group_by("drive", maintain_order=True).last()


def _counts(said: "Assessments") -> dict[str, int]:
    from analytics.ssd.verdicts import State

    states = said.frame["state"].to_list()
    return {state.name.lower(): states.count(int(state)) for state in sorted(State, reverse=True)}


def _row(place: int, one: "Assessment", identity: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "rank": place,
        "drive": one.drive,
        "state": one.state.name.lower(),
        "model": identity["model"],
        "firmware": identity["firmware"],
        "node": identity["node"],
        "day": identity["day"].isoformat(),
        "probabilities": {str(horizon): p for horizon, p in one.probabilities.items()},
        "why_no_probability": one.why_no_probability,
        "used_pct": one.wear.used_pct,
        "ends": None if one.wear.ends is None else one.wear.ends.isoformat(),
        "rules": [rule.rule for rule in one.rules],
        "why": _why(one),
    }


def _why(one: "Assessment") -> list[str]:
    """Rules, then reasons of the probability; of an unknown drive why it is."""
    from analytics.ssd.verdicts import State
    from analytics.ssd.wear import wear_text

    texts = [rule.text for rule in one.rules]
    if "wear" in one.causes:
        texts.append(wear_text(one.wear))
    texts += [reason.text for reason in one.reasons]
    return [one.why_unknown, *texts] if one.state == State.UNKNOWN else texts


def _text(head: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], horizons: Sequence[int]) -> str:
    from tailwatch.terminal import table

    model = head["scored_by"]
    by = f"by model {model['digest'][:19]}" if model else "no model: rules and wear alone, no probabilities"
    if model and model["synthetic"]:
        by += " (trained on synthetic drives)"
    counts = ", ".join(f"{count:,} {state}" for state, count in head["states"].items())
    made_up = " synthetic" if head["synthetic"] else ""
    drives = f"{head['drives']:,}{made_up} drive{'' if head['drives'] == 1 else 's'}"
    lines = [f"{head['file']}, {head['day'] or 'no day'}: {drives}: {counts}", by]
    if head["failed_before"]:
        lines.append(f"left out for having failed: {head['failed_before']:,}")
    headers = (
        "rank",
        "drive",
        "state",
        "model",
        "firmware",
        *(f"{horizon} d" for horizon in horizons),
        "worn",
        "used up",
        "why",
    )
    right = (True, False, False, False, False, *(True for _ in horizons), True, False, False)
    cells = [
        [
            str(row["rank"]),
            row["drive"],
            row["state"],
            row["model"] or "-",
            row["firmware"] or "-",
            *(_chance(row["probabilities"].get(str(horizon))) for horizon in horizons),
            "-" if row["used_pct"] is None else f"{row['used_pct']:.0f} %",
            "is" if (row["used_pct"] or 0) >= 100 else row["ends"] or "-",
            "; ".join(row["why"][:3]) or "-",
        ]
        for row in rows
    ]
    return "\n".join([*lines, "", table(headers, cells, right)] if rows else lines)


def _chance(p: float | None) -> str:
    from tailwatch.drive_report import probability_text

    return "-" if p is None else probability_text(p)


def _write_csv(rows: Sequence[Mapping[str, Any]], horizons: Sequence[int]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    names = ("rank", "drive", "state", "model", "firmware", "node", "day")
    writer.writerow([*names, *(f"p{horizon}" for horizon in horizons), "used_pct", "ends", "why"])
    for row in rows:
        chances = [row["probabilities"].get(str(horizon)) for horizon in horizons]
        values = [*(row[name] for name in names), *chances, row["used_pct"], row["ends"], "; ".join(row["why"])]
        writer.writerow([_harmless(value) for value in values])


def _harmless(value: Any) -> Any:
    """Texts of drives and files with what a spreadsheet would run made text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
