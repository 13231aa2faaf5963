"""Which rules are worth trying on a raw line: those of whose fixed texts one stands there."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from analytics.gpu.cleaning import Origin, clean_line
from analytics.gpu.log_lines import LogLine
from analytics.gpu.matches import Match
from analytics.gpu.scanning_literals import required
from analytics.gpu.signature_patterns import all_of, any_of, compiled, loosely_compiled
from analytics.gpu.signatures import Signature

#: Combinations of texts on one line that are remembered.
_REMEMBERED: Final = 4_096


class LineRule:
    """A signature for single lines, with its patterns compiled; `place` is where it stands among all."""

    def __init__(self, place: int, signature: Signature) -> None:
        self.place, self.signature = place, signature
        self._loose = loosely_compiled(signature.pattern)
        self._pattern = compiled(signature.pattern)
        self._never = compiled(signature.not_pattern) if signature.not_pattern else None

    def may_match(self, raw: bytes) -> bool:
        """Whether it could match a part of a raw line."""
        return self._loose.search(raw) is not None

    def match(self, line: LogLine) -> Match | None:
        """Where it stands on the line."""
        found = self._pattern.search(line.text)
        if found is None or (self.signature.sources and line.source not in self.signature.sources):
            return None
        if self._never is not None and self._never.search(line.text) is not None:
            return None
        return Match(self.signature, line, {key: value or "" for key, value in found.groupdict().items()})


@dataclass(frozen=True, slots=True)
class Worth:
    """What a raw line is worth: rules to try, by place; whether a window's text stands there, or a traceback's."""

    rules: tuple[LineRule, ...]
    window: bool
    traceback: bool

    def matches(self, raw: bytes, origin: Origin, number: int) -> list[tuple[int, Match]]:
        """(place of the signature, match) of all rules that stand on the line."""
        rules: Iterable[LineRule] = self.rules
        # Cleaning takes parts of a line away; it adds none, unless the line is JSON or in another encoding.
        if raw.isascii() and not raw.startswith((b"{", b" {")):
            rules = [rule for rule in rules if rule.may_match(raw)]
        if not rules:
            return []
        line = clean_line(raw, origin, number)
        tried = ((rule.place, rule.match(line)) for rule in rules)
        return [(place, match) for place, match in tried if match is not None]


class FixedTexts:
    """All fixed texts of signatures, and of lines after which tracebacks follow."""

    def __init__(self, placed: Sequence[tuple[int, Signature]], tracebacks: Sequence[str]) -> None:
        self._by_text: dict[str, list[LineRule]] = {text: [] for text in tracebacks}
        self._tracebacks = frozenset(tracebacks)
        self._windows = frozenset(text for _, one in placed if one.scope == "window" for text in required(one.pattern))
        for text in self._windows:
            self._by_text[text] = []
        for rule in (LineRule(place, one) for place, one in placed if one.scope == "line"):
            for text in required(rule.signature.pattern):
                self._by_text.setdefault(text, []).append(rule)
        self._texts = tuple(self._by_text)
        self._anywhere, self._on_a_line = any_of(self._texts), all_of(self._texts)
        self._known: dict[tuple[int, ...], Worth] = {}

    def next(self, data: bytes, at: int) -> int:
        """Where the next one begins, -1 for nowhere."""
        found = self._anywhere.search(data, at)
        return -1 if found is None else int(found.start())

    def worth(self, raw: bytes) -> Worth:
        """What the texts on a raw line are worth."""
        key = tuple(self._on_a_line.Match(raw))
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[key] = self._worth([self._texts[place] for place in key])
        return known

    def _worth(self, texts: Sequence[str]) -> Worth:
        rules: Mapping[int, LineRule] = {rule.place: rule for text in texts for rule in self._by_text[text]}
        return Worth(
            rules=tuple(rules[place] for place in sorted(rules)),
            window=not self._windows.isdisjoint(texts),
            traceback=not self._tracebacks.isdisjoint(texts),
        )
