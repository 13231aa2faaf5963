"""Which lines belong to which attempt, and when an attempt can be looked into."""

from collector.jobs.gpu_runs import FOREVER_NS, Waits, runs_of
from store.gpu_attempts import AttemptRow

S = 10**9
WAITS = Waits(60 * S, 900 * S)


def ran(number: int, start_s: int | None, end_s: int | None, outcome: str = "failed") -> AttemptRow:
    return AttemptRow(
        job="j",
        number=number,
        start_ns=None if start_s is None else start_s * S,
        end_ns=None if end_s is None else end_s * S,
        outcome=outcome,
        reported_ns=10_000 * S,
    )


def shown(*attempts: AttemptRow, last_s: int | None) -> list[tuple[int, int, int | None, int | None]]:
    """(number, from, to, due) in seconds; None is for ever, or never."""
    runs = runs_of(attempts, None if last_s is None else last_s * S, 0, WAITS)
    return [
        (
            run.number,
            run.from_ns // S,
            None if run.to_ns == FOREVER_NS else run.to_ns // S,
            None if run.due_ns is None else run.due_ns // S,
        )
        for run in runs
    ]


def test_an_attempt_has_the_lines_of_its_time_and_a_little_around_it() -> None:
    assert shown(ran(1, 1000, 2000), last_s=None) == [(1, 880, 2120, 2060)]


def test_between_two_attempts_each_has_half() -> None:
    assert shown(ran(1, 1000, 2000), ran(2, 2100, 3000), last_s=2990) == [(1, 880, 2050, 2060), (2, 2050, 3120, 3060)]


def test_what_comes_after_the_last_attempt_is_the_next_ones_that_nobody_reported() -> None:
    assert shown(ran(1, 1000, 2000), last_s=2500) == [(1, 880, 2120, 2060), (2, 2120, None, 3400)]
    assert shown(last_s=2500) == [(1, 0, None, 3400)]


def test_an_attempt_that_still_runs_is_looked_into_when_it_is_quiet_and_no_other_is_made_up() -> None:
    assert shown(ran(1, 1000, None, "running"), last_s=2500) == [(1, 880, None, 3400)]
    assert shown(ran(1, 1000, None, "running"), last_s=None) == [(1, 880, None, None)]


def test_an_attempt_whose_end_nobody_told_ends_where_the_next_begins() -> None:
    assert shown(ran(1, 1000, None, "running"), ran(2, 4000, 5000), last_s=4990) == [
        (1, 880, 4000, 4900),
        (2, 4000, 5120, 5060),
    ]


def test_an_end_that_lies_ahead_of_its_report_is_waited_for_no_longer_than_the_report() -> None:
    assert shown(ran(1, 1000, 99_000), last_s=None)[0][3] == 10_060


def test_times_that_contradict_each_other_make_no_time_that_ends_before_it_begins() -> None:
    runs = runs_of([ran(1, 5000, 1000), ran(2, 3000, 2000), ran(3, None, None)], 9000 * S, 0, WAITS)
    assert all(run.from_ns <= run.to_ns for run in runs)
