"""A file that holds what was learned: a magic, a version, a digest and compressed contents, proved whole when opened.

8 bytes   magic: what kind of file it is
2 bytes   version of its form, little endian
2 bytes   zero
32 bytes  SHA-256 of the contents before compression
the rest  zstd of the contents
"""

import hashlib
import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import zstandard

from analytics.errors import ModelFileError

_HEADER: Final = struct.Struct("<8sHH32s")


@dataclass(frozen=True, slots=True)
class Form:
    """A kind of file.

    Attributes:
        most_bytes: of a file, and of what is in it.
        kind, name: in messages, for example "model of drives" and "model".
        damaged, older: what to do about a file that is damaged, or of another version.
    """

    magic: bytes
    version: int
    most_bytes: int
    kind: str
    name: str
    damaged: str
    older: str

    def seal(self, contents: bytes, level: int) -> bytes:
        """The file's bytes; the same contents always give the same."""
        header = _HEADER.pack(self.magic, self.version, 0, hashlib.sha256(contents).digest())
        return header + zstandard.ZstdCompressor(level=level, write_content_size=True).compress(contents)

    def opened(self, data: bytes) -> bytes:
        """The contents, proved to be whole.

        Raises:
            ModelFileError: damaged, of another version, too large, or another kind of file.
        """
        if len(data) > self.most_bytes:
            raise ModelFileError(f"{len(data):,} bytes are no {self.kind}; want {self.most_bytes:,} at most")
        if len(data) < _HEADER.size or data[:8] != self.magic:
            raise ModelFileError(f"no {self.kind}: it begins with {data[:8]!r}; want {self.magic!r}")
        _, version, zero, digest = _HEADER.unpack_from(data)
        if version != self.version or zero != 0:
            raise ModelFileError(
                f"a {self.name} of version {version}; this release reads version {self.version}: {self.older}"
            )
        contents = self._decompressed(data[_HEADER.size :])
        seen = hashlib.sha256(contents).digest()
        if seen != digest:
            raise ModelFileError(
                f"the {self.name}'s digest is {seen.hex()[:16]}...; its header says {digest.hex()[:16]}...: "
                f"{self.damaged}"
            )
        return contents

    def array(self, data: bytes, form: str, name: str) -> npt.NDArray[Any]:
        """An array of its bytes, in the machine's own order of bytes."""
        size = np.dtype(form).itemsize
        self.want(len(data) % size == 0, f"{len(data)} bytes of {name!r}; want a multiple of {size}")
        return np.frombuffer(data, form).astype(np.dtype(form).newbyteorder("="))

    def want(self, holds: bool, seen: str) -> None:
        """Refuses contents that are whole and still cannot be."""
        if not holds:
            raise ModelFileError(f"the {self.name}'s contents are damaged: {seen}; {self.damaged}")

    def _decompressed(self, data: bytes) -> bytes:
        try:
            size = zstandard.frame_content_size(data)
            if not 0 < size <= self.most_bytes:
                raise ModelFileError(f"the {self.name} says it holds {size} bytes; want 1 to {self.most_bytes:,}")
            return zstandard.ZstdDecompressor().decompress(
                data, max_output_size=self.most_bytes, allow_extra_data=False
            )
        except zstandard.ZstdError as error:
            raise ModelFileError(f"the {self.name}'s bytes are damaged: {error}; {self.damaged}") from error
