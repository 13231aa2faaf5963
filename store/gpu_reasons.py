"""Reasons of failures, without the long texts around them: for many attempts at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from store.gpu_tables import gpu_failures
from store.upsert import batched

_T = gpu_failures
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an attempt failed; None where no reason was sure enough, `template` where a rule knew it."""

    reason: str | None
    category: str | None
    template: str | None


def reasons_of(connection: sa.Connection, jobs: Sequence[str]) -> Mapping[tuple[str, int], Reason]:
    """(job, number) -> the reason, of every failure of these jobs."""
    found: dict[tuple[str, int], Reason] = {}
    for some in batched(sorted(set(jobs)), _AT_ONCE):
        query = sa.select(_T.c.job, _T.c.number, _T.c.reason, _T.c.category, _T.c.template).where(_T.c.job.in_(some))
        for row in connection.execute(query):
            found[row.job, row.number] = Reason(row.reason, row.category, row.template)
    return found
