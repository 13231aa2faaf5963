"""The budget: a fixed number, a share of idle CPU, a share of a cgroup's quota; read from files under another root."""

import logging
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from agents.config import BudgetConfig
from agents.cpu_budget import CpuBudget, host_times_in, quota_cores


def files(root: Path, **texts: str) -> Path:
    """Files under `root`; "__" stands for "/" and "_dot_" for "." in their names."""
    for name, text in texts.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, "none of its three kinds; set exactly one of cores, idle_share and cgroup_share"),
        ({"floor_cores": 0.1}, "set exactly one"),
        ({"cores": 1, "idle_share": 0.5}, "a budget is cores: 1 and idle_share: 0.5; set exactly one"),
        ({"cores": 1, "idle_share": 0.5, "cgroup_share": 1}, "cgroup_share: 1; set exactly one"),
        ({"cgroup_share": 0.5, "floor_cores": 3}, "floor_cores is 3, above ceiling_cores, 2"),
        ({"cores": 0}, "cores"),
        ({"idle_share": 1.5}, "idle_share"),
    ],
)
def test_a_budget_that_says_nothing_or_two_things_is_refused(value: object, said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=said):
        msgspec.convert(value, BudgetConfig)


def test_a_number_of_cores_is_what_it_says_whatever_floor_and_ceiling_are() -> None:
    budget = CpuBudget(BudgetConfig(cores=4.0, ceiling_cores=2.0))
    assert (budget.budget_from, budget.renew(0.0, 0.0), budget.renew(9.0, 1.0)) == ("cores", 4.0, 4.0)


class Host:
    """A host of four cores whose others use some of them; the agent's use comes on top."""

    def __init__(self, config: BudgetConfig) -> None:
        self.idle_s = self.own_s = self.now_s = 0.0
        self.budget = CpuBudget(config, host_cores=4, host_times=lambda: (self.idle_s, 4 * self.now_s))

    def after(self, seconds: float, others_cores: float, own_cores: float) -> float:
        self.now_s += seconds
        self.own_s += own_cores * seconds
        self.idle_s += (4 - others_cores - own_cores) * seconds
        return self.budget.renew(self.own_s, self.now_s)


def test_the_idle_share_counts_the_agents_own_use_as_idle() -> None:
    host = Host(BudgetConfig(idle_share=0.5, ceiling_cores=4.0))
    assert host.budget.budget_from == "idle_share"
    host.after(1.0, 0, 0)
    for own in (0.0, 1.0, 0.2, 0.9):
        given = [host.after(1.0, others_cores=2.0, own_cores=own) for _ in range(40)][-1]
        assert given == pytest.approx(1.0, rel=1e-3)


def test_the_idle_share_starts_at_the_floor_and_stays_between_floor_and_ceiling() -> None:
    host = Host(BudgetConfig(idle_share=0.5, floor_cores=0.2, ceiling_cores=1.5))
    assert host.after(1.0, 0, 0) == 0.2
    assert host.after(1.0, 0, 0) == 1.5
    assert [host.after(1.0, 3.9, 0.1) for _ in range(60)][-1] == 0.2


def test_the_idle_share_follows_the_host_smoothly() -> None:
    host = Host(BudgetConfig(idle_share=1.0, ceiling_cores=4.0))
    for _ in range(40):
        host.after(1.0, 1.0, 0.0)
    given = [host.after(1.0, 3.0, 0.0) for _ in range(30)]
    assert 2.0 < given[0] < 3.0
    assert all(later < sooner for sooner, later in pairwise(given))
    assert given[-1] == pytest.approx(1.0, abs=0.02)


def test_two_readings_within_one_tick_of_the_host_change_nothing() -> None:
    host = Host(BudgetConfig(idle_share=1.0, ceiling_cores=4.0))
    host.after(1.0, 1.0, 0.0)
    before = host.after(1.0, 1.0, 0.0)
    assert host.budget.renew(host.own_s + 0.5, host.now_s) == before
    assert host.after(1.0, 1.0, 0.0) == pytest.approx(3.0)


