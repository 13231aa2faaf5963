"""Fixed texts that a line must hold before a pattern can match it: what the first pass over a log looks for.

A pattern's demand is all that is known of them: this text or that one, and another one besides. One set of them, of
which one must stand there, is looked for first. Texts are ASCII without quotes, angle brackets, ampersands and
backslashes: these stand in another form inside logs that are JSON.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final, NamedTuple

from analytics.gpu.scanning_syntax import Anything, Choice, Literal, Node, Repeat, Sequence, parsed

#: A text shorter than this stands in too many lines to be worth looking for.
SHORTEST: Final = 3
#: A text shorter than this rules out too few of the lines that were found by another one.
SHORTEST_BESIDES: Final = 2
_MOST_TEXTS = 64  # of one pattern
_LONGEST = 40  # characters of a text that count: more make it no rarer
_REMEMBERED = 4_096  # patterns: each is asked about when it is read and when it is made ready
_UNSAFE = frozenset("\"'<>&\\")
#: Words that stand in lines of every healthy job, so that a text made of nothing else tells little.
_COMMON_WORDS = """
    error errors failed failure warning exception loss step epoch rank time file line cuda gpu nccl device process
    memory torch python node worker info tensor tensors model data train batch number size value loading loaded read
    write grad norm gradient grad_norm is in for the of
"""
_COMMON = frozenset(_COMMON_WORDS.split())


class Text(NamedTuple):
    """Letters that must stand there, in lower case where any case will do."""

    letters: str
    any_case: bool = False

    def then(self, other: "Text") -> "Text":
        """Both, one behind the other."""
        letters, any_case = self.letters + other.letters, self.any_case or other.any_case
        return Text(letters.lower() if any_case else letters, any_case)

    def is_in(self, other: "Text") -> bool:
        """Whether it stands wherever the other one stands."""
        if self.any_case:
            return self.letters in other.letters.lower()
        return not other.any_case and self.letters in other.letters


Texts = frozenset[Text]
_EMPTY: Final = Text("")


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of the texts at least."""

    texts: Texts

    def holds(self, present: Texts) -> bool:
        """Whether it is met where these texts stand."""
        return not self.texts.isdisjoint(present)


@dataclass(frozen=True, slots=True)
class AllParts:
    """Each of the parts."""

    parts: tuple["Demand", ...]

    def holds(self, present: Texts) -> bool:
        """Whether it is met where these texts stand."""
        for part in self.parts:  # noqa: SIM110 - a generator takes twice as long
            if not part.holds(present):
                return False
        return True


@dataclass(frozen=True, slots=True)
class OneBranch:
    """One of the branches at least; without branches it is never met."""

    branches: tuple["Demand", ...]

    def holds(self, present: Texts) -> bool:
        """Whether it is met where these texts stand."""
        for branch in self.branches:  # noqa: SIM110 - as above
            if branch.holds(present):
                return True
        return False


Demand = OneOf | AllParts | OneBranch
NOTHING: Final = AllParts(())


@lru_cache(_REMEMBERED)
def demand_of(pattern: str) -> Demand:
    """What every match of the pattern holds; NOTHING where that is not known."""
    exact, demand = _demand(parsed(pattern))
    return demand if exact is None else _one_of(exact)


def texts_of(demand: Demand) -> Texts:
    """All texts that tell whether it is met."""
    match demand:
        case OneOf(texts):
            return texts
        case AllParts(parts) | OneBranch(parts):
            return frozenset().union(*map(texts_of, parts))


def first_texts(pattern: str) -> Texts:
    """Texts of which every match of the pattern holds at least one; empty where none is sure.

    The best there are: long before short, few before many.
    """
    return _best(demand_of(pattern)) or frozenset()


def required(pattern: str) -> frozenset[str]:
    """The same for those who compare in lower case."""
    lowered = frozenset(Text(text.letters.lower(), True) for text in first_texts(pattern))
    return frozenset(text.letters for text in _shortest(lowered))


def nests_repeats(pattern: str) -> bool:
    """Whether an endless repeat repeats nothing but another one, as in (a+)+: such a text is cut in countless ways."""
    return _nests(parsed(pattern))


def _demand(node: Node) -> tuple[Texts | None, Demand]:
    """(all that the node can be, None where that is not known or not few; then what must stand in it)."""
    match node:
        case Literal(character, any_case):
            return _of_literal(character, any_case), NOTHING
        case Anything():
            return None, NOTHING
        case Sequence(parts):
            return _of_sequence(parts)
        case Choice(branches):
            return _of_choice(branches)
        case Repeat(body, 0, most):
            exact = _demand(body)[0]
            return (exact | {_EMPTY} if most == 1 and exact is not None else None), NOTHING
        case Repeat(body):
            exact, demand = _demand(body)
            return None, demand if exact is None else _one_of(exact)


