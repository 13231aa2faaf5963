"""Which query versions still want a profile, and when the next try is due.

A version is worth a profile once it had records. If it has none in the very epoch that is measured (many collectors
report once in ten seconds), the next try waits, twice as long each time: it must not keep the others from settling.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from agents.shares import ProxyCounts

_FIRST_EPOCHS: Final = 8
_MOST_EPOCHS: Final = 512


@dataclass(slots=True)
class _Wish:
    wait: int = 0
    next_wait: int = _FIRST_EPOCHS


class Unprofiled:
    """The versions that had records and have no profile."""

    def __init__(self) -> None:
        """None yet."""
        self._wishes: dict[str, _Wish] = {}

    @property
    def due(self) -> bool:
        """Whether a profile is wanted now."""
        return any(wish.wait == 0 for wish in self._wishes.values())

    def add(self, counts: Mapping[str, ProxyCounts], profiled: Collection[str]) -> None:
        """Take an epoch in."""
        for wish in self._wishes.values():
            wish.wait = max(0, wish.wait - 1)
        for version, count in counts.items():
            if version not in profiled and count.reached[0] > 0:
                self._wishes.setdefault(version, _Wish())

    def tried(self, profiled: Collection[str]) -> None:
        """A profile was made; these versions have one now."""
        self.keep([version for version in self._wishes if version not in profiled])
        for wish in self._wishes.values():
            if wish.wait == 0:
                wish.wait, wish.next_wait = wish.next_wait, min(_MOST_EPOCHS, 2 * wish.next_wait)

    def keep(self, versions: Collection[str]) -> None:
        """Forget all but these."""
        self._wishes = {version: wish for version, wish in self._wishes.items() if version in versions}
