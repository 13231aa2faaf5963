"""Whether signatures do what their own examples say: run as tests on those shipped, and by a site on its file.

Three rules. A signature matches each of its examples. It matches none of its counterexamples. No example is won by
another reason: of all signatures of role root or cascade that stand on it, none of another reason weighs as much.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from analytics.gpu.signature_patterns import compiled
from analytics.gpu.signatures import Signature

_CAUSES: Final = ("root", "cascade")


@dataclass(frozen=True, slots=True)
class Fault:
    """An example that shows something else than it should."""

    signature: str
    example: str
    text: str

    def __str__(self) -> str:
        return f"{self.signature}: {self.text}: {self.example!r}"


def faults(signatures: Sequence[Signature], checked: Sequence[Signature] | None = None) -> tuple[Fault, ...]:
    """What is wrong, in the signatures' order.

    Args:
        signatures: all that are used together.
        checked: those whose examples are looked at; None for all.
    """
    together = [_Ready(one) for one in signatures]
    found: list[Fault] = []
    for one in signatures if checked is None else checked:
        found += _of_its_own(_Ready(one))
        found += _lost(one, together)
    return tuple(found)


class _Ready:
    """A signature with its patterns compiled."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self._pattern = compiled(signature.pattern)
        self._never = compiled(signature.not_pattern) if signature.not_pattern else None

    def stands_on(self, text: str) -> bool:
        """Whether it matches, wherever the text comes from."""
        if self.signature.scope == "line" and "\n" in text:
            return False
        return self._pattern.search(text) is not None and (self._never is None or self._never.search(text) is None)


def _of_its_own(ready: _Ready) -> Iterator[Fault]:
    signature = ready.signature
    for example in signature.examples:
        if not ready.stands_on(example):
            yield Fault(signature.id, example, "does not match its example; mend the pattern or the example")
    for example in signature.counterexamples:
        if ready.stands_on(example):
            yield Fault(signature.id, example, "matches its counterexample; narrow the pattern, or add a not_pattern")


def _lost(signature: Signature, together: Sequence[_Ready]) -> Iterator[Fault]:
    if signature.role not in _CAUSES:
        return
    for example in signature.examples:
        for other in together:
            rival = other.signature
            if (
                rival.reason != signature.reason
                and rival.role in _CAUSES
                and rival.weight >= signature.weight
                and _may_stand_together(rival, signature)
                and other.stands_on(example)
            ):
                text = f"its example is won by {rival.id} ({rival.reason}, weight {rival.weight} to {signature.weight})"
                yield Fault(signature.id, example, f"{text}; narrow that one, or set the weights apart")


def _may_stand_together(one: Signature, other: Signature) -> bool:
    return not one.sources or not other.sources or not set(one.sources).isdisjoint(other.sources)
