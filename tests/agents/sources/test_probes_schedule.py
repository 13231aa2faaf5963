"""When peers are probed, with a clock fed by hand: the rate and the interval hold, whatever happens to the list."""

from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.sources.probes_peers import MOST_PEERS, Peer
from agents.sources.probes_schedule import Schedule


def peers(count: int) -> list[Peer]:
    return [Peer(f"h{i}", "tcp", f"h{i}", 7946) for i in range(count)]


def sent(schedule: Schedule, from_s: float, to_s: float, late_s: float = 0.0) -> list[tuple[float, Peer]]:
    """What a loop sends that comes `late_s` after each time that it was told."""
    found, now_s = [], from_s
    while (now_s := max(now_s, schedule.next_s() + late_s)) < to_s:
        while (peer := schedule.take(now_s)) is not None:
            found.append((now_s, peer))
    return found


changes = st.lists(
    st.tuples(st.floats(0.1, 40), st.integers(0, 30), st.floats(0, 3)), min_size=1, max_size=6
)  # for so long, so many peers, by a loop that is so late


@settings(deadline=None)
@given(changes=changes, interval_s=st.floats(1, 20), max_per_s=st.floats(0.2, 50), seed=st.text(max_size=3))
def test_rate_and_interval_hold_whatever_happens_to_the_list(
    changes: list[tuple[float, int, float]], interval_s: float, max_per_s: float, seed: str
) -> None:
    schedule, now_s, found = Schedule(interval_s, max_per_s, seed), 100.0, []
    for lasts_s, count, late_s in changes:
        schedule.set_peers(peers(count), now_s)
        found += sent(schedule, now_s, now_s + lasts_s, late_s)
        now_s += lasts_s
    times = [at_s for at_s, _ in found]
    assert all(after - before >= 1 / max_per_s - 1e-9 for before, after in pairwise(times))
    of_peer = defaultdict(list)
    for at_s, peer in found:
        of_peer[peer.name].append(at_s)
    for own in of_peer.values():
        assert all(after - before >= interval_s - 1e-9 for before, after in pairwise(own))


@settings(deadline=None, max_examples=30)
@given(count=st.integers(1, 60), interval_s=st.floats(1, 20), max_per_s=st.floats(1, 50))
def test_every_peer_has_its_turn_in_each_interval_that_the_rate_allows(
    count: int, interval_s: float, max_per_s: float
) -> None:
    schedule = Schedule(interval_s, max_per_s, "a")
    schedule.set_peers(peers(count), 0.0)
    assert schedule.every_s == pytest.approx(max(interval_s, count / max_per_s))
    longest_s = 1.1 * schedule.every_s + count / max_per_s
    of_peer = defaultdict(list)
    for at_s, peer in sent(schedule, 0.0, 4 * longest_s):
        of_peer[peer.name].append(at_s)
    assert len(of_peer) == count
    for own in of_peer.values():
        assert all(after - before <= longest_s + 1e-6 for before, after in pairwise([0.0, *own, 4 * longest_s]))


def test_the_same_seed_makes_the_same_schedule_and_others_spread_out() -> None:
    def times(seed: str) -> list[float]:
        schedule = Schedule(10.0, 100.0, seed)
        schedule.set_peers(peers(20), 0.0)
        return [at_s for at_s, _ in sent(schedule, 0.0, 30.0)]

    assert times("host-1") == times("host-1")
    assert times("host-1") != times("host-2")
    assert min(times("host-1")) < 5
    assert max(times("host-1")) > 25


def test_one_that_takes_over_keeps_the_interval_and_the_rate() -> None:
    before = Schedule(10.0, 2.0, "a")
    before.set_peers(peers(10), 0.0)
    last_s = {peer.key: at_s for at_s, peer in sent(before, 0.0, 12.0)}
    after = Schedule(10.0, 2.0, "b")
    after.go_on_from(before.sent_s)
    after.set_peers(peers(10), 12.0)
    found = sent(after, 12.0, 24.0)
    assert len(found) >= 10
    assert all(at_s - last_s[peer.key] >= 10.0 for at_s, peer in found[:10])
    assert found[0][0] - max(last_s.values()) >= 0.5


def test_peers_that_are_gone_are_forgotten_after_their_interval() -> None:
    schedule = Schedule(1.0, 1000.0, "a")
    for second in range(50):
        schedule.set_peers([Peer("", "tcp", f"h{second}-{i}", 1) for i in range(100)], second)
        sent(schedule, second, second + 1)
    assert len(schedule.sent_s) <= 300


@pytest.mark.parametrize("count", [0, MOST_PEERS])
def test_a_list_may_be_empty_or_as_long_as_can_be(count: int) -> None:
    schedule = Schedule(10.0, 100.0, "a")
    schedule.set_peers(peers(count), 0.0)
    assert len(sent(schedule, 0.0, 10.0)) in ((0,) if count == 0 else range(900, 1001))
