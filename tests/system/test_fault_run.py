"""The fault run itself: what it would notice, and that altered frames are altered as they claim."""

import random
from collections import Counter

import pytest

from tests.fleet import FakeAgent, probe_records, truth
from tests.system.altered_frames import corrupted, duplicated, reordered, truncated
from tests.system.fault_table import FaultTable, Outcome
from tests.system.fault_world import READABLE_REASONS, Counts, wrong
from tests.system.stack import PLAN
from wire.errors import CorruptFrameError
from wire.frame import decode_frame

FRAMES = [frame for n in range(40) for frame in FakeAgent(PLAN, f"agent-{n}").send(probe_records(5, seed=n), 99)]


def test_what_is_lost_in_one_window_is_not_made_up_for_by_another() -> None:
    expected = truth(PLAN, probe_records(500, seed=1))
    keys = expected.keys
    stored: Counts = {(w, tor): n for w, tor, n in zip(keys["window"], keys["tor"], keys["rows"], strict=True)}
    assert wrong(stored, expected) == (0, 0)
    first, second, third = list(stored)[:3]
    stored[first] -= 3
    stored[second] += 2
    stored[0, "elsewhere"] = 7
    assert wrong(stored, expected) == (3, 9)
    gone = stored.pop(third)
    assert wrong(stored, expected) == (3 + gone, 9)


def test_the_table_adds_up_and_shows_the_slowest_round() -> None:
    table = FaultTable(
        1,
        [
            Outcome(("kill broker",), 1.0, 2.0, 0, 0),
            Outcome(("kill broker", "pause agent"), 0.5, 4.25, 3, 1),
            Outcome(("restart broker",), 0.5, None, None, None),
        ],
    )
    assert [line.split() for line in table.lines()[1:]] == [
        ["kill", "broker", "2", "1.0", "s", "4.2", "s", "3", "1"],
        ["pause", "agent", "1", "0.5", "s", "4.2", "s", "3", "1"],
        ["restart", "broker", "1", "0.5", "s", "never", "unknown", "unknown"],
    ]


@pytest.mark.parametrize("alter", [truncated, corrupted])
def test_every_bad_copy_is_refused_with_a_reason_and_stands_before_its_frame(alter: object) -> None:
    altered = alter(FRAMES, random.Random(1))  # type: ignore[operator]
    assert len(altered.bad) >= 10
    assert [payload for payload in altered.payloads if payload not in altered.bad] == FRAMES
    for bad in altered.bad:
        with pytest.raises(CorruptFrameError) as caught:
            decode_frame(bad)
        assert any(part in str(caught.value) for part in READABLE_REASONS)


def test_copies_are_counted_and_nothing_else_is_added() -> None:
    altered = duplicated(FRAMES, random.Random(1))
    more = Counter(altered.payloads) - Counter(FRAMES)
    assert more.total() == altered.copies >= 10
    assert set(altered.payloads) == set(FRAMES)


def test_another_order_keeps_within_the_gaps_that_a_collector_keeps_open() -> None:
    altered = reordered(FRAMES, random.Random(1))
    assert altered.payloads != FRAMES
    assert sorted(altered.payloads) == sorted(FRAMES)
    assert max(abs(FRAMES.index(frame) - at) for at, frame in enumerate(altered.payloads)) < 32