def test_host_times_are_idle_and_iowait_out_of_all_without_counting_guests_twice(tmp_path: Path) -> None:
    files(tmp_path, proc__stat="cpu  10 1 5 100 20 1 2 3 50 60\ncpu0 1 1 1 1\n")
    assert host_times_in(tmp_path) == (120.0, 142.0)


def test_without_proc_stat_the_times_come_from_psutil(tmp_path: Path) -> None:
    idle, counted = host_times_in(tmp_path)
    assert 0 < idle < counted


@pytest.mark.parametrize(
    ("own_group", "quotas", "cores"),
    [
        ("0::/", {"sys__fs__cgroup__cpu_dot_max": "150000 100000\n"}, 1.5),
        ("0::/", {"sys__fs__cgroup__cpu_dot_max": "max 100000\n"}, None),
        ("0::/", {}, None),
        (
            "0::/system.slice/agent.service",
            {
                "sys__fs__cgroup__system_dot_slice__agent_dot_service__cpu_dot_max": "max 100000",
                "sys__fs__cgroup__system_dot_slice__cpu_dot_max": "25000 50000",
                "sys__fs__cgroup__cpu_dot_max": "200000 100000",
            },
            0.5,
        ),
        ("0::/host/path/unseen", {"sys__fs__cgroup__cpu_dot_max": "30000 100000"}, 0.3),
        (
            "4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc",
            {
                "sys__fs__cgroup__cpu,cpuacct__docker__abc__cpu_dot_cfs_quota_us": "75000\n",
                "sys__fs__cgroup__cpu,cpuacct__docker__abc__cpu_dot_cfs_period_us": "100000\n",
                "sys__fs__cgroup__cpu,cpuacct__cpu_dot_cfs_quota_us": "-1\n",
                "sys__fs__cgroup__cpu,cpuacct__cpu_dot_cfs_period_us": "100000\n",
            },
            0.75,
        ),
        (
            "4:cpu:/unseen\n0::/",
            {
                "sys__fs__cgroup__cpu__cpu_dot_cfs_quota_us": "50000",
                "sys__fs__cgroup__cpu__cpu_dot_cfs_period_us": "50000",
                "sys__fs__cgroup__unified__cpu_dot_max": "80000 100000",
            },
            0.8,
        ),
        ("3:cpuset:/a", {"sys__fs__cgroup__cpuset__a__cpu_dot_max": "80000 100000"}, None),
        ("0::/a", {"sys__fs__cgroup__a__cpu_dot_max": "garbage"}, None),
    ],
)
def test_the_tightest_quota_on_the_path_is_found_in_both_versions_of_cgroups(
    tmp_path: Path, own_group: str, quotas: dict[str, str], cores: float | None
) -> None:
    files(tmp_path, proc__self__cgroup=own_group, **quotas)
    assert quota_cores(tmp_path) == cores


def test_the_share_of_a_quota_follows_a_changed_quota_within_seconds(tmp_path: Path) -> None:
    files(tmp_path, proc__self__cgroup="0::/", sys__fs__cgroup__cpu_dot_max="200000 100000")
    budget = CpuBudget(BudgetConfig(cgroup_share=0.5), root=tmp_path, host_cores=8)
    assert (budget.budget_from, budget.renew(0.0, 0.0)) == ("cgroup_share", 1.0)
    files(tmp_path, sys__fs__cgroup__cpu_dot_max="50000 100000")
    assert budget.renew(0.0, 1.0) == 1.0
    assert budget.renew(0.0, 6.0) == 0.25


@pytest.mark.parametrize(("cores", "given"), [(1, 0.5), (16, 2.0)])
def test_without_a_quota_the_share_is_of_all_cores_up_to_the_ceiling_and_that_is_said_once(
    tmp_path: Path, cores: int, given: float, caplog: pytest.LogCaptureFixture
) -> None:
    budget = CpuBudget(BudgetConfig(cgroup_share=0.5), root=tmp_path, host_cores=cores)
    with caplog.at_level(logging.WARNING):
        assert [budget.renew(0.0, 10.0 * n) for n in range(3)] == [given] * 3
    assert [record.message.split(" cores=")[0] for record in caplog.records] == [
        "no CPU quota on this agent's cgroup, its share is taken of all cores"
    ]
