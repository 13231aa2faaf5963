"""Which files a log source follows: found by globs, kept through rotation, told apart by place and content.

A file that is renamed or deleted is read to its end, and for a while after it stopped growing. One that was cut to
nothing (copytruncate) begins again; a copy of what was in it is found by its content and finished first. Copies
are not read twice, and compressed files not at all. Known places include those of files that are not open: of copies,
and of old files beyond the limit.
"""

import glob
import logging
import os
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, TypeAlias

from msgspec import structs

from agents.sources.logs_file import HEAD_BYTES, TAIL_BYTES, LogFile, Place, has_all, has_more, hashed, opened, storable
from agents.sources.logs_packed import PackedFile
from agents.sources.logs_rotated import (
    COMPRESSED,
    Losses,
    generation_of,
    newer_than,
    opened_as,
    opened_file,
    put_in_order,
    siblings,
)

log = logging.getLogger(__name__)

#: A file that is gone from its path is let go of when it has not grown for so long.
LINGER_S: Final = 60.0
# Of the files beside a log, so many are opened to see whether they are a copy.
_OPENED: Final = 1000
# Files that are not there are known for at least so many: they may be back, as those of a disk that failed.
_ABSENT_KEPT: Final = 1000
_STATES: Final = 20

# By device and inode: a path, its status, and the pattern that gave it.
_Found: TypeAlias = dict[tuple[int, int], tuple[str, os.stat_result, str]]


