"""Logs of jobs as the commands of `tailwatch gpu` are given them: files, folders, standard input, packed or not."""

import gzip
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tailwatch.errors import LogFileError

if TYPE_CHECKING:
    from analytics.gpu.cleaning import Origin

STANDARD_INPUT = "-"
_CHUNK_BYTES = 1 << 20
_GZIP = b"\x1f\x8b"


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def log_files(names: Sequence[str]) -> list[str]:
    """The names, with folders replaced by all files below them in order; hidden ones are left out.

    Raises:
        LogFileError: a name is neither a file nor a folder, a folder holds no file, or `-` is named twice.
    """
    found: list[str] = []
    for name in names:
        path = Path(name)
        if name == STANDARD_INPUT or path.is_file() or path.is_fifo():
            found.append(name)
        elif path.is_dir():
            below = sorted(str(one) for one in path.rglob("*") if one.is_file() and not _hidden(one.relative_to(path)))
            if not below:
                raise LogFileError(f"{name} is a folder without files; name one with logs")
            found += below
        else:
            raise LogFileError(f"{name} is no file; name logs, folders of logs, or - for standard input")
    if found.count(STANDARD_INPUT) > 1:
        raise LogFileError("- is named twice; standard input can be read once")
    return found


def chunks_of(name: str) -> Iterator[bytes]:
    """A log's bytes, unpacked where a file begins as those of gzip do, whatever its name.

    Raises:
        LogFileError: it cannot be read.
    """
    try:
        if name == STANDARD_INPUT:
            yield from _chunks(sys.stdin.buffer)
            return
        with Path(name).open("rb") as opened:
            packed = opened.peek(len(_GZIP)).startswith(_GZIP)
            yield from _chunks(gzip.GzipFile(fileobj=opened) if packed else opened)
    except (OSError, EOFError, zlib.error) as error:
        raise LogFileError(f"{name} cannot be read: {error}") from error


def origin_of(name: str) -> "Origin":
    """What is known of a log beforehand: nothing but the name to show."""
    from analytics.gpu.cleaning import Origin

    return Origin("standard input" if name == STANDARD_INPUT else name)


def _chunks(stream: _Readable) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK_BYTES):
        yield chunk


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
