"""The drives at a glance: how many are in which state, how many are made up, when anything was last said of them.

One pass along an index that has all that is counted, so that the parts of an answer fit each other, and the rows with
their long verdicts are not read: of a million drives these are gigabytes.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from store.drive_progress import read_progress
from store.drive_tables import drives

#: Where the scoring job notes, under key 0, when the newest round began that judged all drives.
ROUNDS_SCOPE = "drives rounds"

_T = drives


@dataclass(frozen=True, slots=True)
class DrivesOverview:
    """What there is.

    Attributes:
        counts: (model, state) -> how many drives.
        synthetic: drives that a generator made up.
        round_ns: when the newest round began that judged all drives; None: none did.
        scored_ns: when a drive was last judged; last_day: the newest day that any was seen on; None: never.
    """

    counts: dict[tuple[str | None, int], int]
    synthetic: int
    round_ns: int | None
    scored_ns: int | None
    last_day: int | None


def drives_overview(connection: sa.Connection) -> DrivesOverview:
    """All drives, by model and state."""
    synthetic = sa.func.sum(sa.case((_T.c.synthetic, 1), else_=0))
    newest = sa.func.max(_T.c.scored_ns), sa.func.max(_T.c.last_day)
    query = sa.select(_T.c.model, _T.c.state, sa.func.count(), synthetic, *newest).group_by(_T.c.model, _T.c.state)
    rows = connection.execute(query.order_by(_T.c.model, _T.c.state)).all()
    counts = {(model, state): n for model, state, n, *_ in rows}
    rounds = read_progress(connection, ROUNDS_SCOPE)
    return DrivesOverview(
        counts,
        sum(int(made_up) for _, _, _, made_up, _, _ in rows),
        rounds[0].value if 0 in rounds else None,
        max((scored_ns for *_, scored_ns, _ in rows if scored_ns is not None), default=None),
        max((last_day for *_, last_day in rows), default=None),
    )


def drive_models_named(connection: sa.Connection) -> list[str]:
    """The models that drives are of, in order."""
    query = sa.select(_T.c.model).where(_T.c.model.is_not(None)).distinct().order_by(_T.c.model)
    return list(connection.execute(query).scalars())
