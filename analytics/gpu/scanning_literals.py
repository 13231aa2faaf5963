"""Fixed texts of which a line must hold one before a pattern can match it: what the first pass over a log looks for.

Texts are lower case, since the pass ignores case, and ASCII without quotes, angle brackets, ampersands and backslashes:
these stand in another form inside logs that are JSON.
"""

from collections.abc import Iterable
from typing import Final

from analytics.gpu.scanning_syntax import Anything, Choice, Literal, Node, Repeat, Sequence, parsed

Texts = frozenset[str]

#: A text shorter than this stands in too many lines to be worth looking for.
SHORTEST: Final = 3
_MOST_TEXTS = 64  # of one pattern
_LONGEST = 40  # characters of a text that count: more make it no rarer
_UNSAFE = frozenset("\"'<>&\\")
#: Words that stand in lines of every healthy job, so that a text made of nothing else tells little.
_COMMON_WORDS = """
    error errors failed failure warning exception loss step epoch rank time file line cuda gpu nccl device process
    memory torch python node worker info tensor tensors model data train batch number size value loading loaded read
    write grad norm gradient grad_norm is in for the of
"""
_COMMON = frozenset(_COMMON_WORDS.split())


def required(pattern: str) -> Texts:
    """Texts of which every match of the pattern holds at least one, compared in lower case; empty where none is sure.

    The best there are: long before short, few before many.
    """
    exact, best = _texts(parsed(pattern))
    return _better(exact, best) or frozenset()


def nests_repeats(pattern: str) -> bool:
    """Whether an endless repeat repeats nothing but another one, as in (a+)+: such a text is cut in countless ways."""
    return _nests(parsed(pattern))


def _texts(node: Node) -> tuple[Texts | None, Texts | None]:
    """(all that the node can be, one of which must stand in it); None where that is not known or not few."""
    match node:
        case Literal(character):
            safe = character.isascii() and character.isprintable() and character not in _UNSAFE
            return frozenset([character.lower()]) if safe else None, None
        case Anything():
            return None, None
        case Sequence(parts):
            return _of_sequence(parts)
        case Choice(branches):
            return _of_choice(branches)
        case Repeat(body, 0, most):
            exact = _texts(body)[0]
            return (exact | {""} if most == 1 and exact is not None else None), None
        case Repeat(body):
            return None, _better(*_texts(body))


def _of_sequence(parts: Iterable[Node]) -> tuple[Texts | None, Texts | None]:
    best: Texts | None = None
    run: Texts = frozenset([""])
    whole = True
    for part in parts:
        exact, inner = _texts(part)
        joined = None if exact is None else frozenset(one + two for one in run for two in exact)
        if joined is not None and len(joined) <= _MOST_TEXTS:
            run = joined
            continue
        whole = False
        best = _better(best, _better(run, inner))
        run = frozenset([""]) if exact is None else exact
    if whole:
        return run, None
    return None, _better(best, run)


def _of_choice(branches: Iterable[Node]) -> tuple[Texts | None, Texts | None]:
    exact: Texts | None = frozenset()
    best: Texts | None = frozenset()
    for branch in branches:
        branch_exact, branch_best = _texts(branch)
        exact = None if exact is None or branch_exact is None else exact | branch_exact
        chosen = _better(branch_exact, branch_best)
        best = None if best is None or chosen is None else best | chosen
    if exact is not None and len(exact) <= _MOST_TEXTS:
        return exact, None
    return None, best if best is not None and len(best) <= _MOST_TEXTS else None


def _better(one: Texts | None, two: Texts | None) -> Texts | None:
    """The set that fewer lines will hold; None where neither is of use."""
    usable = [_shortest(texts) for texts in (one, two) if texts and min(map(len, texts)) >= SHORTEST]
    return max(usable, key=_rarity, default=None)


def _shortest(texts: Texts) -> Texts:
    """Without those that hold another."""
    return frozenset(text for text in texts if not any(other in text for other in texts - {text}))


def _rarity(texts: Texts) -> float:
    return min(_weight(text) for text in texts) - 0.05 * len(texts)


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
