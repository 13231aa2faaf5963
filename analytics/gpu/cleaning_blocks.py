"""Bytes of a log in blocks of whole lines: colours, NULs and UTF-16 taken out, lines of any length in bounded memory.

A line ends with a line feed. A carriage return parts a line into what a terminal showed one after the other: pieces
of a progress bar, mostly. Both are left where they stand, so that line numbers are those of the file.
"""

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

#: Bytes of a block, at most; a line that is longer comes in several. Files are best read in chunks of this size.
BLOCK_BYTES: Final = 1 << 20
#: The last bytes of a piece of such a line stand in the next, too, so that no text of a failure is cut in two.
OVERLAP: Final = 4 << 10
LINE_FEED: Final = 10
CARRIAGE_RETURN: Final = 13
_LOOKED_AT: Final = 4_096  # bytes by which a log's encoding is told

# Colours and cursor moves (CSI), titles (OSC) and the two-character rest.
_ESCAPES: Final = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]{0,512}(?:\x07|\x1b\\)|[@-Z\\^_])")
# Colours as JSON writes them, which container logs are; a backslash before makes the text speak of one.
_ESCAPED: Final = re.compile(rb"(?<!\\)\\u001[bB]\[[0-?]*[ -/]*[@-~]")
_MARKS: Final = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


@dataclass(frozen=True, slots=True)
class Block:
    """Lines that follow each other.

    Attributes:
        data: cleaned of colours and NULs; ends with a line feed, unless it is the end or a piece of a long line.
        first_line: the number of its first line, from 1.
        continued: so many bytes at its start were the end of the block before: a long line goes on.
    """

    data: bytes
    first_line: int
    continued: int = 0


def blocks_of(chunks: Iterable[bytes]) -> Iterator[Block]:
    """A log's bytes as blocks of about BLOCK_BYTES; where they end does not depend on how the bytes come.

    Memory: BLOCK_BYTES and one chunk.
    """
    pending = b""
    line, continued = 1, 0
    for chunk in _in_utf8(chunks):
        pending += chunk
        at = 0
        while len(pending) - at >= BLOCK_BYTES:
            end = pending.rfind(b"\n", at, at + BLOCK_BYTES) + 1
            whole = end > at + continued
            block = pending[at : end if whole else at + BLOCK_BYTES]
            yield Block(_without_marks(block), line, continued)
            line += int(np.count_nonzero(np.frombuffer(block, np.uint8) == LINE_FEED))  # 8 times as quick as count()
            # A line that is longer goes on in the next block, which begins with the last bytes of this one.
            continued = 0 if whole else OVERLAP
            at += len(block) - continued
        pending = pending[at:]
    if len(pending) > continued:
        yield Block(_without_marks(pending), line, continued)


def _without_marks(data: bytes) -> bytes:
    if b"\x1b" in data:
        data = _ESCAPES.sub(b"", data)
    # One byte is looked for quicker than seven: without this, ordinary logs take 1.4 times as long.
    if b"\\" in data and (b"\\u001b[" in data or b"\\u001B[" in data):
        data = _ESCAPED.sub(b"", data)
    return data.replace(b"\0", b"") if b"\0" in data else data


def _in_utf8(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks; where the first one says UTF-16, by its mark or by NULs in every other place, in UTF-8."""
    waiting = iter(chunks)
    first = b""
    while len(first) < _LOOKED_AT and (chunk := next(waiting, None)) is not None:
        first += chunk
    encoding = utf16_of(first[:_LOOKED_AT])
    if encoding is None:
        if first:
            yield first.removeprefix(codecs.BOM_UTF8)
        yield from waiting
        return
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    yield decoder.decode(first).removeprefix("\ufeff").encode("utf-8", "replace")
    for chunk in waiting:
        yield decoder.decode(chunk).encode("utf-8", "replace")
    yield decoder.decode(b"", final=True).encode("utf-8", "replace")


def utf16_of(start: bytes) -> str | None:
    """The encoding of a log that begins so, by its mark or by NULs in every other place; None for another one."""
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding
    even, odd = start[0::2].count(0), start[1::2].count(0)
    if len(start) >= 16 and max(even, odd) > 0.4 * len(start) and min(even, odd) < 0.02 * len(start):
        return "utf-16-le" if odd > even else "utf-16-be"
    return None
