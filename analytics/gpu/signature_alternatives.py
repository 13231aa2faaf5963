"""Alternatives of a signature's pattern: which of the texts that it knows a match stands for.

A pattern such as `(?i)too many files|table of files is full` knows two texts that have nothing to do with each other
but their meaning. Who asks where the knowledge of a match came from has to ask for the text, not for the row.
"""

import re
from functools import cache
from typing import Any, Final

from analytics.gpu.matches import Match
from analytics.gpu.signature_patterns import compiled, tokens

_FLAGS: Final = re.compile(r"\(\?[imsU-]+\)")
_GROUP: Final = re.compile(r"\(\?([imsU-]*):")


def alternatives(pattern: str) -> tuple[str, ...]:
    """Patterns that together match what a pattern matches; the pattern itself where it has only one.

    Flags in front hold for each. A branch that is one group without a name is taken apart, too.
    """
    flags = _FLAGS.match(pattern)
    front = flags.group() if flags else ""
    branches = _branches(pattern[len(front) :])
    found: list[str] = []
    for branch in branches:
        inner = _inside(branch)
        if inner is None:
            found.append(front + branch)
        else:
            own, body = inner
            found += [f"{front}(?{own}:{each})" for each in _branches(body)]
    return tuple(found)


def texts_of(match: Match) -> frozenset[str]:
    """Names of the texts that a match stands for: alternatives of its row, and the class where it is an exception's.

    Where the line holds none of them (a window's text is over several lines), the row as a whole.
    """
    signature = match.signature
    name = (match.captured.get("exception") or "").rpartition(".")[2]
    places = [place for place, each in enumerate(_compiled(signature.pattern)) if each.search(match.line.text)]
    return frozenset(f"{signature.id} {place} {name}" for place in places or [-1])


@cache
def _compiled(pattern: str) -> tuple[Any, ...]:
    return tuple(compiled(each) for each in alternatives(pattern))


def _branches(pattern: str) -> list[str]:
    """Cut at the bars that stand in no group."""
    branches = [""]
    depth = 0
    for token in tokens(pattern):
        depth += (token == "(") - (token == ")")
        if token == "|" and depth == 0:
            branches.append("")
        else:
            branches[-1] += token
    return branches


def _inside(branch: str) -> tuple[str, str] | None:
    """(flags, body) of a branch that is one group without a name from end to end."""
    opened = _GROUP.match(branch)
    if opened is None:
        return None
    depth = 0
    parts = tokens(branch)
    for place, token in enumerate(parts):
        depth += (token == "(") - (token == ")")
        if depth == 0:
            whole = place == len(parts) - 1
            return (opened.group(1), branch[opened.end() : -1]) if whole else None
    return None
