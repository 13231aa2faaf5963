"""Logs of jobs as the commands of `tailwatch gpu` are given them: files, folders, standard input, packed or not.

A job that dies leaves packed logs without an end, and a folder holds what nobody may read: what there is counts.
"""

import gzip
import stat
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from tailwatch.errors import LogFileError

if TYPE_CHECKING:
    from analytics.gpu.cleaning import Origin

STANDARD_INPUT = "-"
_CHUNK_BYTES = 1 << 20
_GZIP = b"\x1f\x8b"
#: What a packed file says that is cut off or damaged.
_DAMAGES = (EOFError, zlib.error, gzip.BadGzipFile)


class _Readable(Protocol):
    def read1(self, size: int, /) -> bytes: ...


class Reading:
    """Reads logs one after the other, as far as they can be read.

    Attributes:
        notes: in words, which could not be read to their end, and why.
    """

    def __init__(self, named: Sequence[str]) -> None:
        """`named` are the files as the user named them: that one of these gives nothing is told as an error."""
        self._named = frozenset(named)
        self.notes: list[str] = []

    def chunks_of(self, name: str) -> Iterator[bytes]:
        """A log's bytes up to where it is damaged.

        Raises:
            LogFileError: the user named it, and it cannot be read at all.
        """
        something = False
        try:
            for chunk in chunks_of(name):
                something = True
                yield chunk
        except LogFileError as error:
            if name in self._named and not something:
                raise
            self._note(str(error))

    def is_log(self, name: str) -> bool:
        """Whether it begins as a text; what does not is noted. Standard input, which can be read once, is believed."""
        from analytics.gpu.cleaning_binary import LOOKED_AT, told_of

        if name == STANDARD_INPUT:
            return True
        start = next(self.chunks_of(name), b"")[:LOOKED_AT]
        return self.counts(name, told_of(start))

    def counts(self, name: str, no_log: str | None) -> bool:
        """Whether a file is a log; `no_log` is what it is instead, which is noted."""
        if no_log is not None:
            self._note(f"{shown(name)} is left out, for it is {no_log}")
        return no_log is None

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def log_files(names: Sequence[str]) -> list[str]:
    """The names, with folders replaced by all files below them in order; hidden ones are left out.

    Raises:
        LogFileError: a name is neither a file nor a folder, a folder holds no file, or `-` is named twice.
    """
    found: list[str] = []
    for name in names:
        path = Path(name)
        if name == STANDARD_INPUT or _is(path, stat.S_ISREG, stat.S_ISFIFO):
            found.append(name)
        elif _is(path, stat.S_ISDIR):
            below = sorted(
                str(one) for one in path.rglob("*") if not _hidden(one.relative_to(path)) and _is(one, stat.S_ISREG)
            )
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
        LogFileError: it cannot be read, or not to its end, behind the bytes before that.
    """
    count = 0
    try:
        for chunk in _opened(name):
            count += len(chunk)
            yield chunk
    except (*_DAMAGES, OSError, ValueError) as error:
        told = f"can be read no further than its first {count:,} bytes" if count else "cannot be read"
        raise LogFileError(f"{shown(name)} {told}: {error}") from error


def origin_of(name: str) -> "Origin":
    """What is known of a log beforehand: nothing but the name to show."""
    from analytics.gpu.cleaning import Origin

    return Origin(shown(name))


def shown(name: str) -> str:
    """What people are told it is."""
    return "standard input" if name == STANDARD_INPUT else name


def _opened(name: str) -> Iterator[bytes]:
    if name == STANDARD_INPUT:
        yield from _chunks(cast(_Readable, sys.stdin.buffer))  # a BufferedReader, unless a test puts another there
        return
    with Path(name).open("rb") as opened:
        packed = opened.peek(len(_GZIP)).startswith(_GZIP)
        yield from _chunks(gzip.GzipFile(fileobj=opened) if packed else opened)


def _chunks(stream: _Readable) -> Iterator[bytes]:
    """Large ones; where the stream ends in an error, what came before it first."""
    parts: list[bytes] = []
    size = 0
    try:
        while part := stream.read1(_CHUNK_BYTES):
            parts.append(part)
            size += len(part)
            if size >= _CHUNK_BYTES:
                yield b"".join(parts)
                parts, size = [], 0
    except (*_DAMAGES, OSError):
        if parts:
            yield b"".join(parts)
        raise
    if parts:
        yield b"".join(parts)


def _is(path: Path, *kinds: Callable[[int], bool]) -> bool:
    """Whether it is of one of the kinds; what cannot be looked at is none."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return any(kind(mode) for kind in kinds)


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
