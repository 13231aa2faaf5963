"""Which agents an agent probes, as in Pingmesh: all of its rack, and of each other rack the one with its number.

The choice follows from the fleet alone: whoever computes it, and for whichever agent, comes to one plan for all.

same_rack, same_tor: all others of the group. each_rack, each_tor: of each other group so many members; the i-th agent
of a group begins at the i-th member of the others, so that work is spread over all. all: everybody else.
Where a rule names more than there is room for, an agent takes those at regular distances behind itself, in a ring of
all candidates: then each agent is probed by as many as it probes. Of groups, members of one take turns: together they
reach all groups as soon as members times room suffice. Racks and ToRs are told apart by data center; an agent without
a rack has none to share, and is in nobody's.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

Rule = Literal["all", "same_rack", "same_tor", "each_rack", "each_tor"]
RULES: Final[tuple[Rule, ...]] = get_args(Rule)
Group = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """One agent of the fleet; `address` is where it may be probed, "" for nowhere."""

    agent: str
    address: str
    rack: str = ""
    tor: str = ""
    dc: str = ""
    machine_id: str = ""


class Fleet:
    """All agents at one time."""

    def __init__(self, places: Iterable[Place]) -> None:
        """Each agent once."""
        self._places = {place.agent: place for place in places}
        found = [place for place in self._places.values() if place.address]
        self._all = sorted(found, key=_by_place)
        by_name = sorted(found, key=_by_name)
        self._groups = {kind: _grouped(by_name, kind) for kind in ("rack", "tor")}
        self._names = {kind: sorted(groups) for kind, groups in self._groups.items()}

    def peers_of(self, agent: str, rules: Sequence[Rule], per_group: int, most: int) -> list[Place]:
        """At most `most`, each once, by the rules in their order; never the agent itself."""
        me = self._places.get(agent) or Place(agent, "")
        found: dict[str, Place] = {}
        for rule in rules:
            room = most - len(found)
            if room <= 0:
                break
            for place in self._by_rule(me, rule, per_group, room):
                found.setdefault(place.agent, place)
        return list(found.values())

    def _by_rule(self, me: Place, rule: Rule, per_group: int, room: int) -> list[Place]:
        if rule == "all":
            return _ring(self._all, bisect_left(self._all, _by_place(me), key=_by_place), me, room)
        scope, kind = rule.split("_")
        own = _group_of(me, kind)
        members = self._groups[kind].get(own, [])
        number = bisect_left(members, me.agent, key=_by_name)
        if scope == "same":
            return _ring(members, number, me, room)
        return list(self._of_others(kind, own, number, per_group, room))

    def _of_others(self, kind: str, own: Group, turn: int, per_group: int, room: int) -> Iterator[Place]:
        names = self._names[kind]
        at = bisect_left(names, own)
        behind = at + 1 if at < len(names) and names[at] == own else at
        others = len(names) - (behind - at)
        if others <= 0:
            return
        per_group = min(per_group, room)
        reached = min(others, room // per_group)
        for step in range(reached):
            group = self._groups[kind][names[(behind + (turn * reached + step) % others) % len(names)]]
            for k in range(min(per_group, len(group))):
                yield group[(turn + k) % len(group)]


def _ring(candidates: Sequence[Place], at: int, me: Place, room: int) -> list[Place]:
    """Those at regular distances behind place `at`, where I stand or would; all where there is room for all."""
    mine = at < len(candidates) and candidates[at].agent == me.agent
    begin, others = at + mine, len(candidates) - mine
    taken = min(room, others)
    return [candidates[(begin + k * others // taken) % len(candidates)] for k in range(taken)]


def _by_place(one: Place) -> tuple[str, str, str, str]:
    """Neighbours stand side by side, so that regular distances reach all parts of the fleet."""
    return one.dc, one.rack, one.tor, one.agent


def _by_name(one: Place) -> str:
    return one.agent


def _grouped(places: Iterable[Place], kind: str) -> dict[Group, list[Place]]:
    groups: dict[Group, list[Place]] = {}
    for place in places:
        group = _group_of(place, kind)
        if group[1]:
            groups.setdefault(group, []).append(place)
    return groups


def _group_of(place: Place, kind: str) -> Group:
    return place.dc, place.rack if kind == "rack" else place.tor
