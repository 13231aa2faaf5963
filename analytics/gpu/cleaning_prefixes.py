"""What launchers, containers and log daemons write before a line: taken off, and what it says of rank, node and time.

A line may bear several, one inside the other: a container's time, then a launcher's rank, then a logger's time. Times
without a zone are taken for UTC; kernel times since boot say nothing that could be compared, nor do days of no year.
"""

import math
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from analytics.gpu.log_lines import Source

#: No line bears more than this; what looks like another is text.
MOST_PREFIXES: Final = 5


@dataclass(slots=True)
class Told:
    """A line without its prefixes, and what they say; None where nothing does.

    Times are left as they stand, for most lines are told without theirs: `stamp` is the one nearest to the text,
    `entry_stamp` that of the JSON around it, and `entry_ns` what stands there as a number.
    """

    text: str
    source: Source | None = None
    rank: int | None = None
    node: str | None = None
    stamp: str | None = None
    entry_stamp: str | None = None
    entry_ns: int | None = None

    def time_ns(self) -> int | None:
        """UTC, by the nearest stamp that is a time."""
        found = None if self.stamp is None else time_ns(self.stamp)
        if found is not None:
            return found
        return self.entry_ns if self.entry_stamp is None else time_ns(self.entry_stamp)


_STAMP = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"
_DAY = r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d"
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NODE = r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?"
_HOSTS = "node|host|worker|compute|server|master|dgx|hgx|nid|gpunode"
_HOSTED = r" (?:localhost |[\w-]*[\d.-]|\S{1,250} (?:kernel:|[\w./@-]{1,61}\[\d+\]:|systemd|slurm|kubelet:))"
_DAEMON = r"(?P<tag>[A-Za-z][\w./@-]{0,60})(?:\[\d+\])?:"

_DIGITS: Final = string.digits
_LETTERS: Final = string.ascii_letters
#: (characters it may begin with, prefix), tried in this order until one fits. Groups: rank, node, stamp, day, year,
#: stream, tag, boot; the text stands behind the match.
_PREFIXES: Final[tuple[tuple[str, str], ...]] = (
    # Kubernetes' container runtime: time, stream, full or partial, text.
    (_DIGITS, rf"(?P<stamp>{_STAMP}) (?P<stream>stdout|stderr) [FP](?::\S*)? "),
    # syslog and journald, with a day and month or a whole date; behind that may stand "CUDA error:", too.
    (
        "<" + _LETTERS + _DIGITS,
        rf"(?:<\d+>)?(?:(?P<day>{_DAY})|(?P<stamp>{_STAMP})(?={_HOSTED})) (?P<node>{_NODE}) {_DAEMON} ?",
    ),
    # The kernel's ring buffer: seconds since boot, or a date.
    ("<[", r"(?:<\d+>)?\[ {0,8}(?P<boot>\d+\.\d{6})\] ?"),
    ("[", rf"\[(?P<boot>[A-Z][a-z]{{2}}) (?P<day>{_DAY}) (?P<year>\d{{4}})\] ?"),
    # Open MPI's --tag-output, and the runtime that came after it.
    ("[", r"\[(?:[\w.-]+@)?\d+,(?P<rank>\d{1,6})\]<(?P<stream>stdout|stderr|stddiag)>:? ?"),
    ("[", rf"\[(?P<node>{_NODE}):\d{{2,7}}\] (?=\*\*\*|\[|mca_|pml_|PMIX|Signal|Failing)"),
    # Horovod, PyTorch's launchers and its own mark of a rank.
    ("[", r"\[(?P<rank>\d{1,6})\]<(?P<stream>stdout|stderr)>: ?"),
    ("[", r"\[(?:rank|default)(?P<rank>\d{1,6})\]: ?"),
    # Ray, kubectl --prefix, docker compose.
    ("(", r"\((?:[\w.:<>-]+) pid=\d+(?:, ip=(?P<node>[\w.:-]+))?\) "),
    ("[", rf"\[pod/(?P<node>{_NODE})/{_NODE}\] "),
    (_LETTERS + _DIGITS, r"(?P<node>[a-z0-9][a-z0-9_.-]{0,60}[_-]\d{1,5}) {1,20}\| "),
    # Slurm's label (srun -l), some trainers', and pdsh's: names that hosts have, not devices (ib0, nvme1) or programs.
    (" " + _DIGITS, r" {0,5}(?P<rank>\d{1,6}): (?=\S)"),
    ("rR", r"[Rr]ank[ _]?(?P<rank>\d{1,6}): (?=\S)"),
    (_LETTERS, rf"(?P<node>[a-z][a-z0-9]{{0,20}}-[a-z0-9.-]{{0,40}}\d|(?:{_HOSTS})\d[a-z0-9.-]{{0,40}}): (?=\S)"),
    # Loggers: a time, perhaps in brackets.
    ("[" + _DIGITS, rf"\[?(?P<stamp>{_STAMP})\]?(?: -)? "),
)
_COMPILED: Final = tuple((starts, re.compile(pattern, re.ASCII)) for starts, pattern in _PREFIXES)
_BY_START: Final = {
    start: tuple(pattern for starts, pattern in _COMPILED if start in starts) for start in " ([<" + _LETTERS + _DIGITS
}
_SLURM: Final = re.compile(r"(?:slurmstepd|slurmd|srun|sbatch|salloc|slurm_load_jobs|scontrol)(?:-[\w.-]+)?: ")
_SLURM_NODE: Final = re.compile(rf"^srun: error: (?P<node>{_NODE}): tasks? (?P<rank>\d{{1,6}})(?:[:,-])")
_SLURM_ON: Final = re.compile(rf"\*\*\* (?:JOB|STEP) \S+ ON (?P<node>{_NODE}) (?:CANCELLED|FAILED)")
_KERNEL: Final = re.compile(
    r"NVRM: |nvidia-(?:nvswitch|modeset|uvm)\b|EXT4-fs|XFS \(|Buffer I/O error|(?:mce: )?\[Hardware Error\]|"
    r"watchdog: BUG: soft lockup|INFO: task \S+ blocked for more than|Out of memory: Kill|Memory cgroup out of memory|"
    r"oom-kill:|amdgpu \d|mlx5_core \d|pcieport \d|Lustre(?:Error)?: |nfs: server |blk_update_request"
)
_FRACTION: Final = re.compile(r"[0-9]{1,9}")
# NCCL and torch name the rank and the node in the text, which patterns want whole.
_NCCL: Final = re.compile(rf"^(?P<node>{_NODE}):\d+:\d+ \[-?\d+\] (?:[\w./]+:\d+ )?NCCL ")
_RANK_INSIDE: Final = re.compile(r"\[[Rr]ank (?P<rank>\d{1,6})\]")
#: (what stands in each text that tells so, how that is found, the source it tells), in this order.
_SIGNS: Final[tuple[tuple[str, Callable[[str], re.Match[str] | None], Source | None], ...]] = (
    ("srun: error: ", _SLURM_NODE.match, "scheduler"),
    ("*** ", _SLURM_ON.search, "scheduler"),
    (": ", _SLURM.match, "scheduler"),
    ("", _KERNEL.match, "kernel"),
    (" NCCL ", _NCCL.match, None),
    ("ank ", _RANK_INSIDE.search, None),
)
_KERNEL_TAGS: Final = frozenset({"kernel"})
_SCHEDULER_TAGS: Final = frozenset({"slurmd", "slurmstepd", "slurmctld", "srun", "pbs_mom", "sge_execd", "lsf"})
_EVENT_TAGS: Final = frozenset({"kubelet", "k3s", "containerd"})


