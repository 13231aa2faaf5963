"""Matches of one log in bounded number: of each signature the first ones and the last ones; the others are counted."""

from collections import deque
from collections.abc import Mapping
from typing import Final

from analytics.gpu.matches import Match

#: Of each signature so many matches are kept, the first ones and the last ones.
KEPT_FIRST: Final = 32
KEPT_LAST: Final = 32


class KeptMatches:
    """Takes matches as they are found; a signature counts once a line."""

    def __init__(self) -> None:
        self._first: dict[int, list[Match]] = {}
        self._last: dict[int, deque[Match]] = {}
        self._dropped: dict[str, int] = {}
        self._newest: dict[int, int] = {}

    def add(self, place: int, match: Match) -> None:
        """A match of the signature at that place."""
        if self._newest.get(place) == match.line.number:
            return
        self._newest[place] = match.line.number
        first = self._first.setdefault(place, [])
        if len(first) < KEPT_FIRST:
            first.append(match)
            return
        last = self._last.setdefault(place, deque())
        last.append(match)
        if len(last) > KEPT_LAST:
            last.popleft()
            self._dropped[match.signature.id] = self._dropped.get(match.signature.id, 0) + 1

    def in_order(self) -> tuple[Match, ...]:
        """By line, then by the signatures' places."""
        kept = [
            (match.line.number, place, match)
            for place, first in self._first.items()
            for match in (*first, *self._last.get(place, ()))
        ]
        return tuple(match for _, _, match in sorted(kept, key=lambda each: each[:2]))

    def dropped(self) -> Mapping[str, int]:
        """Id of a signature -> how many of its matches were not kept."""
        return dict(self._dropped)
