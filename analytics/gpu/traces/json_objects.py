"""The objects of a large JSON array, one after the other, without holding the array.

A block of bytes is searched for quotes and braces with NumPy; what lies between an opening brace at depth 0 and its
closing one is an object, whatever stands inside it. Memory: a block and the largest object. One object per line
without an array around is read the same way.
"""

from collections.abc import Iterator
from typing import IO, Final, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from analytics.errors import DataError

T = TypeVar("T")

_QUOTE, _BACKSLASH, _OPEN, _CLOSE = (ord(sign) for sign in '"\\{}')
_BETWEEN: Final = b" \t\r\n,"
#: The largest job of the published trace takes some 100 KB; an object beyond this is no job.
_MOST_BYTES: Final = 64 << 20


def json_objects(
    stream: IO[bytes], file: str, *, block_bytes: int = 4 << 20, most_bytes: int = _MOST_BYTES
) -> Iterator[bytes]:
    """The text of each object, in order.

    Raises:
        DataError: the bytes end inside an object or the array, an object is larger than `most_bytes`, or something
            else stands where an object was expected.
    """
    rest, count, in_array = b"", 0, False
    while block := stream.read(block_bytes):
        if not rest and not count and not in_array:
            block = block.removeprefix(b"\xef\xbb\xbf").lstrip(_BETWEEN[:4])
            in_array = block.startswith(b"[")
            block = block[in_array:]
        rest += block
        done = 0
        for start, end in _spans(rest):
            _refuse_other(rest[done:start], file, count)
            count += 1
            yield rest[start:end]
            done = end
        rest = rest[done:].lstrip(_BETWEEN)
        if len(rest) > most_bytes:
            raise DataError(
                f"{file}: object {count + 1} is larger than {most_bytes >> 20} MiB; this is no list of jobs, or a "
                "brace or quote is missing"
            )
    if rest.startswith(b"{"):
        raise DataError(f"{file} ends in the middle of object {count + 1}; it was cut off: copy it again")
    if in_array and not rest.startswith(b"]"):
        _refuse_other(rest, file, count)
        raise DataError(f"{file} ends after object {count} without the array's `]`; it was cut off: copy it again")
    _refuse_other(rest[in_array:], file, count)


def decoded(decoder: msgspec.json.Decoder[T], text: bytes, place: str, wanted: str) -> T:
    """What an object means.

    Raises:
        DataError: it is no JSON, has other fields or types, or is nested too deeply.
    """
    try:
        return decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{place}: {error}; wanted is {wanted}") from error


def _spans(text: bytes) -> Iterator[tuple[int, int]]:
    """Where whole objects of the outermost level stand; `text` begins outside of any."""
    signs = np.frombuffer(text, dtype=np.uint8)
    quotes = np.flatnonzero(signs == _QUOTE)
    if b"\\" in text:
        quotes = _not_escaped(signs, quotes)
    braces = np.flatnonzero((signs == _OPEN) | (signs == _CLOSE))
    braces = braces[np.searchsorted(quotes, braces) % 2 == 0]  # an odd count of quotes before it: inside a text
    opens = signs[braces] == _OPEN
    depth = np.cumsum(np.where(opens, 1, -1))
    starts = braces[opens & (depth == 1)]
    ends = braces[~opens & (depth == 0)] + 1
    if (depth < 0).any():  # a closing brace too many: what comes before it still stands, then it is in the way
        stray = braces[int((depth < 0).argmax())]
        starts, ends = starts[starts < stray], ends[ends <= stray]
    yield from zip(starts[: ends.size].tolist(), ends.tolist(), strict=True)


def _not_escaped(signs: npt.NDArray[np.uint8], quotes: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """The quotes with an even number of backslashes before them. Runs do not overlap: linear in the length."""
    kept = np.ones(quotes.size, dtype=np.bool_)
    behind = np.flatnonzero((quotes > 0) & (signs[quotes - 1] == _BACKSLASH))
    for i in behind.tolist():
        first = int(quotes[i])
        while first > 0 and signs[first - 1] == _BACKSLASH:
            first -= 1
        kept[i] = (int(quotes[i]) - first) % 2 == 0
    return quotes[kept]


def _refuse_other(between: bytes, file: str, count: int) -> None:
    other = between.strip(_BETWEEN)
    if other:
        shown = other[:40].decode("utf-8", "backslashreplace")
        raise DataError(f"{file}: after object {count} stands {shown!r}; want a JSON array of objects, or one a line")
