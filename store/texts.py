"""Texts from outside as both databases take them: no NUL, no lone surrogates, no longer than a column."""

import hashlib

_DIGITS = 16


def is_storable(text: str, at_most: int) -> bool:
    """Whether it can be stored as it is."""
    return len(text) <= at_most and _written_out(text) == text


def storable_text(text: str, at_most: int) -> str:
    """The text with NUL and lone surrogates written out, cut to `at_most` characters: for what people read."""
    return _written_out(text)[:at_most]


def storable_name(text: str, at_most: int) -> str:
    """The text with NUL and lone surrogates written out: for what things are told apart by.

    One that is longer than `at_most` ends in a digest of all of it, so that long names stay different ones. A name
    that can be stored stays as it is, and so does what this returns.
    """
    name = _written_out(text)
    if len(name) <= at_most:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGITS]
    return f"{name[: at_most - _DIGITS - 1]}~{digest}"


def _written_out(text: str) -> str:
    if "\x00" in text:
        text = text.replace("\x00", "\\0")
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
