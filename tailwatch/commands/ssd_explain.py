"""`tailwatch ssd explain`: all that can be said of one drive from smartctl's answers, or of one in a table."""

import argparse
import json
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from analytics.ssd.assessment import Assessments
    from analytics.ssd.states import Memory
    from analytics.ssd.verdicts import Scorer
    from tailwatch.drive_documents import OneDrive

#: States are followed over so many days before the newest one: longer than any is held without evidence.
_FOLLOWED_D = 30


def run(args: argparse.Namespace) -> int:
    """Read the files, judge the drive day after day up to the newest, and print what is said of that day."""
    from analytics.ssd.days import any_synthetic
    from tailwatch.drive_documents import one_drive
    from tailwatch.drive_models import model_of
    from tailwatch.drive_origins import origins
    from tailwatch.drive_report import explained, explained_text

    model = model_of(args.model)
    one = one_drive([Path(name) for name in args.files], args.drive)
    told = explained(
        _judged(one, model).of(one.drive),
        one.days.row(-1, named=True),
        one.days.height,
        origins(one.document, one.reading) if one.document is not None and one.reading is not None else {},
        model,
        synthetic=any_synthetic(one.days),
        failed=one.failed,
    )
    print(json.dumps(told, indent=2, ensure_ascii=False) if args.as_json else explained_text(told))
    return 0


def _judged(one: "OneDrive", model: "Scorer | None") -> "Assessments":
    """On the newest day, with what the days before have left in memory."""
    from analytics.ssd.assessment import assess

    newest: date = one.days["day"][-1]
    first = newest - timedelta(days=_FOLLOWED_D)
    made = None if model is None else _features(one, first)
    memories: dict[str, Memory] = {}
    for day in one.days["day"].filter(one.days["day"] > first):
        found = None if made is None else made.filter(made["day"] == day)
        said = assess(one.days, found, model, memories, {}, {}, day, explained=[one.drive] * (day == newest))
        memories = dict(said.memories)
    return said


def _features(one: "OneDrive", first: date) -> "pl.DataFrame":
    from analytics.ssd.features import features
    from tailwatch.drive_models import reference_of

    return features(one.days, first, failures=one.failures, reference=reference_of(one.fleet, first))