class Following:
    """The files of one source."""

    def __init__(self, patterns: Sequence[str], begin: Literal["end", "beginning"], max_files: int) -> None:
        self.files: list[LogFile] = []
        self.counts: Counter[str] = Counter()
        self.states: dict[str, str] = {}
        self.losses = Losses()
        self._patterns = tuple(patterns)
        self._begin = begin
        self._max_files = max_files
        self._known: dict[tuple[int, int], Place] = {}
        self._lost: list[Place] = []  # known before, not found again yet
        self._in_sight: frozenset[tuple[int, int]] = frozenset()

    def start(self, places: Iterable[Place], known_patterns: Sequence[str] | None, now_s: float) -> None:
        """Open what is there. `known_patterns` are those that `places` were taken with; None at the first start ever.

        Files that only further patterns match are begun as `begin` says, as all are at the first start; files that
        appeared since at their beginning.
        """
        self._known = {place.key: place for place in places}
        old = frozenset(() if known_patterns is None else known_patterns)
        found = self._found()
        self._forget_removed(old - {*self._patterns}, found)
        self._lost = [place for place in self._known.values() if not place.ended and place.key not in found]
        self._take_chosen(found, now_s, old)
        for path in dict.fromkeys(place.path for place in self._lost):
            self._find_before(path, now_s)
        put_in_order(self.files)
        if self._begin == "end":
            # What is beyond the limit is known as well, so that it is not taken for new when there is room.
            for key, (path, _, pattern) in found.items():
                if key not in self._known and pattern not in old:
                    self._note_end(path, now_s)

    def look(self, now_s: float) -> None:
        """See which files are there: take new ones, notice what became of old ones."""
        found = self._found()
        open_keys = set()
        for one in self.files:
            one.gone = one.key not in found
            open_keys.add(one.key)
        absent = [key for key in self._known if key not in found and key not in open_keys]
        kept = max(self._max_files, _ABSENT_KEPT)
        for key in absent[:-kept]:
            del self._known[key]
        for key in absent[-kept:]:
            self._known[key] = structs.replace(self._known[key], ended=True)
        self._take_chosen(found, now_s, None)

    def _take_chosen(self, found: _Found, now_s: float, old_patterns: frozenset[str] | None) -> None:
        """Follow what has something to read, and of the others those that changed last."""
        open_keys = {one.key for one in self.files}
        busy = {one.key for one in self.files if one.unread or one.gone}
        wanted = sorted(found.keys() - busy, key=lambda key: (-found[key][1].st_mtime_ns, found[key][0]))
        chosen = wanted[: max(0, self._max_files - len(busy))]
        for one in [one for one in self.files if one.key not in busy and one.key not in chosen]:
            self._let_go(one)
        # The oldest first, since what was rotated is finished first; before that what is known, to tell its copies by.
        chosen.reverse()
        for key in sorted(chosen, key=lambda key: key not in self._known or self._known[key].copy):
            if key not in open_keys:
                path, _, pattern = found[key]
                as_new = old_patterns is None or pattern in old_patterns
                self._take(path, "beginning" if as_new else self._begin, found, now_s)
        if not found:
            self._state("files", f"no file matches {', '.join(self._patterns)}")
        elif len(wanted) > len(chosen):
            left_out = len(wanted) - len(chosen)
            self._state("files", f"{left_out} of {len(found)} files are not followed: max_files is {self._max_files}")

    def failed(self, one: LogFile, error: OSError) -> None:
        """A file cannot be read now: it is opened again at the next look, where it was left."""
        self._state(one.path, error.strerror or str(error))
        with suppress(OSError):
            self._let_go(one)

    def truncated(self, one: LogFile, now_s: float) -> None:
        """A file was cut: finish what was copied from it, then begin again."""
        self.counts["truncated"] += 1
        place, head = one.place(), one.head
        one.begin_again(now_s)
        if self._twins(one):  # a copy was written into it: the next look sees of what
            self.files.remove(one)
            one.close()
        else:
            one.after = self._copy_followed(place, one.key, now_s, head) or ()

    def finish(self, now_s: float) -> list[LogFile]:
        """Files that are gone from their paths and were still for long: closed, or returned if a last line is left."""
        ended = [one for one in self.files if one.gone and not one.unread and now_s - one.still_since_s >= LINGER_S]
        for one in ended:
            if not one.pending:
                if one.broken:
                    log.warning("packed log file is broken path=%s error=%s", one.real_path, one.broken)
                    self._lose(one.changed_ns)
                self._let_go(one)
                self._known[one.key] = structs.replace(self._known.pop(one.key), ended=True)
        return [one for one in ended if one.pending]

    def places(self) -> list[Place]:
        """Of all files that are known."""
        open_places = {one.key: one.place() for one in self.files}
        return list((self._known | open_places | self.losses.places).values())

    def close(self) -> None:
        """Let go of all files; their places are still known."""
        for one in list(self.files):
            self._let_go(one)

    def _found(self) -> _Found:
        """By file: the first path that leads to it, and the pattern that gave that."""
        self.states = {}
        found: _Found = {}
        for pattern in self._patterns:
            for path in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207  # a text with wildcards, not a folder
                if path.lower().endswith(COMPRESSED):
                    continue
                if not storable(path):
                    self._state(path.encode("utf-8", "replace").decode(), "has a name that is no UTF-8")
                    continue
                try:
                    status = Path(path).stat()
                except OSError as error:
                    if not isinstance(error, FileNotFoundError):
                        self._state(path, error.strerror or str(error))
                    continue
                if stat.S_ISREG(status.st_mode):
                    found.setdefault((status.st_dev, status.st_ino), (path, status, pattern))
                elif not stat.S_ISDIR(status.st_mode):
                    self._state(path, "is no regular file")
        self._in_sight = frozenset(found)
        return found

    def _take(self, path: str, begin: Literal["end", "beginning"], found: _Found, now_s: float) -> None:
        """Open a file that is not open: where it was left, in the place of another one, or as a new one."""
        descriptor = self._opened(path)
        if descriptor is None:
            return
        one = LogFile(path, os.path.realpath(path), descriptor, now_s)
        place = self._known.get(one.key)
        try:
            taken = self._taken(one, begin, found, now_s)
        except OSError as error:
            self._state(path, error.strerror or str(error))
            taken = False
            if place is not None:
                self._known[one.key] = place
        if taken:
            self.files.append(one)
        else:
            one.close()

    def _taken(self, one: LogFile, begin: Literal["end", "beginning"], found: _Found, now_s: float) -> bool:
        """Whether an opened file is to be followed; it stands where it is to be read from then."""
        if any(other.key == one.key for other in self.files):  # it was found while another one was looked for
            return False
        place = self._known.pop(one.key, None)
        if place is not None and place.ended and not place.proven:
            place = None  # nothing tells that it is the same file again
        fits = place is not None and place.is_of(one.descriptor, one.size)
        # The inode of a file that was deleted may be that of a copy by now.
        twins = self._twins(one) if place is None or place.copy or not fits else []
        if any(twin.key in found and self._has_all_of(one, twin, found[twin.key][0]) for twin in twins):
            self.counts["copies"] += not fits
            self._known[one.key] = one.pass_over()
            return False
        if place is not None and fits and any(self._was_cut(twin) for twin in twins):
            self._known[one.key] = place  # whether it has more than was read is seen when the cut is
            return False
        twins = [twin for twin in twins if not fits and not twin.copy]
        if twins:
            # Most was read of this one, if it holds all that was.
            return self._takes_over(one, max(twins, key=lambda twin: (twin.offset <= one.size, twin.offset)), found)
        if place is not None and fits:
            one.path = place.path
            one.go_to(place)
        elif place is not None and not place.ended:
            self._begin_after(one, place, now_s)
        elif begin == "end":
            one.go_to_end()
        else:
            one.after = self._before(one, now_s)
        return True

    def _begin_after(self, one: LogFile, place: Place, now_s: float) -> None:
        """A known inode with other content: the file was cut, or is another one."""
        self.counts["truncated"] += 1
        before = self._copy_followed(place, one.key, now_s)
        if before is None:
            self._lose(place.changed_ns, place)
        self._follow_newer(one.path, list(before or ()), [] if before else [place], now_s)
        one.after = tuple(other for other in self.files if other.path == one.path)

    def _copy_followed(
        self, place: Place, key: tuple[int, int], now_s: float, head: bytes = b""
    ) -> tuple[LogFile, ...] | None:
        """What was copied from a file before it was cut, to be read on; None where nothing is left of it."""
        copy = self._copy_of(place, key)
        if copy is not None:
            followed = self._follow(*copy, place, now_s)
            return () if followed is None else (followed,)
        packed = self._packed_followed(place, now_s)
        if packed is not None:
            return (packed,)
        if self._shorter_copies(place, key, now_s, head):
            return ()
        log.warning("log file was cut path=%s read_bytes=%d; no copy of it was found", place.path, place.offset)
        return None

    def _shorter_copies(self, place: Place, key: tuple[int, int], now_s: float, head: bytes) -> int:
        """Note copies without the last lines that were read, which came between copying and cutting; how many."""
        others = {other.key for other in self.files} | {one for one, known in self._known.items() if not known.copy}
        found = 0
        for path, _ in siblings(place.real_path)[:_OPENED] if place.proven else []:
            descriptor = self._opened(path)
            if descriptor is None:
                continue
            one = LogFile(path, os.path.realpath(path), descriptor, now_s)
            if one.key != key and one.key not in others and TAIL_BYTES <= one.size < place.offset:
                noted = one.pass_over()
                # The head is known by its hash only where the file was cut while the agent was away.
                if head.startswith(one.head) or hashed(one.head[: place.head_bytes]) == place.head:
                    self._known[one.key] = noted
                    found += 1
            one.close()
        self.counts["copies"] += found
        return found

    def _before(self, one: LogFile, now_s: float) -> tuple[LogFile, ...]:
        """What was under the path before."""
        self._find_before(one.path, now_s)
        return tuple(other for other in self.files if other.path == one.path)

    def _find_before(self, path: str, now_s: float) -> None:
        """What was read under a path and is not there any more, and what was written there after that, never seen."""
        lost = [place for place in self._lost if place.path == path]
        gone = [place for place in lost if not self._find_rotated(place, now_s)]
        self._follow_newer(path, [one for one in self.files if one.path == path], gone, now_s)

    def _find_rotated(self, place: Place, now_s: float) -> bool:
        """Whether a file is there that is under another name now, which no pattern may match; it is read on."""
        self._lost = [lost for lost in self._lost if lost.key != place.key]
        self._known.pop(place.key, None)
        if any(one.key == place.key for one in self.files):
            return True
        for path, inode in siblings(place.real_path):
            descriptor = opened_as(path, place) if inode == place.inode else None
            if descriptor is not None:
                self.counts["rotated"] += 1
                self._follow(path, descriptor, place, now_s)
                return True
        copy = self._copy_of(place, place.key)
        if copy is not None:
            self._follow(*copy, place, now_s)
            return True
        if self._packed_followed(place, now_s) is not None:
            return True
        log.warning("log file is gone path=%s read_bytes=%d; what it had beyond is not read", place.path, place.offset)
        self._lose(place.changed_ns, place)
        return False

    def _lose(self, changed_ns: int, place: Place | None = None) -> None:
        self.counts["gone"] += 1
        self.losses.add(changed_ns, place)

    def _packed_followed(self, place: Place, now_s: float) -> LogFile | None:
        """The packed file that has what was read under a place, itself or what became of it, to be read on."""
        for path, inode in siblings(place.real_path, packed=True)[:_OPENED]:
            if inode != place.inode and not place.proven:
                continue
            one = opened_file(path, place.path, now_s)
            if isinstance(one, PackedFile) and one.key not in self._open_keys() and one.has(place):
                self._known.pop(one.key, None)
                self.counts["rotated"] += 1
                one.go_to(place)
                self.files.append(one)
                return one
            if one is not None:
                one.close()
        return None

    def _follow_newer(self, path: str, before: list[LogFile], gone: list[Place], now_s: float) -> None:
        """Read what was written under a path after all that is known of it, and rotated away before it was seen."""
        ended = [place for place in self._known.values() if place.path == path and not place.copy]
        if not all(place.proven for place in gone):
            return  # what it became cannot be told from what came after it
        known = [generation_of(path, one.changed_ns, one.real_path) for one in before]
        known += [generation_of(path, place.changed_ns) for place in [*gone, *ended]]
        for each in newer_than(max(known), path) if known else []:
            if each.key in self._in_sight or each.key in self._open_keys():
                continue
            one = opened_file(each.path, path, now_s)
            if one is None:
                log.warning("rotated log file is gone path=%s", each.path)
                self._lose(each.changed_ns)
            elif self._was_read(one):
                one.close()
            else:
                self._known.pop(one.key, None)
                self.counts["rotated"] += 1
                one.gone = True
                one.after = tuple(other for other in self.files if other.path == path)
                self.files.append(one)

    def _was_read(self, one: LogFile) -> bool:
        """Whether an opened file is known, or begins with what was read of one that is."""
        if isinstance(one, PackedFile):
            places = [known for known in self.places() if known.path == one.path]
            return any((known.proven or known.key == one.key) and one.has(known) for known in places)
        place = self._known.get(one.key)
        return bool(self._twins(one)) or (place is not None and place.is_of(one.descriptor, one.size))

    def _open_keys(self) -> set[tuple[int, int]]:
        return {one.key for one in self.files}

    def _twins(self, one: LogFile) -> list[Place]:
        """The places of other files of which this one has all that was read, or begins to have it."""
        head = one.bytes_at(0, HEAD_BYTES)
        hashes: dict[int, bytes] = {}
        open_files = {other.key: other for other in self.files}
        twins = []
        for known in (self._known | {key: other.place() for key, other in open_files.items()}).values():
            if not known.proven:
                continue
            size = known.head_bytes
            if size <= len(head):
                if size not in hashes:
                    hashes[size] = hashed(head[:size])
                begins = hashes[size] == known.head
            else:  # a copy of less than was read by now
                other = open_files.get(known.key)
                begins = other is not None and len(head) >= TAIL_BYTES and other.head.startswith(head)
            if begins and (
                known.is_of(one.descriptor, one.size) or (one.size < known.offset and known.path != one.path)
            ):
                twins.append(known)
        return twins

    def _has_all_of(self, one: LogFile, twin: Place, path: str) -> bool:
        """Whether what a file has is in the other one as well, as that is now: it is read there."""
        other = next((other for other in self.files if other.key == twin.key), None)
        descriptor = other.descriptor if other is not None else self._opened(path)
        if descriptor is None:
            return False
        try:
            return has_all(descriptor, one)
        finally:
            if other is None:
                os.close(descriptor)

    def _was_cut(self, twin: Place) -> bool:
        """Whether an open file is not what was read any more, which is not noticed yet."""
        other = next((other for other in self.files if other.key == twin.key), None)
        if other is None or isinstance(other, PackedFile):
            return False
        return not twin.is_of(other.descriptor, os.fstat(other.descriptor).st_size)

    def _takes_over(self, one: LogFile, twin: Place, found: _Found) -> bool:
        """Whether a file with the content of another one stands for it from now on.

        It does where the other is gone: an editor wrote the file anew, a disk was restored, a device has a new number.
        """
        if one.size < twin.offset:
            self._state(one.path, f"has the beginning of {twin.path}, as a copy that is being made")
            return False
        if twin.key in found:  # it was cut, or goes on in another way, than what had its beginning
            self._known[one.key] = one.place_of(twin)
            return False
        other = next((other for other in self.files if other.key == twin.key), None)
        self._known.pop(twin.key, None)
        self._lost = [lost for lost in self._lost if lost.key != twin.key]
        one.go_to(twin)
        if other is not None and has_more(other, one):
            one.after = (other,)  # another file with the same beginning, or lines that came too late for an editor
        elif other is not None:
            self.files.remove(other)
            other.close()
        return True

    def _copy_of(self, place: Place, key: tuple[int, int]) -> tuple[str, int] | None:
        """Of the files beside, but for `key`, that have what was read under `place`: that with most beyond, opened."""
        best: tuple[str, int] | None = None
        most = -1
        for path, _ in siblings(place.real_path)[:_OPENED] if place.proven else []:
            descriptor = opened_as(path, place, other_than=key)
            if descriptor is None:
                continue
            size = os.fstat(descriptor).st_size
            if size > most:
                if best is not None:
                    os.close(best[1])
                best, most = (path, descriptor), size
            else:
                os.close(descriptor)
        return best

    def _follow(self, path: str, descriptor: int, place: Place, now_s: float) -> LogFile | None:
        """Read a file on that was rotated away, under the name it had."""
        one = LogFile(place.path, os.path.realpath(path), descriptor, now_s)
        known = next((other for other in self.files if other.key == one.key), None)
        if known is not None:
            one.close()
            return None if known.path != place.path else known
        self._known.pop(one.key, None)
        one.go_to(place)
        one.gone = True
        self.files.append(one)
        return one

    def _let_go(self, one: LogFile) -> None:
        """Close a file, remembering its place."""
        self._known[one.key] = one.place()
        self.files.remove(one)
        one.close()

    def _note_end(self, path: str, now_s: float) -> None:
        descriptor = self._opened(path)
        if descriptor is not None:
            one = LogFile(path, os.path.realpath(path), descriptor, now_s)
            one.go_to_end()
            self._known[one.key] = one.place()
            one.close()

    def _opened(self, path: str) -> int | None:
        try:
            descriptor = opened(path)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                self._state(path, error.strerror or str(error))
            return None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            return None
        return descriptor

    def _forget_removed(self, removed: frozenset[str], found: _Found) -> None:
        """Files that only patterns match which the configuration does not name any more are not looked for."""
        paths = {path for pattern in removed for path in glob.glob(pattern, recursive=True)}  # noqa: PTH207
        for key, place in self._known.items():
            if key not in found and place.path in paths:
                self._known[key] = structs.replace(place, ended=True)

    def _state(self, what: str, reason: str) -> None:
        """States are labels of a metric: a few of them say enough."""
        if len(self.states) < _STATES or what in self.states:
            self.states[what] = reason
