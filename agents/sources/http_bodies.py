"""Bodies of HTTP requests, never more of one than is allowed: neither as it comes nor unpacked.

Memory for the bodies of all requests together is bounded too. It is taken piece by piece as bytes arrive, so that who
only announces a large body holds none.
"""

import threading
import zlib
from collections.abc import Callable, Iterator
from email.message import Message
from typing import Final, Protocol

_PIECE_BYTES: Final = 2**16
_LONGEST_LINE: Final = 256
_MOST_TRAILERS: Final = 64
_GZIP: Final = 16 + zlib.MAX_WBITS


class Refused(Exception):  # noqa: N818  # an answer, not a fault
    """The request gets this answer instead of being taken."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        """`reason` is the word it is counted by; `message` may quote what came, also half a surrogate pair of JSON."""
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message.encode("utf-8", "backslashreplace").decode()


class Stream(Protocol):
    """What a body is read from; raises OSError when it comes too slowly or no more."""

    def read(self, size: int, /) -> bytes:
        """That many bytes, or fewer at the end."""

    def readline(self, size: int, /) -> bytes:
        """Up to a line end."""


class BodyRoom:
    """Memory for bodies, shared by all connections."""

    def __init__(self, most_bytes: int) -> None:
        """Up to `most_bytes` at once."""
        self._left = most_bytes
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """Raises Refused (503) when there is no room."""
        with self._lock:
            if size > self._left:
                raise Refused(503, "too_busy", "too many bodies at once; try again")
            self._left -= size

    def give_back(self, size: int) -> None:
        """What was taken."""
        with self._lock:
            self._left += size


def announced_bytes(headers: Message) -> int | None:
    """The length that the head of a request says; None for chunks.

    Raises:
        Refused: none or no length is said, or both.
    """
    lengths = headers.get_all("Content-Length", [])
    encodings = headers.get_all("Transfer-Encoding", [])
    if encodings:
        if lengths or [one.strip().lower() for one in encodings] != ["chunked"]:
            raise Refused(400, "bad_request", "Transfer-Encoding can only be chunked, without Content-Length")
        return None
    if not lengths:
        raise Refused(411, "bad_request", "want Content-Length")
    if len(set(lengths)) > 1 or not (lengths[0].isascii() and lengths[0].isdigit()) or len(lengths[0]) > 18:
        raise Refused(400, "bad_request", "Content-Length is no number")
    return int(lengths[0])


def pieces(stream: Stream, length: int | None) -> Iterator[bytes]:
    """A body as it comes, in pieces.

    Raises:
        Refused: it ends early, or chunks are malformed.
    """
    if length is not None:
        yield from _exactly(stream, length)
        return
    while size := _chunk_size(stream):
        yield from _exactly(stream, size)
        if stream.readline(_LONGEST_LINE) not in (b"\r\n", b"\n"):
            raise Refused(400, "bad_request", "a chunk does not end where it said")
    for _ in range(_MOST_TRAILERS):
        if stream.readline(_LONGEST_LINE) in (b"\r\n", b"\n"):
            return
    raise Refused(400, "bad_request", "the last chunk has no end")


def unpacked(body: bytes, encoding: str, most_bytes: int) -> bytes:
    """The body without its Content-Encoding.

    Raises:
        Refused: another encoding than gzip and identity (415), damaged (400), or more than `most_bytes` (413).
    """
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise Refused(415, "unknown_encoding", f"Content-Encoding {encoding[:40]!r}; want gzip or identity")
    found, size = [], 0
    try:
        while body:
            unpacker = zlib.decompressobj(_GZIP)
            part = unpacker.decompress(body, most_bytes - size + 1)
            size += len(part)
            if size > most_bytes:
                raise Refused(413, "too_large", f"more than {most_bytes} bytes unpacked")
            if not unpacker.eof:
                raise Refused(400, "bad_gzip", "the gzip body is cut short")
            found.append(part)
            body = unpacker.unused_data
    except zlib.error as error:
        raise Refused(400, "bad_gzip", f"not gzip: {error}") from error
    return b"".join(found)


def received(stream: Stream, headers: Message, most_bytes: int, taken: Callable[[int], None]) -> bytes:
    """The whole body, still encoded; `taken` is asked for room for each piece before it is kept.

    Raises:
        Refused: longer than `most_bytes`, malformed, cut short, or no room.
    """
    length = announced_bytes(headers)
    if length is not None and length > most_bytes:
        raise Refused(413, "too_large", f"{length} bytes; the most is {most_bytes}")
    body, size = [], 0
    for piece in pieces(stream, length):
        size += len(piece)
        if size > most_bytes:
            raise Refused(413, "too_large", f"more than {most_bytes} bytes")
        taken(len(piece))
        body.append(piece)
    return b"".join(body)


def _exactly(stream: Stream, size: int) -> Iterator[bytes]:
    while size > 0:
        piece = stream.read(min(size, _PIECE_BYTES))
        if not piece:
            raise Refused(400, "cut_short", "the connection ended within the body")
        size -= len(piece)
        yield piece


def _chunk_size(stream: Stream) -> int:
    line = stream.readline(_LONGEST_LINE)
    digits = line.partition(b";")[0].strip()
    if not line.endswith(b"\n") or not 0 < len(digits) <= 15 or set(digits) - set(b"0123456789abcdefABCDEF"):
        raise Refused(400, "bad_request", "a chunk has no size")
    return int(digits, 16)
