"""Marks: every sequence number counts once, whatever the order, and gaps end as counted losses."""

from hypothesis import given
from hypothesis import strategies as st

from collector.marks import MAX_GAPS, Gap, Mark

SEQUENCES = st.lists(st.integers(1, 40), max_size=80)


@given(SEQUENCES)
def test_each_number_is_accepted_once_in_any_order_while_gaps_fit(sequences: list[int]) -> None:
    mark, seen = Mark("a", "0" * 32, 0), set()
    for sequence in sequences:
        assert mark.accept(sequence, sequence, 0) == (sequence not in seen)
        seen.add(sequence)
        mark = Mark.from_row(mark.row())
    missing = {n for gap in mark.gaps for n in range(gap.low, gap.high + 1)}
    assert missing == set(range(1, max(seen, default=0) + 1)) - seen


def test_a_gap_that_stays_open_too_long_is_lost_and_stays_closed() -> None:
    mark = Mark("a", "0" * 32, 0)
    mark.accept(1, 100, 1_000)
    mark.accept(2, 200, 1_000)
    mark.accept(6, 500, 2_000)
    assert mark.close_gaps(2_000) == []
    assert mark.close_gaps(2_001) == [Gap(3, 5, from_ns=100, to_ns=500, opened_ns=2_000)]
    assert not mark.accept(4, 300, 3_000)
    assert mark.accept(7, 600, 3_000)


def test_a_gap_is_missed_once_and_found_again_only_when_it_is_whole() -> None:
    mark = Mark("a", "0" * 32, 0)
    mark.accept(1, 100, 1_000)
    mark.accept(4, 100, 2_000)
    assert mark.miss_gaps(2_000) == []
    (gap,) = mark.miss_gaps(2_001)
    assert mark.miss_gaps(2_001) == []
    assert gap.stretch == (0, 100)
    mark.accept(2, 100, 3_000)
    assert Mark.from_row(mark.row()).stretches_missed() == {(0, 100)}
    mark.accept(3, 100, 3_000)
    assert mark.stretches_missed() == set()


def test_gaps_beyond_the_limit_are_lost_oldest_first() -> None:
    mark = Mark("a", "0" * 32, 0)
    for n in range(1, MAX_GAPS + 4):
        mark.accept(2 * n, n, n)
    lost = mark.close_gaps(0)
    assert [gap.low for gap in lost] == [1, 3, 5]
    assert len(mark.gaps) == MAX_GAPS
    assert mark.accept(7, 0, 0)
    assert not mark.accept(5, 0, 0)
