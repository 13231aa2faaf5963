"""Whose the kernel's events are on a node that several jobs ran on."""

import pytest

from analytics.gpu.matches import Match
from analytics.gpu.node_events import JobFacts
from analytics.gpu.shared_nodes import share
from tests.analytics.gpu.plain_scan import found, signature

FACTS = JobFacts(job="train-4711", others={"n1": ("train-4712", "eval")})
KILLED = "oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/slurm/uid_7/job_{},task=python,pid=8123,uid=7"
XID = "NVRM: Xid (PCI:0000:07:00): 79, pid={}, name=python, GPU has fallen off the bus."


def event(text: str, node: str | None = "n1.cluster", **captured: str) -> Match:
    return found(signature("kernel", "cpu_oom"), 1, text=text, source="kernel", node=node, **captured)


@pytest.mark.parametrize(
    ("text", "own", "whose"),
    [
        (KILLED.format(4711), "", "ours"),
        (KILLED.format(4712), "pid 8123", "theirs"),
        (KILLED.format(47110), "", "unsure"),
        (KILLED.format(9), "RuntimeError: DataLoader worker (pid 8123) is killed by signal: Killed.", "ours"),
        ("Memory cgroup out of memory: Killed process 8123 (python)", "n1:8123:8200 [0] NCCL INFO init", "ours"),
        (XID.format(8123), "worker pid 81230, step 8123 of 9000", "unsure"),
        (XID.format("'<unknown>'"), "GPU 0000:07:00.0 does not answer", "ours"),
        (XID.format("'<unknown>'"), "GPU 0000:08:00.0 does not answer", "unsure"),
    ],
)
def test_control_groups_processes_and_gpus_tell_whose_an_event_is(text: str, own: str, whose: str) -> None:
    match = event(text, pci="0000:07:00") if "Xid" in text else event(text)
    shared = share([match], FACTS, [own])
    assert shared.matches == (() if whose == "theirs" else (match,))
    assert (id(match) in shared.unsure) == (whose == "unsure")
    assert bool(shared.notes) == (whose == "theirs")
    assert bool(shared.said(None)) == (whose == "unsure")
    if whose == "unsure":
        assert shared.said(match) == [
            "node n1.cluster ran other jobs at that time (eval, train-4712): what its kernel wrote may be about them"
        ]


def test_nothing_is_in_doubt_where_no_other_job_ran() -> None:
    matches = [event(KILLED.format(4712), node="n2"), event(KILLED.format(4712), node=None)]
    for facts in (FACTS, JobFacts(job="train-4711")):
        shared = share(matches, facts, [])
        assert (shared.matches, shared.unsure, shared.notes) == (tuple(matches), frozenset(), ())
