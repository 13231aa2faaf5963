"""Answers from before, within a number of bytes; the ones used least recently go first.

An entry says what it was made of: the catalog's generation and the change counters of its stretch; and in which states
of the database it was seen to hold. Whether it still holds is for the reader to say (api/answers.py), who asks inside
his own transaction: nothing here goes by time.
"""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np

from api.own_metrics import OwnMetrics
from store.coverage import CoverageFacts
from store.windows import Answer

# One entry takes at most this share of the cache.
_LARGEST_SHARE = 4
_MOST_STATES = 64
_GROUP_BYTES = 900
_WINDOW_BYTES = 250
_ENTRY_BYTES = 4_000
_BODY_BYTES = 300


@dataclass(eq=False, slots=True)
class Entry:
    """An answer and what it was made of.

    Attributes:
        versions, from_ns, to_ns: the stretch whose change counters add up to `changes`.
        facts: what coverage was made of, without the agents: they are many and change all the time.
        seen: by who was asked, the database's state in which all of it was seen to hold.
        rendered: bodies of it that time does not change any more, by their form; with a digest of the agents they tell
            of.
    """

    generation: int
    versions: tuple[int, ...]
    from_ns: int
    to_ns: int
    changes: int
    merged: Answer
    facts: CoverageFacts
    seen: dict[Hashable, Hashable] = field(default_factory=dict)
    rendered: dict[Hashable, tuple[bytes, bytes]] = field(default_factory=dict)
    size: int = 0

    def note(self, state: tuple[Hashable, Hashable]) -> None:
        """It holds in this state of the database."""
        if len(self.seen) >= _MOST_STATES:
            self.seen.clear()
        who, what = state
        self.seen[who] = what


class AnswerCache:
    """Entries by question. Safe to use from any thread."""

    def __init__(self, max_bytes: int, metrics: OwnMetrics) -> None:
        self._max_bytes = max_bytes
        self._outcomes = {name: metrics.answer_cache.labels(name) for name in ("hit", "miss")}
        self._held = metrics.answer_cache_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, Entry] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def held_bytes(self) -> int:
        """About how much memory all entries take."""
        return self._bytes

    def get(self, question: Hashable) -> Entry | None:
        """The entry of a question, whether it still holds or not."""
        with self._lock:
            found = self._entries.get(question)
            if found is not None:
                self._entries.move_to_end(question)
            return found

    def put(self, question: Hashable, entry: Entry) -> None:
        """Keep an entry in place of another one, unless it is too large."""
        if not self._max_bytes:
            return
        entry.size = _ENTRY_BYTES + _GROUP_BYTES * len(entry.merged.groups)
        entry.size += _bytes_of(entry.merged.states) + _WINDOW_BYTES * len(entry.facts.windows)
        with self._lock:
            self._drop(question)
            if entry.size * _LARGEST_SHARE > self._max_bytes:
                return
            self._entries[question] = entry
            self._bytes += entry.size
            self._make_room()

    def rendered(self, question: Hashable, entry: Entry, form: Hashable, agents: bytes, body: bytes) -> None:
        """Keep a body of the entry's answer that time does not change any more, made with these agents."""
        with self._lock:
            old = entry.rendered.get(form)
            grown = entry.size + len(body) - (len(old[1]) if old is not None else -_BODY_BYTES)
            if self._entries.get(question) is entry and grown * _LARGEST_SHARE <= self._max_bytes:
                entry.rendered[form] = (agents, body)
                self._bytes += grown - entry.size
                entry.size = grown
                self._make_room()

    def count(self, outcome: str) -> None:
        """Count a question: hit or miss; and show how much is held."""
        self._outcomes[outcome].inc()
        self._held.set(self._bytes)

    def _drop(self, question: Hashable) -> None:
        gone = self._entries.pop(question, None)
        if gone is not None:
            self._bytes -= gone.size

    def _make_room(self) -> None:
        while self._bytes > self._max_bytes:
            _, gone = self._entries.popitem(last=False)
            self._bytes -= gone.size


def _bytes_of(thing: Any) -> int:
    """About how much memory a state takes: its arrays."""
    if isinstance(thing, np.ndarray):
        return int(thing.nbytes)
    kind: Any = type(thing)
    return 32 + sum([_bytes_of(getattr(thing, name)) for name in _field_names(kind)])


@cache
def _field_names(kind: Any) -> tuple[str, ...]:
    return tuple(part.name for part in fields(kind)) if is_dataclass(kind) else ()
