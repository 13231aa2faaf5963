"""Windows of collective timeouts, silent ranks, and clocks of nodes that disagree."""

from analytics.gpu.log_lines import LogLine
from analytics.gpu.matches import Match
from analytics.gpu.ranks import clock_offsets, common_times, silent_ranks, timeout_window
from analytics.gpu.ranks_activity import Activity, world_of
from tests.analytics.gpu.plain_scan import SECOND, found, signature

TIMEOUT = signature("watchdog", "nccl_timeout")
STEP = signature("step", "nccl_error", "cascade")


def timeout(rank: int, at_s: float | None, ran_ms: str = "600000", node: str | None = None) -> Match:
    return found(TIMEOUT, 10, rank=rank, at_s=at_s, node=node, ran_ms=ran_ms)


def test_the_window_reaches_back_as_long_as_the_collective_ran() -> None:
    matches = [timeout(1, 2_000), timeout(0, 1_990)]
    window = timeout_window(matches, common_times(matches, {}))
    assert window is not None
    assert (window.start_ns, window.end_ns) == (1_390 * SECOND, 1_990 * SECOND)
    assert window.holds(1_500 * SECOND)
    assert window.holds(None)
    assert not window.holds(1_000 * SECOND)
    assert not window.holds(2_500 * SECOND)


def test_without_a_timeout_there_is_no_window() -> None:
    assert timeout_window([found(STEP)], {}) is None


def test_silent_are_ranks_that_wrote_nothing_in_the_window() -> None:
    activity = Activity()
    for rank, last_s in enumerate((1_995, 1_995, 1_000, 1_700)):
        activity.see(LogLine("stderr", "log", rank + 1, "step", rank, None, last_s * SECOND))
    matches = [timeout(0, 1_995), timeout(1, 1_995)]
    window = timeout_window(matches, common_times(matches, {}))
    assert window is not None
    assert silent_ranks(window, activity, [], [0, 1], {}) == (2,)
    assert silent_ranks(window, activity, [{"world_size": "6"}], [0, 1], {}) == (2, 4, 5)
    assert silent_ranks(window, activity, [], [None], {}) == ()


def test_without_times_the_order_of_lines_tells_who_fell_silent() -> None:
    activity = Activity()
    activity.see_all(LogLine("stderr", "log", n, "step", rank) for n, rank in enumerate((0, 1, 2, 0, 1), 1))
    matches = [timeout(0, None), timeout(1, None)]
    window = timeout_window(matches, {})
    assert window is not None
    assert silent_ranks(window, activity, [], [0, 1], {}) == (2,)


def test_clocks_that_disagree_are_found_from_what_happened_at_one_moment() -> None:
    matches = []
    for sequence, at_s in (("7", 100.0), ("8", 200.0), ("9", 300.0)):
        for node, off_s in (("a", 0.0), ("b", 0.4), ("c", 3_600.0)):
            matches.append(found(STEP, 1, node=node, at_s=at_s + off_s, sequence=sequence))
    assert set(offsets := clock_offsets(matches)) == {"c"}
    assert abs(offsets["c"] - 3_600 * SECOND) < SECOND
    assert common_times(matches, offsets)[2] < 101 * SECOND


def test_one_event_alone_proves_no_wrong_clock() -> None:
    matches = [found(STEP, 1, node=node, at_s=at_s, sequence="7") for node, at_s in (("a", 100.0), ("b", 900.0))]
    assert clock_offsets(matches) == {}


def test_anchors_that_contradict_each_other_prove_no_wrong_clock() -> None:
    matches = [
        found(STEP, 1, node=node, at_s=at_s, sequence=sequence)
        for sequence, node, at_s in (("7", "a", 100.0), ("7", "b", 900.0), ("8", "a", 1_000.0), ("8", "b", 1_010.0))
    ]
    assert clock_offsets(matches) == {}


def test_an_absurd_world_size_is_not_believed() -> None:
    assert world_of(Activity(), [{"world_size": "99999999999"}, {"world_size": "x"}]) == frozenset()
