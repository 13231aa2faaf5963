"""Uploaded logs unpacked as they come: gzip or plain, told by their first bytes, and no more than was agreed.

A few megabytes of gzip can unpack to gigabytes of one repeated byte. What unpacks to far more than logs do is refused
soon, all else once it is larger than a log may be.
"""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from api.errors import BadLogError, TooLargeError

#: Bytes unpacked at once.
PIECE_BYTES: Final = 1 << 20
#: Logs pack to a tenth, at best to a hundredth (progress bars); beyond so many bytes that ratio is looked at.
MOST_RATIO: Final = 200
RATIO_FROM_BYTES: Final = 16 << 20
_GZIP: Final = b"\x1f\x8b"
_WITH_HEADER: Final = 31  # zlib's word for gzip with its header and checksum


@dataclass(slots=True)
class Unpacking:
    """One log's way from packed to plain bytes.

    Attributes:
        most: plain bytes that are taken.
        cut_off: gzip ended in the middle; what came before was read.
    """

    most: int
    cut_off: bool = False

    def pieces(self, chunks: Iterable[bytes], packed: bool) -> Iterator[bytes]:
        """The plain bytes.

        Args:
            packed: it was said that this is gzip; else its first bytes tell.
        Raises:
            BadLogError: it is no gzip, or damaged.
            TooLargeError: there is more than may be, or it unpacks as no log does.
        """
        coming = iter(chunks)
        start = b""
        for chunk in coming:
            start += chunk
            if len(start) >= len(_GZIP):
                break
        if not start.startswith(_GZIP):
            if packed and start:
                raise BadLogError(
                    f"Content-Encoding says gzip, and the body begins with {start[:4].hex()}; leave the header out, or "
                    "send what `gzip` writes"
                )
            yield from self._counted(_with(start, coming))
        else:
            yield from self._counted(self._unpacked(_with(start, coming)))

    def _counted(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        seen = 0
        for piece in pieces:
            seen += len(piece)
            if seen > self.most:
                raise too_large(self.most)
            yield piece

    def _unpacked(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        unpacker = zlib.decompressobj(_WITH_HEADER)
        taken = made = 0
        for chunk in chunks:
            taken += len(chunk)
            rest, more = chunk, False  # more: zlib holds bytes back that did not fit into a piece
            while rest or more:
                if unpacker.eof:  # several files of gzip, one after the other, are one log
                    rest = rest.lstrip(b"\0")  # tapes and disks fill their last block up
                    if not rest:
                        break
                    unpacker = zlib.decompressobj(_WITH_HEADER)
                try:
                    piece = unpacker.decompress(rest, PIECE_BYTES)
                except zlib.error as error:
                    raise BadLogError(f"the gzip is damaged after {made} bytes: {error}; pack the log again") from error
                made += len(piece)
                if made > RATIO_FROM_BYTES and made > MOST_RATIO * taken:
                    raise TooLargeError(
                        f"the gzip unpacks to more than {MOST_RATIO} times its size, which no log does; send it "
                        "unpacked",
                        reason="body_too_large",
                        status=413,
                        limit=MOST_RATIO * taken,
                    )
                if piece:
                    yield piece
                more = len(piece) == PIECE_BYTES and not unpacker.eof
                rest = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
        self.cut_off = not unpacker.eof


def too_large(most: int) -> TooLargeError:
    """The refusal of a log with more than `most` bytes, also where its length was announced."""
    return TooLargeError(
        f"the log has more than the {most} bytes that are taken; send its last part, raise api.gpu.max_log_bytes, or "
        "use `tailwatch gpu classify` where it lies",
        reason="body_too_large",
        status=413,
        limit=most,
    )


def _with(start: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    if start:
        yield start
    yield from rest
