"""Patterns of signatures: RE2, compiled with one set of options, and refused where they could not be scanned for.

RE2 matches in time linear in the text, whatever the pattern; what it cannot do (look-around, back references) it says.
Beyond that a pattern is refused that nests endless repeats, that grows to a machine too large, that matches the empty
text, or that demands no fixed text of three characters: such a one would have to be tried on every line of every log.
"""

import importlib
import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final

from analytics.errors import MissingLibraryError
from analytics.gpu.scanning_literals import SHORTEST, Text, nests_repeats, required

LONGEST_PATTERN: Final = 2_000
#: Instructions of a compiled pattern. The largest shipped one has half of it.
LARGEST_PROGRAM: Final = 10_000
#: Quoted texts, escapes, classes, and single characters of a pattern.
_TOKEN: Final = re.compile(
    r"\\Q.*?(?:\\E|$)|\\.|\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]|.",
    re.DOTALL,
)
_MEMORY_BYTES = 8 << 20
_MEMORY_OF_TEXTS_BYTES = 256 << 20  # a bound; some 10 MB are used for 2,000 texts


@cache
def re2() -> Any:
    """The library, or MissingLibraryError with what to install."""
    try:
        return importlib.import_module("re2")
    except ModuleNotFoundError as error:
        raise MissingLibraryError(
            "scanning logs of GPU jobs needs google-re2, which is not installed; install tailwatch[analytics]"
        ) from error


@cache
def options() -> Any:
    """Quiet, and bounded in memory; lines are matched one by one, windows with `^` and `$` at each line."""
    made = re2().Options()
    made.log_errors = False
    made.max_mem = _MEMORY_BYTES
    return made


@cache
def _options_to_tell() -> Any:
    made = re2().Options()
    made.log_errors = False
    made.max_mem = _MEMORY_BYTES
    made.never_capture = True
    return made


def compiled(pattern: str) -> Any:
    """A pattern that `fault_of` found no fault with; `^` and `$` also stand at the lines of a window."""
    return re2().compile(f"(?m:{pattern})", options())


def compiled_to_tell(pattern: str) -> Any:
    """The same without its groups: it tells in a third of the time whether it matches UTF-8."""
    return re2().compile(f"(?m:{pattern})", _options_to_tell())


def fault_of(pattern: str, *, searched_for: bool) -> str | None:
    """What is wrong with a pattern and what to do, None where it can be used.

    Args:
        searched_for: it is what is looked for, not what rules a line out: then it must demand some fixed text.
    """
    if len(pattern) > LONGEST_PATTERN:
        return f"{len(pattern)} characters; wanted {LONGEST_PATTERN} at most: split the row"
    try:
        re2().compile(pattern, options())  # alone first: a)(b would close the brackets that `compiled` puts around
        made = compiled(pattern)
    except re2().error as error:
        told = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else error
        return f"{pattern!r} is not RE2: {told}; RE2 has no look-around and no back references"
    return _fault_of_shape(pattern, made, searched_for=searched_for)


def tokens(pattern: str) -> list[str]:
    """Quoted texts, escapes, classes and single characters, which together are the pattern."""
    return list(_TOKEN.findall(pattern))


def _fault_of_shape(pattern: str, made: Any, *, searched_for: bool) -> str | None:
    if nests_repeats(pattern):
        return f"{pattern!r} repeats a repeat without end, as (a+)+ does; write it with one repeat"
    if made.programsize > LARGEST_PROGRAM:
        return f"{pattern!r} compiles to {made.programsize} steps; wanted {LARGEST_PROGRAM} at most: smaller bounds"
    if made.search("") is not None:
        return f"{pattern!r} matches the empty text, so every line; demand some text"
    if searched_for and not required(pattern):
        return (
            f"{pattern!r} demands no fixed text of {SHORTEST} characters, so it would be tried on every line; "
            "put in a word that always stands there"
        )
    return None


def loosely_compiled(pattern: str) -> Any:
    """The pattern without its anchors: where this finds nothing in a line, the pattern matches no part of the line."""
    return compiled_to_tell(_TOKEN.sub(_without_anchor, pattern))


def any_of(texts: Iterable[Text], *, and_the_rest: bool = False) -> Any:
    """What finds the leftmost of ASCII texts in bytes of any encoding.

    Args:
        and_the_rest: with all that follows up to a line feed or a carriage return.
    """
    pattern = "|".join(_escaped(text) for text in sorted(texts))
    return re2().compile((rf"(?:{pattern})[^\r\n]*" if and_the_rest else pattern).encode("ascii"), _options_of_texts())


def all_of(texts: Sequence[Text]) -> Any:
    """What tells with `Match(bytes)` which of ASCII texts stand in bytes, as places in `texts`."""
    made = re2().Set.SearchSet(_options_of_texts())
    for text in texts:
        made.Add(_escaped(text).encode("ascii"))
    made.Compile()
    return made


def _escaped(text: Text) -> str:
    escaped = re2().escape(text.letters)
    return f"(?i:{escaped})" if text.any_case else escaped


def _without_anchor(token: re.Match[str]) -> str:
    return "(?:)" if token.group() in ("^", "$", "\\A", "\\z") else token.group()


def _options_of_texts() -> Any:
    made = re2().Options()
    made.log_errors = False
    made.encoding = re2().Options.Encoding.LATIN1
    made.max_mem = _MEMORY_OF_TEXTS_BYTES
    return made
