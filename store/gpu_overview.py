"""How far the job of GPU failures is: when it last did all there was, how many jobs wait, when nodes were tested."""

from dataclasses import dataclass

import sqlalchemy as sa

from store.gpu_tables import gpu_nodes, gpu_progress

#: Where the job notes, under key 0, when the newest round began that did all there was.
ROUNDS_SCOPE = "gpu rounds"
#: Where it notes jobs with something new, one entry each.
WAITING_SCOPE = "gpu jobs waiting"


@dataclass(frozen=True, slots=True)
class GpuOverview:
    """What is noted.

    Attributes:
        round_ns: when that round began; None: none has come to its end yet.
        waiting: jobs with something new that is not looked into yet.
        checked_ns: when the newest test of nodes was; None: there was none, or no node to test.
    """

    round_ns: int | None
    waiting: int
    checked_ns: int | None


def gpu_overview(connection: sa.Connection) -> GpuOverview:
    """As of now."""
    t = gpu_progress
    return GpuOverview(
        connection.execute(sa.select(t.c.value).where(t.c.scope == ROUNDS_SCOPE, t.c.key == 0)).scalar_one_or_none(),
        connection.execute(sa.select(sa.func.count()).where(t.c.scope == WAITING_SCOPE)).scalar_one(),
        connection.execute(sa.select(sa.func.max(gpu_nodes.c.checked_ns))).scalar_one(),
    )
