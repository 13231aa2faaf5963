"""Which nodes fail more jobs than the others, by the attempts of the last weeks; worked out once an hour.

The test and its correction are analytics/gpu/node_outliers.py. Made-up attempts are tested by themselves.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from typing import Final

import polars as pl
import sqlalchemy as sa

from analytics.gpu.node_outliers import NodeTest, node_test
from analytics.gpu.reported import attempt_of
from analytics.gpu.traces.columns import frame_of, with_durations
from collector.jobs.gpu_damaged import tell_damaged_attempts
from collector.jobs.gpu_waiting import PROGRESS
from collector.jobs.pace import Pace
from store.gpu_attempts import AttemptRow, attempts_between
from store.gpu_nodes import NodeRow, put_nodes
from store.gpu_reasons import reasons_of
from store.job_progress import Progress

#: Under key 0, when nodes were last tested.
TESTED_SCOPE: Final = "gpu nodes tested"
_EVERY_NS: Final = 3600 * 10**9
_ATTEMPTS_AT_ONCE: Final = 5_000


def check_nodes(engine: sa.Engine, since_ns: int, now_ns: int, pace: Pace) -> bool:
    """Test all nodes by the attempts since then, where that is due; False where it is not."""
    with engine.connect() as connection:
        last = PROGRESS.read(connection, TESTED_SCOPE).get(0)
        if last is not None and last.value <= now_ns < last.value + _EVERY_NS:
            return False
        parts = list(_frames(connection, since_ns, now_ns + 1))
    pace.rest()
    rows: dict[str, NodeRow] = {}
    if parts:
        # One that was told of anew meanwhile counts as it is now.
        attempts = pl.concat(parts).unique(["job", "number"], keep="last", maintain_order=True)
        for synthetic in (True, False):  # a node that has both is judged by what was measured
            found = node_test(with_durations(attempts.filter(synthetic=synthetic).drop("synthetic")))
            rows |= {} if found is None else _rows(found, synthetic, now_ns)
            pace.rest()
    with engine.begin() as connection:
        pace.hold(connection)
        put_nodes(connection, list(rows.values()), now_ns)
        PROGRESS.write(connection, TESTED_SCOPE, {0: Progress(now_ns)}, now_ns)
    return True


def _frames(connection: sa.Connection, start_ns: int, end_ns: int) -> Iterator[pl.DataFrame]:
    """Attempts with their reasons, some at a time."""
    rows = attempts_between(connection, start_ns, end_ns)
    while some := list(islice(rows, _ATTEMPTS_AT_ONCE)):
        yield _frame(connection, some)


def _frame(connection: sa.Connection, rows: list[AttemptRow]) -> pl.DataFrame:
    tell_damaged_attempts(rows)
    reasons = reasons_of(connection, [row.job for row in rows])
    frame = frame_of(attempt_of(row, reasons.get((row.job, row.number))) for row in rows)
    return frame.with_columns(synthetic=pl.Series([row.synthetic for row in rows], dtype=pl.Boolean))


def _rows(found: NodeTest, synthetic: bool, now_ns: int) -> dict[str, NodeRow]:
    about = {"counted": found.counted, "exposures": found.exposures, "alpha": found.alpha, "synthetic": synthetic}
    return {
        node.name: NodeRow(
            node=node.name,
            failures=node.failures,
            expected=node.expected,
            ratio=node.ratio,
            p_value=node.p_value,
            q_value=node.q_value,
            stands_out=bool(node.stands_out),
            checked_ns=now_ns,
            body=json.dumps(asdict(node) | {"ratio": node.ratio, "stands_out": bool(node.stands_out)} | about),
        )
        for node in found.nodes
    }
