"""From what was found of an attempt, and what was reported of it, to the row of a failure; and whether it is news."""

import json
import re
from dataclasses import asdict, replace
from typing import Any, Final

from analytics.gpu.diagnosis import Diagnosis
from analytics.gpu.reported import lost_gpu_s
from collector.jobs.gpu_damaged import tell_damaged
from collector.jobs.gpu_runs import Run
from store.gpu_failures import FailureRow
from store.gpu_found import failed_at, found_row

#: Of a diagnosis, how much was read.
_COUNTED: Final = ("lines", "bytes")
_NUMBERS: Final = re.compile(r"\d+")


def failure_row(
    job: str, run: Run, found: Diagnosis, last_ns: int | None, now_ns: int, rules_version: str
) -> FailureRow | None:
    """What is kept of it; None where nothing failed.

    Args:
        last_ns: when its last line was written, None without any.
    """
    if found.status == "no_failure":
        return None
    told = run.attempt
    failed_ns = failed_at(told, reported=run.reported, else_ns=now_ns if last_ns is None else last_ns)
    return found_row(
        found,
        told,
        job=job,
        number=run.number,
        status=found.status,
        failed_ns=failed_ns,
        found_ns=now_ns,
        lost_gpu_s=None if told is None else lost_gpu_s(told, failed_ns),
        diagnosis=json.dumps(asdict(found)),
        rules_version=rules_version,
        origin="agents",
        reported=run.reported,
    )


def says_the_same(row: FailureRow, before: FailureRow) -> bool:
    """Whether nothing else was found: how many lines were read, and which of them by number it was, is no news."""
    given = replace(row, found_ns=before.found_ns, id=before.id, revision=before.revision)
    if replace(given, diagnosis=before.diagnosis) != before:
        return False
    if row.diagnosis == before.diagnosis:
        return True
    try:
        said_before = _uncounted(before.diagnosis)
    except (AttributeError, TypeError, ValueError) as error:
        tell_damaged(f"failure {before.id}", f"its diagnosis: {error}")  # what takes its place can be read
        return False
    return _uncounted(row.diagnosis) == said_before


def _uncounted(diagnosis: str) -> dict[str, Any]:
    said = {name: value for name, value in json.loads(diagnosis).items() if name not in _COUNTED}
    for shown in ("evidence", "cascades"):
        said[shown] = [{**line, "number": 0} for line in said.get(shown, ())]
    said["notes"] = [_NUMBERS.sub("#", note) for note in said.get("notes", ())]
    return said