def without_prefixes(text: str, year: int | None = None) -> Told:
    """The line without what was written before it.

    Args:
        year: of days that name none; None leaves such lines without a time.
    """
    told = Told(text)
    for _ in range(MOST_PREFIXES):
        if not _take_off(told, year):
            break
    _add_from_text(told)
    return told


def time_ns(stamp: str) -> int | None:
    """ISO 8601, also with a comma before the fraction and a blank for the T, without a zone UTC; None for no time."""
    whole, _, fraction = stamp.replace(",", ".").partition(".")
    digits = _FRACTION.match(fraction)
    width = digits.end() if digits is not None else 0
    try:
        when = datetime.fromisoformat((whole + fraction[width:]).replace(" ", "T"))
        seconds = math.floor(when.replace(tzinfo=when.tzinfo or UTC).timestamp())
    except (ValueError, OverflowError):
        return None
    return seconds * 1_000_000_000 + int(fraction[:width].ljust(9, "0"))


def _take_off(told: Told, year: int | None) -> bool:
    """Take the first prefix off; False where there is none."""
    for pattern in _BY_START.get(told.text[:1], ()):
        found = pattern.match(told.text)
        if found is not None and found.end():
            _add(told, found.groupdict(), year)
            told.text = told.text[found.end() :]
            return True
    return False


def _add(told: Told, groups: Mapping[str, str | None], year: int | None) -> None:
    rank = groups.get("rank")
    told.source = told.source or _source_of(groups)
    told.rank = told.rank if rank is None else int(rank)
    told.node = groups.get("node") or told.node
    told.stamp = groups.get("stamp") or _stamp_of(groups.get("day"), groups.get("year") or year) or told.stamp


def _stamp_of(day: str | None, year: str | int | None) -> str | None:
    """`Jan  2 12:00:00` of a year as ISO 8601."""
    if day is None or year is None or day[:3] not in _MONTHS:
        return None
    return f"{int(year):04d}-{_MONTHS.index(day[:3]) + 1:02d}-{day[4:6].replace(' ', '0')}T{day[7:]}"


def _source_of(groups: Mapping[str, str | None]) -> Source | None:
    tag, stream = groups.get("tag"), groups.get("stream")
    if groups.get("boot") or tag in _KERNEL_TAGS:
        return "kernel"
    if tag in _SCHEDULER_TAGS:
        return "scheduler"
    if tag in _EVENT_TAGS:
        return "events"
    return "stdout" if stream == "stdout" else "stderr" if stream else None


def _add_from_text(told: Told) -> None:
    """What the text itself says of its source, its node and its rank; it stays as it is."""
    start = told.text[:400]
    for sign, look, source in _SIGNS:
        # A word is looked for in a tenth of a pattern's time.
        found = look(start) if sign in start else None
        if found is None:
            continue
        groups = found.groupdict()
        rank = groups.get("rank")
        told.source = source or told.source
        told.node = groups.get("node") or told.node
        told.rank = told.rank if rank is None or told.rank is not None else int(rank)
