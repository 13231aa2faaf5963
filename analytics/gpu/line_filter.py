"""One regular expression for all lines that rules can match: what agents, which know no rules, keep lines by.

It holds the fixed texts that the rules demand (scanning_literals.py), written as a tree of their beginnings, in lower
case: tried on lines in lower case it costs an agent a seventh of what ignoring case does (benchmarks/gpu/keeping.py).
Where it would grow too long the longest texts are cut, which lets more lines pass and never fewer.
Rules that are advice are left out: they are no cause, and what they say of a job's end stands in its last lines.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from analytics.errors import SignatureFileError
from analytics.gpu.scanning import TRACEBACKS
from analytics.gpu.scanning_literals import SHORTEST, required
from analytics.gpu.signatures import Signature

#: Characters of the expression; a query may have 20,000 in all.
MOST_CHARACTERS: Final = 16_000
_SPECIAL: Final = frozenset(r"\.+*?()|[]{}^$")
#: Where a text ends in a tree.
_END: Final = ""


@dataclass(frozen=True, slots=True)
class LineFilter:
    """The expression, in the syntax of Rust's regex and of RE2, to be searched for in lines in lower case.

    Attributes:
        rules: how many lines pass for.
        texts: how many it holds.
        longest: to how many characters they were cut.
    """

    pattern: str
    rules: int
    texts: int
    longest: int


def line_filter(signatures: Iterable[Signature], most: int = MOST_CHARACTERS) -> LineFilter:
    """The filter of these rules with the longest texts that fit `most` characters.

    Raises:
        SignatureFileError: even texts of three characters take more: there are too many rules.
    """
    rules = [one for one in signatures if one.role != "advice"]
    texts = {text for one in rules for text in required(one.pattern)} | set(TRACEBACKS)
    root = _tree(texts)
    lengths = range(SHORTEST, max(map(len, texts)) + 1)
    # The expression never grows shorter where texts grow longer.
    fitting = bisect_right(lengths, most, key=lambda length: len(_written(root, length)))
    if not fitting:
        told = f"{len(texts)} texts of the rules take {len(_written(root, SHORTEST))} characters even where cut to "
        raise SignatureFileError([f"{told}{SHORTEST}; wanted {most} at most: use fewer rules of your own"])
    longest = lengths[fitting - 1]
    return LineFilter(_written(root, longest), len(rules), _texts_in(root, longest), longest)


_Tree = dict[str, "_Tree"]


def _tree(texts: Iterable[str]) -> _Tree:
    """Characters below each other; a text that goes on behind another one's end is left out: that one finds it."""
    root: _Tree = {}
    for text in sorted(texts, key=len):
        at = root
        for character in text:
            if _END in at:
                break
            at = at.setdefault(character, {})
        at[_END] = {}
    return root


def _written(tree: _Tree, depth: int) -> str:
    """The tree down to a depth: what is cut there lets all through that goes on behind."""
    if not depth or _END in tree:
        return ""
    branches = [
        ("\\" if character in _SPECIAL else "") + character + _written(below, depth - 1)
        for character, below in sorted(tree.items())
    ]
    return branches[0] if len(branches) == 1 else f"(?:{'|'.join(branches)})"


def _texts_in(tree: _Tree, depth: int) -> int:
    return 1 if not depth or _END in tree else sum(_texts_in(below, depth - 1) for below in tree.values())
