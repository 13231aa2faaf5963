"""Which rules are worth trying on a raw line: those whose demands for fixed texts are met there.

Of each rule one set of texts is looked for everywhere (scanning_literals.first_texts). Where one of them stands, the
line is asked for all others that such rules demand: that takes a microsecond for all rules together, and most lines
with a first text have no rule left then. What a combination of texts is worth is worked out once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from operator import methodcaller
from typing import Any, Final

from analytics.gpu.cleaning import JSON_STARTS, Origin, line_told, told_by
from analytics.gpu.log_lines import LogLine
from analytics.gpu.matches import Match
from analytics.gpu.scanning_literals import Text, Texts, demand_of, first_texts, texts_of
from analytics.gpu.signature_patterns import all_of, any_of, compiled, compiled_to_tell, loosely_compiled
from analytics.gpu.signatures import Signature

#: Combinations of texts on one line that are remembered.
_REMEMBERED: Final = 4_096
_START: Final = methodcaller("start")


class CleanLine:
    """What a raw line says, and its LogLine where someone asks for it."""

    __slots__ = ("_line", "_number", "_origin", "_told", "source", "text")

    def __init__(self, raw: bytes, origin: Origin, number: int) -> None:
        told = told_by(raw, origin)
        self.text, self.source = told.text.encode(), told.source
        self._told, self._origin, self._number = told, origin, number
        self._line: LogLine | None = None

    def line(self) -> LogLine:
        """As a match has it."""
        if self._line is None:
            self._line = line_told(self._told, self._origin, self._number)
        return self._line


class LineRule:
    """A signature for single lines, with its patterns compiled; `place` is where it stands among all."""

    def __init__(self, place: int, signature: Signature) -> None:
        self.place, self.signature = place, signature
        self.demand = demand_of(signature.pattern)

    def may_match(self, raw: bytes) -> bool:
        """Whether it could match a part of a raw line."""
        return self._loose.search(raw) is not None

    def matches(self, line: CleanLine) -> bool:
        """Whether it stands on the line."""
        if self.signature.sources and line.source not in self.signature.sources:
            return False
        return self._tells.search(line.text) is not None and not self._is_ruled_out(line.text)

    def match(self, clean: CleanLine) -> Match:
        """Where it stands on a line that it matches."""
        line = clean.line()
        found = self._pattern.search(line.text)
        return Match(self.signature, line, {key: value or "" for key, value in found.groupdict().items()})

    def _is_ruled_out(self, text: bytes) -> bool:
        return self._never is not None and self._never.search(text) is not None

    # Of most rules a log holds no text, so their patterns are compiled when they are first tried.
    @cached_property
    def _loose(self) -> Any:
        return loosely_compiled(self.signature.pattern)

    @cached_property
    def _tells(self) -> Any:
        return compiled_to_tell(self.signature.pattern)

    @cached_property
    def _pattern(self) -> Any:
        return compiled(self.signature.pattern)

    @cached_property
    def _never(self) -> Any:
        return compiled_to_tell(self.signature.not_pattern) if self.signature.not_pattern else None


@dataclass(frozen=True, slots=True)
class Worth:
    """What a raw line is worth.

    Attributes:
        rules: to try, by place, where the line is as it was written.
        found: those of which the first text stands there, whatever else they demand: to try where it is not.
        window, traceback: whether a window's text stands there, or a traceback's.
    """

    rules: tuple[LineRule, ...]
    found: tuple[LineRule, ...]
    window: bool
    traceback: bool

    def tells(self, raw: bytes) -> bool:
        """Whether the line has to be looked at."""
        return bool(self.rules) or self.window or self.traceback or (bool(self.found) and not _as_written(raw))

    def found_on(self, raw: bytes, origin: Origin, number: int) -> list[tuple[int, Callable[[], Match]]]:
        """(place of the signature, what makes the match) of all rules that stand on the line."""
        rules: Sequence[LineRule] = self.rules if _as_written(raw) else self.found
        # Cleaning takes parts of a line away; it adds none, unless the line is JSON or in another encoding.
        if rules is self.rules and not raw.startswith(JSON_STARTS):
            rules = [rule for rule in rules if rule.may_match(raw)]
        if not rules:
            return []
        line = CleanLine(raw, origin, number)
        return [(rule.place, partial(rule.match, line)) for rule in rules if rule.matches(line)]


class FixedTexts:
    """All fixed texts of signatures, and of lines after which tracebacks follow."""

    def __init__(self, placed: Sequence[tuple[int, Signature]], tracebacks: Sequence[Text]) -> None:
        self._by_text: dict[Text, list[LineRule]] = {text: [] for text in tracebacks}
        self._tracebacks = frozenset(tracebacks)
        windows = [one.pattern for _, one in placed if one.scope == "window"]
        self._windows = frozenset(text for pattern in windows for text in first_texts(pattern))
        for text in self._windows:
            self._by_text[text] = []
        rules = [LineRule(place, one) for place, one in placed if one.scope == "line"]
        for rule in rules:
            for text in first_texts(rule.signature.pattern):
                self._by_text.setdefault(text, []).append(rule)
        self._on_a_line_texts = tuple(
            sorted({*self._by_text, *(text for rule in rules for text in texts_of(rule.demand))})
        )
        self._to_line_end = any_of(self._by_text, and_the_rest=True)
        self._on_a_line = all_of(self._on_a_line_texts)
        self._known: dict[tuple[int, ...], Worth] = {}

    def places(self, data: bytes) -> Iterable[int]:
        """Where the first one begins between two line ends or carriage returns, in ascending order."""
        return map(_START, self._to_line_end.finditer(data))

    def next(self, data: bytes, at: int, end: int) -> int:
        """Where the next one begins, -1 for nowhere before the end."""
        found = self._anywhere.search(data, at, end)
        return -1 if found is None else int(found.start())

    def worth(self, raw: bytes) -> Worth:
        """What the texts on a raw line are worth."""
        key = tuple(self._on_a_line.Match(raw) or ())
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[key] = self._worth(frozenset(self._on_a_line_texts[place] for place in key))
        return known

    @cached_property
    def _anywhere(self) -> Any:
        """Without the rest of the line: only endless lines need it."""
        return any_of(self._by_text)

    def _worth(self, texts: Texts) -> Worth:
        found: Mapping[int, LineRule] = {rule.place: rule for text in texts for rule in self._by_text.get(text, ())}
        candidates = tuple(found[place] for place in sorted(found))
        window, traceback = not self._windows.isdisjoint(texts), not self._tracebacks.isdisjoint(texts)
        return Worth(
            rules=tuple(rule for rule in candidates if rule.demand.holds(texts)),
            found=candidates,
            window=window,
            traceback=traceback,
        )


def _as_written(raw: bytes) -> bool:
    """Whether each fixed text of a line's text stands in the line as it is.

    Not so where JSON writes letters by their numbers, and where cleaning may join what controls part.
    """
    if raw.startswith(JSON_STARTS):
        return b"\\u" not in raw and b"\\/" not in raw
    if raw.isascii():
        return True
    try:
        return raw.decode().isprintable()
    except UnicodeDecodeError:
        return False
