"""What an epoch's counts should have cost, and what its overflow would have taken on top."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import demand
from agents.cost_model import predicted
from agents.shares import ProxyCounts, Shares
from tests.agents.simulated_agent import LOGS

SHARES: Shares = (1.0, 0.8, 0.5, 1.0)


def counts(rows: int, shares: Shares, overflowing: float = 0.0) -> ProxyCounts:
    """An epoch of LOGS in which that part of the rows overflows at the first proxy and is drained there."""
    found = ProxyCounts.zeros(4)
    reaching = float(rows)
    for i, share in enumerate(shares):
        found.reached[i] = round(reaching)
        local = share * reaching
        if i == 0:
            found.overflowed[0] = round(overflowing * local)
            local -= overflowing * local
        found.local[i] = round(local)
        reaching = local * LOGS.operators[i].selectivity
    return found


def test_counts_as_decided_cost_what_was_predicted() -> None:
    expected = predicted(LOGS, SHARES)
    seen = counts(20_000, SHARES)
    assert demand.done_s(LOGS, seen) == pytest.approx(expected.cpu_s, rel=1e-6)
    assert demand.sent_bytes(LOGS, seen) == pytest.approx(expected.wire_bytes, rel=1e-6)
    assert demand.missed_s(LOGS, seen, SHARES) == 0.0


@given(st.floats(0.001, 0.9))
def test_what_was_done_and_what_was_missed_make_up_what_was_asked_for(part: float) -> None:
    seen = counts(20_000, SHARES, part)
    asked_s = demand.done_s(LOGS, seen) + demand.missed_s(LOGS, seen, SHARES)
    assert asked_s == pytest.approx(predicted(LOGS, SHARES).cpu_s, rel=0.01)
    assert demand.overflow_share(seen) == pytest.approx(part, abs=1e-4)


def test_overflow_at_the_aggregate_misses_the_aggregate_alone() -> None:
    seen = ProxyCounts([20_000, 18_000, 9_000, 9_000], [20_000, 18_000, 9_000, 4_000], [0, 0, 0, 5_000])
    missed_s = demand.missed_s(LOGS, seen, (1.0,) * 4)
    assert missed_s == pytest.approx(5_000 * (15e-6 - 0.4e-6), rel=0.05)
    assert demand.overflow_share(seen) == pytest.approx(5 / 9)


def test_an_epoch_without_records_costs_nothing() -> None:
    none = ProxyCounts.zeros(4)
    assert demand.done_s(LOGS, none) == demand.missed_s(LOGS, none, SHARES) == 0.0
    assert demand.overflow_share(none) == 0.0
