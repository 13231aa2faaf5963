"""Matches of one log in bounded number: of each signature the first ones and the last ones; the others are counted."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from analytics.gpu.matches import Match

#: Of each signature so many matches are kept, the first ones and the last ones.
KEPT_FIRST: Final = 32
KEPT_LAST: Final = 32
#: (line, what makes the match): most are dropped for later ones, so they are made when all is read.
_Found = tuple[int, Callable[[], Match]]


class KeptMatches:
    """Takes matches as they are found; a signature counts once a line."""

    def __init__(self) -> None:
        self._first: dict[int, list[_Found]] = {}
        self._last: dict[int, deque[_Found]] = {}
        self._seen: dict[int, int] = {}
        self._newest: dict[int, int] = {}

    def add(self, place: int, number: int, made: Callable[[], Match]) -> None:
        """A match of the signature at that place, on the line of that number."""
        if self._newest.get(place) == number:
            return
        self._newest[place] = number
        seen = self._seen[place] = self._seen.get(place, 0) + 1
        if seen <= KEPT_FIRST:
            self._first.setdefault(place, []).append((number, made))
        elif seen == KEPT_FIRST + 1:
            self._last[place] = deque([(number, made)], KEPT_LAST)
        else:
            self._last[place].append((number, made))

    def in_order(self) -> tuple[Match, ...]:
        """By line, then by the signatures' places."""
        kept = [
            (number, place, made)
            for place, first in self._first.items()
            for number, made in (*first, *self._last.get(place, ()))
        ]
        return tuple(made() for _, _, made in sorted(kept, key=lambda each: each[:2]))

    def dropped(self) -> Mapping[str, int]:
        """Id of a signature -> how many of its matches were not kept."""
        most = KEPT_FIRST + KEPT_LAST
        return {
            self._first[place][0][1]().signature.id: seen - most for place, seen in self._seen.items() if seen > most
        }
