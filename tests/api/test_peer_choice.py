"""Whom each agent probes: all agree, everybody has their share, every pair of racks is measured, caps hold."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from api.peer_choice import RULES, Fleet, Place, Rule

racks = st.sampled_from(["", "r1", "r2", "r3", "r4"])
places = st.lists(
    st.builds(
        Place,
        agent=st.integers(0, 60).map(lambda i: f"a{i}"),
        address=st.sampled_from(["", "10.0.0.1:7946", "10.0.0.2:7946"]),
        rack=racks,
        tor=racks,
        dc=st.sampled_from(["", "x", "y"]),
    ),
    max_size=40,
    unique_by=lambda place: place.agent,
)
rules = st.lists(st.sampled_from(RULES), min_size=1, max_size=3)


def full_racks(count: int, size: int, dc: str = "d") -> list[Place]:
    return [
        Place(f"{rack}-{i}", f"10.{rack}.0.{i}:7946", f"r{rack:03}", f"t{rack // 2}", dc)
        for rack in range(count)
        for i in range(size)
    ]


@settings(deadline=None)
@given(places, rules, st.integers(1, 16), st.integers(1, 50), st.randoms())
def test_all_come_to_one_plan_within_the_caps_and_nobody_probes_themselves(
    found: list[Place], chosen: list[Rule], per_group: int, most: int, shuffled: object
) -> None:
    other_order = list(found)
    shuffled.shuffle(other_order)  # type: ignore[attr-defined]
    one, another = Fleet(found), Fleet(other_order)
    for agent in [*(place.agent for place in found), "a-stranger"]:
        peers = one.peers_of(agent, chosen, per_group, most)
        assert peers == another.peers_of(agent, chosen, per_group, most)
        assert len(peers) <= most
        names = [peer.agent for peer in peers]
        assert len(set(names)) == len(names)
        assert agent not in names
        assert all(peer.address for peer in peers)


@settings(deadline=None)
@given(places)
def test_each_rule_names_exactly_whom_it_says_where_there_is_room(found: list[Place]) -> None:
    fleet = Fleet(found)
    for me in found:
        others = {place.agent: place for place in found if place.address and place.agent != me.agent}
        assert {one.agent for one in fleet.peers_of(me.agent, ["all"], 1, 1000)} == set(others)
        mates = {name for name, one in others.items() if me.rack and (one.dc, one.rack) == (me.dc, me.rack)}
        assert {one.agent for one in fleet.peers_of(me.agent, ["same_rack"], 1, 1000)} == mates
        far = [(one.dc, one.rack) for one in fleet.peers_of(me.agent, ["each_rack"], 1, 1000)]
        elsewhere = {(one.dc, one.rack) for one in others.values() if one.rack} - {(me.dc, me.rack)}
        assert Counter(far) == Counter(elsewhere)
        tors = [(one.dc, one.tor) for one in fleet.peers_of(me.agent, ["each_tor"], 1, 1000)]
        assert set(tors) == {(one.dc, one.tor) for one in others.values() if one.tor} - {(me.dc, me.tor)}


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 12), st.integers(1, 12), st.integers(1, 16))
def test_between_full_racks_the_number_in_one_probes_the_same_in_all_others(
    count: int, size: int, per_group: int
) -> None:
    fleet, probed = Fleet(full_racks(count, size)), Counter[str]()
    for place in full_racks(count, size):
        peers = fleet.peers_of(place.agent, ["each_rack"], per_group, 10_000)
        assert len(peers) == (count - 1) * min(per_group, size)
        if per_group == 1:
            number = sorted(f"{place.agent.split('-')[0]}-{i}" for i in range(size)).index(place.agent)
            for peer in peers:
                mates = sorted(f"{peer.agent.split('-')[0]}-{i}" for i in range(size))
                assert mates.index(peer.agent) == number
        probed.update(peer.agent for peer in peers)
    assert set(probed.values()) == {(count - 1) * min(per_group, size)}, "everybody is probed as often as anybody"


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 30), st.integers(1, 10), st.integers(1, 12))
def test_members_of_a_rack_reach_every_rack_together_where_one_alone_may_not(count: int, size: int, most: int) -> None:
    fleet = Fleet(full_racks(count, size))
    reached = {
        peer.rack for i in range(size) for peer in fleet.peers_of(f"0-{i}", ["each_rack"], 1, most)
    }  # fmt: skip
    assert len(reached) == min(count - 1, size * min(most, count - 1))


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 40), st.integers(1, 12))
def test_of_too_many_each_is_probed_by_as_many_as_it_probes(count: int, most: int) -> None:
    found = full_racks(1, count)
    fleet, by_rule = Fleet(found), Counter[tuple[Rule, str]]()
    for rule in ("all", "same_rack"):
        for place in found:
            by_rule.update((rule, peer.agent) for peer in fleet.peers_of(place.agent, [rule], 1, most))
    assert set(by_rule.values()) == {min(most, count - 1)}


def test_racks_of_one_name_in_two_data_centers_are_two() -> None:
    fleet = Fleet([*full_racks(2, 3), *(Place(f"o{i}", "1.1.1.1:1", "r000", "t0", "other") for i in range(3))])
    assert {one.agent for one in fleet.peers_of("0-0", ["same_rack"], 1, 100)} == {"0-1", "0-2"}
    assert {(one.dc, one.rack) for one in fleet.peers_of("0-0", ["each_rack"], 1, 100)} == {
        ("d", "r001"), ("other", "r000"),
    }  # fmt: skip


def test_the_first_rule_has_the_first_right_to_the_room() -> None:
    fleet = Fleet(full_racks(10, 5))
    peers = fleet.peers_of("3-2", ["same_rack", "each_rack"], 1, 6)
    assert [one.rack == "r003" for one in peers] == [True] * 4 + [False] * 2


def test_of_a_hundred_thousand_agents_each_gets_no_more_than_asked_for() -> None:
    fleet = Fleet(full_racks(2500, 40))
    assert len(fleet.peers_of("7-7", ["all"], 1, 1000)) == 1000
    assert len({one.rack for one in fleet.peers_of("7-7", ["all"], 1, 1000)}) > 900, "they are spread over the fleet"
    assert len(fleet.peers_of("7-7", ["same_rack", "each_rack"], 1, 10_000)) == 39 + 2499
