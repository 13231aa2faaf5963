"""How many records agents sampled out of the windows that an expression reads.

Answers of the REST API have coverage, which reads all manifests of a stretch. An expression of PromQL has none: it asks
only for what was sampled out, over an index that holds nothing but windows in which anything was.
"""

from collections.abc import Iterable

import sqlalchemy as sa

from store import tables
from store.samples import PlannedRead, window_conditions


def sampled_out(connection: sa.Connection, planned: Iterable[PlannedRead]) -> int:
    """Records that agents saw in windows of these reads and left out by their sampling; each counts once.

    Reads of several metrics of one query mean the same records.
    """
    table, total = tables.manifests, 0
    pieces = {
        (read.row.query_id, piece.version_id, piece.segment, piece.until_ns): (read, piece)
        for read in planned
        for piece in read.pieces
    }
    for read, piece in pieces.values():
        query = sa.select(sa.func.coalesce(sa.func.sum(table.c.n_sampled_out), 0)).where(
            *window_conditions(table, read, piece),
            table.c.n_sampled_out > sa.literal_column("0"),  # as the index says it, or the planner cannot use it
        )
        total += int(connection.execute(query).scalar_one())
    return total
