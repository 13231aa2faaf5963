"""Attributes of OpenTelemetry as columns: those that are declared become text, the others are left out and named.

An SDK sends the same few sets of attributes again and again, in the same bytes: each is taken apart once. What the
order of attributes in a set is makes no difference to which series a point belongs to.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from agents.sources.otlp_messages import fields_of

LONGEST_TEXT: Final = 1024
MOST_ATTRIBUTES: Final = 128
_KEPT_SETS: Final = 20_000
_KEPT_BYTES: Final = 2**23
_KEPT_NAMES: Final = 1000
_NO_COLUMN: Final = re.compile(r"[^A-Za-z0-9]")
_SERVICE: Final = "service.name"


class AttributesError(ValueError):
    """Attributes that cannot be taken; `args[0]` is the reason, a word."""


class AttributeSet(NamedTuple):
    """One set: the text of each declared column or None, what tells it from others, and the service it names."""

    values: tuple[str | None, ...]
    digest: bytes
    service: str | None


class Attributes:
    """Reads sets of attributes for these columns."""

    def __init__(self, columns: Sequence[str]) -> None:
        """The declared columns, in order."""
        self.columns = tuple(columns)
        self.undeclared: Counter[str] = Counter()
        self._places = {column: place for place, column in enumerate(self.columns)}
        self._known: dict[tuple[bytes, ...], AttributeSet] = {}
        self._known_bytes = 0

    def of(self, parts: Sequence[bytes]) -> AttributeSet:
        """The set of these attributes, each a KeyValue.

        Raises:
            AttributesError: more than MOST_ATTRIBUTES, text in a column that is too long, or no text.
            DecodeError: one is none.
        """
        if len(parts) > MOST_ATTRIBUTES:
            raise AttributesError("too_many_attributes")
        key = tuple(parts)
        known = self._known.get(key)
        if known is None:
            known = self._read(key)
            size = sum(map(len, key))
            if len(self._known) >= _KEPT_SETS or self._known_bytes + size > _KEPT_BYTES:
                self._known, self._known_bytes = {}, 0
            if size <= _KEPT_BYTES:
                self._known[key] = known
                self._known_bytes += size
        return known

    def _read(self, parts: Iterable[bytes]) -> AttributeSet:
        values: list[str | None] = [None] * len(self.columns)
        service = None
        digest = hashlib.blake2b(digest_size=16)
        for part in sorted(parts):
            digest.update(len(part).to_bytes(8, "little") + part)
            pair = fields_of("KeyValue", part)
            if len(pair.key) > LONGEST_TEXT:
                raise AttributesError("too_long_text")
            name = _utf8(pair.key)
            place = self._places.get(_NO_COLUMN.sub("_", name))
            if name == _SERVICE:
                service = _text(pair.value)
            elif place is None:
                self._note(name)
            if place is not None:
                values[place] = _text(pair.value)
        return AttributeSet(tuple(values), digest.digest(), service)

    def _note(self, name: str) -> None:
        self.undeclared[name] += 1
        if len(self.undeclared) > _KEPT_NAMES:
            # Names from outside must not fill the memory.
            self.undeclared = Counter(dict(self.undeclared.most_common(_KEPT_NAMES // 2)))


def _text(value: Any) -> str | None:
    """As a label shows it; None of lists, maps and bytes."""
    for kind in ("string", "bool", "int", "double"):
        if value.HasField(kind):
            break
    else:
        return None
    found = getattr(value, kind)
    if kind == "string":
        if len(found) > LONGEST_TEXT:
            raise AttributesError("too_long_text")
        return _utf8(found)
    return str(found).lower() if kind == "bool" else str(found)


def _utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise AttributesError("bad_utf8") from error
