"""Words, flags and whole numbers in a URL: read strictly, refused with what is accepted."""

import re
from collections.abc import Sequence
from typing import TypeVar

from api.errors import ParameterError
from api.problems import nearest_name

_Word = TypeVar("_Word", bound=str)
_WHOLE = re.compile(r"-?[0-9]{1,10}", re.ASCII)


def flag(text: str | None, parameter: str) -> bool | None:
    """true or false; None where it was not given.

    Raises:
        ParameterError: neither.
    """
    return None if text is None else one_of(text, ("true", "false"), parameter) == "true"


def whole(text: str | None, parameter: str, least: int, most: int) -> int | None:
    """A whole number; None where it was not given.

    Raises:
        ParameterError: none, or not between `least` and `most`.
    """
    if text is None:
        return None
    if _WHOLE.fullmatch(text) is None or not least <= int(text) <= most:
        raise ParameterError(
            f"{parameter}={text[:60]!r} is no whole number from {least} to {most}", parameter=parameter
        )
    return int(text)


def if_given(text: str | None, known: Sequence[_Word], parameter: str) -> _Word | None:
    """As `one_of`; None where nothing was given."""
    return None if text is None else one_of(text, known, parameter)


def one_of(text: str, known: Sequence[_Word], parameter: str) -> _Word:
    """The word of these that was given.

    Raises:
        ParameterError: it is none of them.
    """
    found = next((word for word in known if word == text), None)
    if found is None:
        nearest = nearest_name(text.lower(), known)
        hint = f"did you mean {nearest}? There" if nearest else "there"
        raise ParameterError(
            f"{parameter}={text[:60]!r} is none; {hint} are {', '.join(known)}", parameter=parameter, nearest=nearest
        )
    return found
