"""One log file that is read as it grows: by its descriptor, so that it is finished even when it is renamed or deleted.

A place names a file by device and inode, and proves by the first bytes, and those just before the offset, that
what lies there is still what was read: inodes are used again, and files are cut to nothing and written anew.
"""

import os
from hashlib import blake2b
from typing import Final

import msgspec
from msgspec import structs

HEAD_BYTES: Final = 1024
TAIL_BYTES: Final = 64


class Place(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How far a file was read: `offset` bytes, up to the end of a line.

    `path` is the one it was found under, `real_path` the same without symbolic links. `head` and `tail` are hashes of
    its first bytes and of those before the offset. `skipping` says that the offset is inside of a line that is too
    long, `ended` that the file was gone from its path, `copy` that all of it was, or will be, read from another file.
    `changed_ns` is when it had last been written, as far as was seen; 0 where an earlier release noted the place.
    """

    path: str
    real_path: str
    device: int
    inode: int
    offset: int
    head_bytes: int
    head: bytes
    tail_bytes: int
    tail: bytes
    skipping: bool = False
    ended: bool = False
    copy: bool = False
    changed_ns: int = 0

    @property
    def key(self) -> tuple[int, int]:
        """Which file of this host it is."""
        return self.device, self.inode

    def is_of(self, descriptor: int, size: int) -> bool:
        """Whether the open file begins with what was read under this place."""
        if size < self.offset or size < self.head_bytes:
            return False
        tail = os.pread(descriptor, self.tail_bytes, self.offset - self.tail_bytes)
        head = os.pread(descriptor, self.head_bytes, 0)
        return hashed(head) == self.head and hashed(tail) == self.tail

    @property
    def proven(self) -> bool:
        """Whether the hashes are of enough to tell one file from another by themselves."""
        return self.offset > 0 and self.head_bytes >= TAIL_BYTES


def hashed(data: bytes) -> bytes:
    """Eight bytes tell files apart that nobody forges."""
    return blake2b(data, digest_size=8).digest()


class LogFile:
    """An open file and how far it was read.

    Attributes:
        size: when it was last looked at.
        pending: bytes behind the offset that were seen and are no whole record yet.
        gone: its path leads to another file now, or nowhere.
        head: the first bytes of what was read.
        after: files that must be read to their ends before this one.
        last_ns: the largest time of the rows it gave.
        still_since_s: since when it has not grown.
        changed_ns: when it was last written.
        broken: why it cannot be read to its end; "" where it can.
    """

    broken: str = ""

    def __init__(self, path: str, real_path: str, descriptor: int, now_s: float) -> None:
        self.path = path
        self.real_path = real_path if storable(real_path) else path
        self.descriptor = descriptor
        found = os.fstat(descriptor)
        self.key = found.st_dev, found.st_ino
        self.size = found.st_size
        self.offset = 0
        self.pending = 0
        self.skipping = False
        self.gone = False
        self.after: tuple[LogFile, ...] = ()
        self.last_ns: int | None = None
        self.still_since_s = now_s
        self.changed_ns = found.st_mtime_ns
        self.head = b""
        self._tail = b""
        self._place: Place | None = None

    def go_to(self, place: Place) -> None:
        """Go on where `place` is; it must be of this file."""
        self.skipping = place.skipping
        self._stand_at(place.offset)

    def go_to_end(self) -> None:
        """Behind the last whole line that is there now."""
        end = self.size
        while end > 0:
            begin = max(0, end - 2**16)
            cut = os.pread(self.descriptor, end - begin, begin).rfind(b"\n") + 1
            end = begin + cut
            if cut:
                break
        self._stand_at(end)

    def pass_over(self) -> Place:
        """Behind all that is there, since it is read from another file."""
        self._stand_at(self.size)
        return structs.replace(self.place(), copy=True)

    def look(self, now_s: float) -> bool:
        """See how large it is, and whether it is still what was read: one that was cut may have grown again."""
        found = os.fstat(self.descriptor)
        changed = found.st_mtime_ns != self.changed_ns
        if changed or found.st_size != self.size:
            self.size, self.changed_ns, self.still_since_s = found.st_size, found.st_mtime_ns, now_s
            self._place = None
        if self.size < self.offset + self.pending:
            return False
        return not (changed or self.unread) or self._is_what_was_read()

    @property
    def unread(self) -> int:
        """Bytes that were not looked at yet."""
        return max(0, self.size - self.offset - self.pending)

    def begin_again(self, now_s: float) -> None:
        """It was cut: what it has now is new."""
        self.offset = self.pending = 0
        self.skipping = False
        self.head = self._tail = b""
        self._place = None
        self.still_since_s = now_s

    def read(self, most: int) -> bytes:
        """Up to `most` bytes from the offset on; `take` goes on."""
        return os.pread(self.descriptor, most, self.offset)

    def bytes_at(self, offset: int, count: int) -> bytes:
        """What stands there."""
        return os.pread(self.descriptor, count, offset)

    def take(self, data: bytes) -> None:
        """These bytes from the offset on are done with."""
        # Of what was read, not of what is there now: the file may just have been cut and written anew.
        if len(self.head) < HEAD_BYTES:
            self.head = (self.head + data)[:HEAD_BYTES]
        self.offset += len(data)
        self._tail = data[-TAIL_BYTES:] if len(data) >= TAIL_BYTES else (self._tail + data)[-TAIL_BYTES:]
        self._place = None

    def place(self) -> Place:
        """How far it was read."""
        if self._place is None:
            self._place = Place(
                self.path, self.real_path, *self.key, self.offset,
                len(self.head), hashed(self.head), len(self._tail), hashed(self._tail), self.skipping,
                changed_ns=self.changed_ns,
            )  # fmt: skip
        return self._place

    def place_of(self, place: Place) -> Place:
        """The same place in this file, which is a copy."""
        device, inode = self.key
        return structs.replace(
            place, path=self.path, real_path=self.real_path, device=device, inode=inode, ended=False, copy=False
        )

    def close(self) -> None:
        """Let go of it; once."""
        os.close(self.descriptor)

    def _stand_at(self, offset: int) -> None:
        # What lies behind the offset may still be cut off: only what was read proves anything.
        self.offset = offset
        self.head = self.bytes_at(0, min(HEAD_BYTES, offset))
        tail_bytes = min(TAIL_BYTES, offset)
        self._tail = self.bytes_at(offset - tail_bytes, tail_bytes)
        self._place = None

    def _is_what_was_read(self) -> bool:
        if os.pread(self.descriptor, len(self.head), 0) != self.head:
            return False
        return os.pread(self.descriptor, len(self._tail), self.offset - len(self._tail)) == self._tail


def bytes_before(descriptor: int, offset: int) -> bytes:
    """The last bytes before an offset: what differs there is not the same file."""
    return os.pread(descriptor, min(TAIL_BYTES, offset), max(0, offset - TAIL_BYTES))


def has_all(descriptor: int, one: LogFile) -> bool:
    """Whether an open file ends, as far as another one goes, like that."""
    size = os.fstat(descriptor).st_size
    return one.size <= size and bytes_before(descriptor, one.size) == bytes_before(one.descriptor, one.size)


def has_more(other: LogFile, one: LogFile) -> bool:
    """Whether an open file has unread bytes that another one with the same beginning does not have."""
    size = os.fstat(other.descriptor).st_size
    if size <= other.offset:
        return False
    return one.size < size or bytes_before(one.descriptor, size) != bytes_before(other.descriptor, size)


def storable(path: str) -> bool:
    """Whether a path is text: file systems allow other bytes, which neither positions nor labels can hold."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def opened(path: str) -> int:
    """A descriptor that never waits, also where a pipe has taken the path meanwhile."""
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
