"""What a database holds, as one partial result, and whether it equals the truth as the first law defines it."""

import polars as pl
import pytest
import sqlalchemy as sa
from polars.testing import assert_frame_equal

from pipeline.partial import Partial
from pipeline.plan import Plan
from pipeline.states import State
from store.windows import Group, Selection, merged


def stored_partial(engine: sa.Engine, plan: Plan) -> Partial | None:
    """Every window and series of the plan's metrics; None when nothing is stored. The plan has a `probes_total`."""
    states: dict[str, State] = {}
    groups: list[Group] = []
    with _one_moment(engine) as connection:
        for metric in plan.metrics:
            everything = Selection(metric.name, -(2**60), 2**61, by=tuple(plan.labels), step_ns=plan.window_ns)
            groups = merged(connection, everything).groups
            if not groups:
                return None
            states[metric.name] = type(groups[0].state).concat([group.state for group in groups])
    keys = {
        "window": [group.start_ns for group in groups],
        "rows": states["probes_total"].answers(),
        **{label: [group.labels[label] for group in groups] for label in plan.labels},
    }
    return Partial(plan, pl.DataFrame(keys, schema_overrides={"window": pl.Int64, "rows": pl.Int64}), states)


def _one_moment(engine: sa.Engine) -> sa.Connection:
    """A connection whose reads all see the same flushes, while a collector goes on writing."""
    connection = engine.connect()
    if engine.dialect.name == "postgresql":
        connection = connection.execution_options(isolation_level="REPEATABLE READ")
    return connection


def assert_same(stored: Partial | None, expected: Partial) -> None:
    """Bit for bit; float sums within 1e-12 of the sum of magnitudes (all values must be positive)."""
    if not len(expected):
        assert stored is None
        return
    assert stored is not None
    got, want = stored.sorted().to_frame(), expected.sorted().to_frame()
    float_sums = [name for name, dtype in want.schema.items() if name.endswith((".hi", ".lo")) and dtype == pl.Float64]
    assert_frame_equal(got.drop(float_sums), want.drop(float_sums))
    for name in {column.removesuffix(".hi").removesuffix(".lo") for column in float_sums}:
        total = pl.sum_horizontal(f"{name}.hi", f"{name}.lo")
        sums, wanted = (frame.select(total).to_series().to_list() for frame in (got, want))
        assert sums == pytest.approx(wanted, rel=1e-12)
