"""The drives at a glance: how many are in which state, how many are made up, when anything was last said of them.

One pass over the table, so that the parts of an answer fit each other; counts by model come along an index.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from store.drive_progress import read_progress
from store.drive_tables import drives
from store.drives import counts_by_state

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
    query = sa.select(synthetic, sa.func.max(_T.c.scored_ns), sa.func.max(_T.c.last_day))
    made_up, scored_ns, last_day = connection.execute(query).one()
    rounds = read_progress(connection, ROUNDS_SCOPE)
    round_ns = rounds[0].value if 0 in rounds else None
    return DrivesOverview(counts_by_state(connection), int(made_up or 0), round_ns, scored_ns, last_day)


def drive_models_named(connection: sa.Connection) -> list[str]:
    """The models that drives are of, in order."""
    query = sa.select(_T.c.model).where(_T.c.model.is_not(None)).distinct().order_by(_T.c.model)
    return list(connection.execute(query).scalars())
