"""What rotation left beside a log: files that may be what it was before, and its generations in order of writing.

A generation is called as the log with a number or a date behind its name or before its last suffix, as logrotate and
the handlers of Python do, and may be packed. When it was last written says where it stands; of two that were written at
the same moment the names tell. `app-1.log` is no generation of `app.log` but a worker's; `app.1.log` is one.
"""

import logging
import os
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from agents.sources.logs_file import LogFile, Place, opened
from agents.sources.logs_packed import PACKED, PackedFile
from agents.sources.source import Lost

log = logging.getLogger(__name__)

COMPRESSED: Final = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".z", ".zip", ".br")
# Names of one folder that are looked through for a file that was rotated away.
_SIBLINGS: Final = 10_000
_BEHIND: Final = r"[.\-_](\d[\d\-_.T:]*)"
_WITHIN: Final = r"(?:\.(?=\d{1,5}\.)|[.\-_](?=\d{4}-?\d\d|\d{6}))(\d[\d\-_.T:]*)"
_MOST_DIGITS: Final = 5  # of a number; more are a date


class Generation(NamedTuple):
    """One file that the log was before; `order` is 0 where the name says nothing."""

    changed_ns: int
    order: int
    path: str
    key: tuple[int, int]


class Losses:
    """Files of which nothing is left, until that was told.

    Attributes:
        places: of them; where the agent ends before it could tell, it finds them to be gone again.
    """

    def __init__(self) -> None:
        self.places: dict[tuple[int, int], Place] = {}
        self._lost: list[Lost] = []

    def add(self, changed_ns: int, place: Place | None = None) -> None:
        """One file, last written then (0: not known); nobody knows how many lines it had, so it counts as one."""
        self._lost.append(Lost(changed_ns or time.time_ns(), 1, "log_gone"))
        if place is not None:
            self.places[place.key] = place

    def take(self) -> tuple[Lost, ...]:
        """Those since the last call."""
        lost, self._lost, self.places = tuple(self._lost), [], {}
        return lost


def siblings(path: str, *, packed: bool = False) -> list[tuple[str, int]]:
    """Files in the folder of `path`, with their inodes; those with the most similar names first.

    Packed ones are left out, or only those that can be unpacked are given.
    """
    name = Path(path).name
    try:
        with os.scandir(Path(path).parent) as entries:
            found = [
                (entry.path, entry.inode())
                for _, entry in zip(range(_SIBLINGS), entries, strict=False)
                if entry.name.lower().endswith(COMPRESSED) == packed
                and (not packed or entry.name.endswith(PACKED))
                and entry.is_file(follow_symlinks=False)
            ]
    except OSError:
        return []
    return sorted(found, key=lambda one: -len(os.path.commonprefix([name, Path(one[0]).name])))  # noqa: RUF071  # letters


def opened_as(path: str, place: Place, other_than: tuple[int, int] | None = None) -> int | None:
    """A descriptor of a file if it has what was read under `place`."""
    descriptor = None
    try:
        descriptor = opened(path)
        found = os.fstat(descriptor)
        if (found.st_dev, found.st_ino) != other_than and place.is_of(descriptor, found.st_size):
            return descriptor
    except OSError:
        log.debug("cannot be compared path=%s", path, exc_info=True)
    if descriptor is not None:
        os.close(descriptor)
    return None


def opened_file(path: str, log_path: str, now_s: float) -> LogFile | None:
    """A file that is what the log was, at its beginning; None where it has gone."""
    try:
        descriptor = opened(path)
    except OSError:
        log.debug("cannot be opened path=%s", path, exc_info=True)
        return None
    kind = PackedFile if path.endswith(PACKED) else LogFile
    return kind(log_path, os.path.realpath(path), descriptor, now_s)


def put_in_order(files: Iterable[LogFile]) -> None:
    """Have each wait for those that its log was before."""
    by_path: dict[str, list[LogFile]] = {}
    for one in files:
        by_path.setdefault(one.path, []).append(one)
    for path, same in by_path.items():
        now = os.path.realpath(path) if len(same) > 1 else ""
        places = {one.key: generation_of(path, one.changed_ns, one.real_path) for one in same if now}
        for one in same if now else []:
            one.after = tuple(
                other
                for other in same
                if other is not one
                and (one.real_path == now or (other.real_path != now and _is_newer(places[one.key], places[other.key])))
            )


def generation_of(log_path: str, changed_ns: int, path: str = "") -> Generation:
    """Of a file that is known; `path` is where it is now."""
    order = order_of(Path(os.path.realpath(log_path)).name, Path(path).name.removesuffix(PACKED))
    return Generation(changed_ns, order or 0, path, (0, 0))


def newer_than(known: Generation, log_path: str) -> list[Generation]:
    """The generations of a log that were written after one that is known, in order."""
    if not known.changed_ns:  # an earlier release did not note it
        return []
    return [one for one in generations(log_path) if _is_newer(one, known)]


def generations(log_path: str) -> list[Generation]:
    """Of a log, the one that was written first at the beginning; what is there packed and not is given once."""
    real = os.path.realpath(log_path)
    found: dict[str, Generation] = {}
    for path, _ in [*siblings(real, packed=True), *siblings(real)]:
        bare = path.removesuffix(PACKED)
        order = order_of(Path(real).name, Path(bare).name)
        if order is None:
            continue
        try:
            status = Path(path).stat()
        except OSError:
            continue
        found[bare] = Generation(status.st_mtime_ns, order, path, (status.st_dev, status.st_ino))
    return sorted(found.values())


def _is_newer(one: Generation, known: Generation) -> bool:
    if one.changed_ns != known.changed_ns:
        return one.changed_ns > known.changed_ns
    alike = one.order * known.order > 0  # both numbers, or both dates
    return alike and one.order > known.order


def order_of(log_name: str, name: str) -> int | None:
    """Where a name stands among the generations of a log: more is newer; 0 unknown, None for no generation.

    Numbers count backwards, dates forwards; the two are never of one log.
    """
    stem, suffix = os.path.splitext(log_name)  # noqa: PTH122  # of a name
    match = re.fullmatch(re.escape(log_name) + _BEHIND, name)
    if match is None and stem:
        match = re.fullmatch(re.escape(stem) + _WITHIN + re.escape(suffix), name)
    if match is None:
        return None
    digits = re.sub(r"\D", "", match[1])
    return -int(digits) if len(digits) <= _MOST_DIGITS else int(digits[:18])
