"""How many cores the agent may take just now: a fixed number, a share of what the host leaves idle, or of a quota.

`idle_share` counts the agent's own use as idle, or else it would run after its own tail: the more it took, the less it
would be given. `cgroup_share` takes the tightest quota on the path from the agent's group to the root, of cgroup v2
(`cpu.max`) and v1 (`cpu.cfs_quota_us`) alike. Both stay between `floor_cores` and `ceiling_cores`.
Everything is read from files in a moment; nothing here waits for a figure to become known.
"""

import logging
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal, TypeAlias

import psutil

from agents.config import BudgetConfig

log = logging.getLogger(__name__)

BudgetFrom: TypeAlias = Literal["cores", "idle_share", "cgroup_share"]

# A burst on the host is over in a second or two; what lasts should be followed within an agent's few epochs.
SMOOTHING_S: Final = 5.0
# Quotas change when somebody edits a unit or resizes a container.
QUOTA_S: Final = 5.0
_IDLE_FIELDS: Final = (3, 4)  # idle, iowait
_COUNTED_FIELDS: Final = 8  # guest time, behind these, is part of user time already


class CpuBudget:
    """The budget of one agent, renewed at each end of an epoch."""

    def __init__(
        self,
        config: BudgetConfig,
        *,
        root: Path = Path("/"),
        host_cores: int | None = None,
        host_times: Callable[[], tuple[float, float]] | None = None,
    ) -> None:
        """`root` is where proc and sys lie; `host_times` gives idle and all CPU seconds of the host since its start."""
        self._config = config
        self._root = root
        self._host_cores = host_cores or cores_here()
        self._host_times = host_times or (lambda: host_times_in(root))
        self._smoothed: float | None = None
        self._before: tuple[float, float, float, float] | None = None
        self._quota_cores: float | None = None
        self._quota_at_s = -math.inf
        self._told = False

    @property
    def budget_from(self) -> BudgetFrom:
        """Which of the three settings decides."""
        if self._config.idle_share is not None:
            return "idle_share"
        return "cores" if self._config.cgroup_share is None else "cgroup_share"

    def renew(self, own_cpu_s: float, now_s: float) -> float:
        """Cores from now on; `own_cpu_s` is what agent and children have taken since their start."""
        config = self._config
        if config.cores is not None:
            return config.cores
        if config.idle_share is not None:
            wanted = config.idle_share * self._idle_cores(own_cpu_s, now_s)
        else:
            wanted = (config.cgroup_share or 0.0) * self._quota(now_s)
        return min(max(wanted, config.floor_cores), config.ceiling_cores)

    def _idle_cores(self, own_cpu_s: float, now_s: float) -> float:
        """Cores that the host leaves idle or this agent uses, smoothed; 0 until there are two readings."""
        idle_s, all_s = self._host_times()
        before, self._before = self._before, (now_s, own_cpu_s, idle_s, all_s)
        if before is None:
            return 0.0
        elapsed_s, counted_s = now_s - before[0], all_s - before[3]
        if elapsed_s <= 0 or counted_s <= 0:
            self._before = before  # too soon for the host's coarse clock; the next reading spans this one
            return self._smoothed or 0.0
        idle = max(0.0, idle_s - before[2]) / counted_s * self._host_cores
        own = max(0.0, own_cpu_s - before[1]) / elapsed_s
        free = min(idle + own, float(self._host_cores))
        if self._smoothed is None:
            self._smoothed = free
        self._smoothed += (free - self._smoothed) * -math.expm1(-elapsed_s / SMOOTHING_S)
        return self._smoothed

    def _quota(self, now_s: float) -> float:
        if now_s - self._quota_at_s < QUOTA_S and self._quota_cores is not None:
            return self._quota_cores
        self._quota_at_s = now_s
        found = quota_cores(self._root)
        if found is None and not self._told:
            self._told = True
            log.warning(
                "no CPU quota on this agent's cgroup, its share is taken of all cores cores=%d ceiling_cores=%g; "
                "set a quota (CPUQuota=, --cpus) or agent.budget.cores",
                self._host_cores,
                self._config.ceiling_cores,
            )
        self._quota_cores = float(self._host_cores) if found is None else found
        return self._quota_cores


def cores_here() -> int:
    """Cores that this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # not on this system
        return os.cpu_count() or 1


def host_times_in(root: Path) -> tuple[float, float]:
    """Idle and all CPU time of the host since its start, from proc/stat, or by psutil where there is none.

    Their unit cancels out: only the ratio of differences is used.
    """
    try:
        line = (root / "proc/stat").read_text(encoding="ascii").split("\n", 1)[0]
        numbers = [float(number) for number in line.split()[1:]][:_COUNTED_FIELDS]
    except (OSError, ValueError):
        numbers = []
    if len(numbers) > max(_IDLE_FIELDS):
        return sum(numbers[at] for at in _IDLE_FIELDS), sum(numbers)
    times = psutil.cpu_times()._asdict()
    counted = sum(value for name, value in times.items() if not name.startswith("guest"))
    return times.get("idle", 0.0) + times.get("iowait", 0.0), counted


def quota_cores(root: Path) -> float | None:
    """The tightest CPU quota on this process's cgroups, in cores; None where no group has one."""
    quotas = [quota for folder in _groups(root) if (quota := _quota_of(folder)) is not None]
    return min(quotas, default=None)


def _groups(root: Path) -> Iterator[Path]:
    """The folders of this process's groups and of all above them, as far as they can be seen from here.

    In a container the path may be the host's, of which only the root is mounted: that is the container's own group.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    mounted = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            tops = [mounted, mounted / "unified"]
        elif "cpu" in controllers.split(","):
            tops = [mounted / controllers, mounted / "cpu"]
        else:
            continue
        names = [name for name in path.split("/") if name not in ("", ".", "..")]
        for top in tops:
            yield from (top.joinpath(*names[:depth]) for depth in range(len(names), -1, -1))


def _quota_of(folder: Path) -> float | None:
    for name, period_name in (("cpu.max", None), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            words = (folder / name).read_text(encoding="ascii").split()
            if period_name is not None:
                words += (folder / period_name).read_text(encoding="ascii").split()
            quota, period = float(words[0]), float(words[1])
        except (OSError, ValueError, IndexError):
            continue  # no such file, or "max": no quota here
        if quota > 0 and period > 0:
            return quota / period
    return None