@cache
def _of_literal(character: str, any_case: bool) -> Texts | None:
    safe = character.isascii() and character.isprintable() and character not in _UNSAFE
    return frozenset([Text("", any_case).then(Text(character))]) if safe else None


def _of_sequence(parts: Iterable[Node]) -> tuple[Texts | None, Demand]:
    found: list[Demand] = []
    run: Texts = frozenset([_EMPTY])
    whole = True
    for part in parts:
        exact, inner = _demand(part)
        joined = None if exact is None else _joined(run, exact)
        if joined is not None:
            run = joined
            continue
        whole = False
        # What is repeated ends the text before it, and begins the one behind it.
        once = _demand(part.body)[0] if isinstance(part, Repeat) and part.least else None
        ended = None if once is None else _joined(run, once)
        found += [_one_of(run if ended is None else ended), inner]
        run = next((each for each in (exact, once) if each is not None), frozenset([_EMPTY]))
    if whole:
        return run, NOTHING
    return None, _all_of([*found, _one_of(run)])


def _joined(one: Texts, two: Texts) -> Texts | None:
    """Texts of both, one behind the other; None where these are too many."""
    return frozenset(a.then(b) for a in one for b in two) if len(one) * len(two) <= _MOST_TEXTS else None


def _of_choice(branches: Iterable[Node]) -> tuple[Texts | None, Demand]:
    texts: Texts | None = frozenset()
    demands: list[Demand] = []
    for branch in branches:
        exact, inner = _demand(branch)
        texts = None if texts is None or exact is None else texts | exact
        demands.append(inner if exact is None else _one_of(exact))
    if texts is not None and len(texts) <= _MOST_TEXTS:
        return texts, NOTHING
    return None, NOTHING if NOTHING in demands else OneBranch(tuple(demands))


def _one_of(texts: Texts) -> Demand:
    if _least(texts) < SHORTEST_BESIDES:
        return NOTHING
    return OneOf(_shortest(texts))


def _all_of(parts: Iterable[Demand]) -> Demand:
    wanted = [part for part in parts if part != NOTHING]
    return wanted[0] if len(wanted) == 1 else AllParts(tuple(wanted))


def _best(demand: Demand) -> Texts | None:
    """Of the sets of which one text must stand there that which fewest lines will hold; None where none is of use."""
    match demand:
        case OneOf(texts):
            return texts if _least(texts) >= SHORTEST else None
        case AllParts(parts):
            usable = [best for part in parts if (best := _best(part)) is not None]
            return max(usable, key=_rarity, default=None)
        case OneBranch(branches):
            bests = [_best(branch) for branch in branches]
            united = frozenset(text for best in bests for text in best or ())
            return None if None in bests or len(united) > _MOST_TEXTS else _shortest(united)


def _shortest(texts: Texts) -> Texts:
    """Without those that hold another."""
    return frozenset(text for text in texts if not any(other.is_in(text) for other in texts - {text}))


def _least(texts: Texts) -> int:
    return min((len(text.letters) for text in texts), default=0)


def _rarity(texts: Texts) -> float:
    return min(_weight(text.letters.lower()) for text in texts) - 0.05 * len(texts)


def _weight(text: str) -> float:
    common = sum(len(word) + 1 for word in text.replace(":", " ").split() if word in _COMMON)
    return min(len(text), _LONGEST) - 0.8 * common


def _nests(node: Node) -> bool:
    match node:
        case Repeat(body, _, most):
            return (most is None and _can_be_only_a_repeat(body)) or _nests(body)
        case Sequence(parts) | Choice(parts):
            return any(_nests(part) for part in parts)
        case _:
            return False


def _can_be_only_a_repeat(node: Node) -> bool:
    """Whether some way through the node meets an endless repeat and nothing else that must stand there."""
    match node:
        case Repeat(body, _, most):
            return most is None or _can_be_only_a_repeat(body)
        case Choice(branches):
            return any(_can_be_only_a_repeat(branch) for branch in branches)
        case Sequence(parts):
            repeats = [part for part in parts if _can_be_only_a_repeat(part)]
            return any(all(other is part or _can_be_empty(other) for other in parts) for part in repeats)
        case _:
            return False


def _can_be_empty(node: Node) -> bool:
    match node:
        case Repeat(body, least, _):
            return least == 0 or _can_be_empty(body)
        case Choice(branches):
            return any(_can_be_empty(branch) for branch in branches)
        case Sequence(parts):
            return all(_can_be_empty(part) for part in parts)
        case _:
            return False
