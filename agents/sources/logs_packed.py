"""A log that was rotated and packed with gzip: unpacked as it is read, no more of it in memory than is asked for.

To its reader it is a file that grows until it ends: how large it is unpacked is known only then.
"""

import gzip
import zlib
from typing import Final

from agents.sources.logs_file import HEAD_BYTES, LogFile, Place, hashed

PACKED: Final = ".gz"
_CHUNK_BYTES: Final = 2**18


class PackedFile(LogFile):
    """A file ending in .gz, of which offsets count what is in it.

    Attributes:
        broken: why it could not be unpacked to its end; "" where it could, as far as it was read.
    """

    def __init__(self, path: str, real_path: str, descriptor: int, now_s: float) -> None:
        """Nothing is unpacked yet."""
        super().__init__(path, real_path, descriptor, now_s)
        self.broken = ""
        self.gone = True
        self._file = gzip.GzipFile(fileobj=open(descriptor, "rb", closefd=False))  # noqa: SIM115  # closed by close
        self._ahead = b""  # from the offset on
        self._ended = False
        self.size = 1

    def has(self, place: Place) -> bool:
        """Whether it begins with what was read under a place."""
        head = self._unpacked(0, min(HEAD_BYTES, place.head_bytes))
        if hashed(head) != place.head:
            return False
        return hashed(self._unpacked(place.offset - place.tail_bytes, place.tail_bytes)) == place.tail

    def look(self, now_s: float) -> bool:
        """A packed file stays as it is."""
        del now_s
        return True

    def read(self, most: int) -> bytes:
        """Up to `most` bytes from the offset on; `take` goes on."""
        while len(self._ahead) < most and not self._ended:
            at = self.offset + len(self._ahead)
            chunk = self._unpacked(at, min(_CHUNK_BYTES, most - len(self._ahead)))
            self._ended = not chunk
            self._ahead += chunk
        # One more than is known, until it has ended: what reads it takes that for unread.
        self.size = self.offset + len(self._ahead) + (not self._ended)
        return self._ahead[:most]

    def take(self, data: bytes) -> None:
        """These bytes from the offset on are done with."""
        super().take(data)
        self._ahead = self._ahead[len(data) :]

    def close(self) -> None:
        """Let go of it; once."""
        self._file.close()
        super().close()

    def bytes_at(self, offset: int, count: int) -> bytes:
        """Of what is in it."""
        return self._unpacked(offset, count)

    def go_to(self, place: Place) -> None:
        """Go on where `place` is; it must be of this file."""
        super().go_to(place)
        self._ahead, self._ended = b"", False
        self.size = self.offset + 1

    def _unpacked(self, offset: int, count: int) -> bytes:
        try:
            self._file.seek(offset)
            return self._file.read(count)
        except (OSError, EOFError, zlib.error) as error:
            self.broken = str(error) or type(error).__name__
            return b""
