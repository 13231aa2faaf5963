"""The pace of a replayed file: its rate while the agent keeps up, at most twice that where rows have waited."""

import pytest

from agents.sources.pacing import CATCH_UP, Pace


def taken(pace: Pace, now_s: float) -> int:
    due = pace.due(now_s)
    pace.take(due)
    return due


@pytest.mark.parametrize("rows_per_s", [0.4, 3.0, 1000.0])
@pytest.mark.parametrize("look_s", [0.1, 1.0])
def test_a_file_that_is_looked_at_in_time_comes_at_its_pace(rows_per_s: float, look_s: float) -> None:
    pace, now_s, rows = Pace(rows_per_s, 50.0), 50.0, 0
    for _ in range(int(100 / look_s)):
        now_s += look_s
        rows += taken(pace, now_s)
        assert 0 <= (now_s - 50.0) * rows_per_s - rows < 1 + 1e-6
    assert pace.behind(now_s) == 0


def test_rows_that_waited_come_at_most_twice_as_fast_until_none_wait() -> None:
    pace = Pace(100.0, 0.0)
    assert pace.behind(60.0) == 6_000
    first = taken(pace, 60.0)
    assert first <= 200
    rows = [taken(pace, 60.0 + at / 10) for at in range(1, 1000)]
    assert max(rows) <= 100 * CATCH_UP / 10 + 1
    assert first + sum(rows) == int(159.9 * 100)
    assert rows[-1] in {9, 10, 11}
