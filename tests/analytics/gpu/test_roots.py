"""Which of many matches is the root: roles, tiers, time, explained exceptions."""

import random

import pytest

from analytics.gpu.matches import Match
from analytics.gpu.roots import choose, tier_of
from tests.analytics.gpu.plain_scan import exception, found, marker, signature

OOM = signature("oom", "gpu_oom", weight=90)
XID = signature("xid", "gpu_ecc", weight=80)
LIMIT = signature("limit", "time_limit", weight=90)
NCCL = signature("nccl", "nccl_error", weight=90)
WEAK = signature("nan", "model_diverged", weight=30)


def root_of(*matches: Match) -> str | None:
    choice = choose(matches)
    return None if choice.root is None else choice.root.reason


@pytest.mark.parametrize(
    ("match", "tier"),
    [
        (found(LIMIT), 1),
        (found(XID), 2),
        (found(OOM), 3),
        (exception("TypeError", 1), 4),
        (found(WEAK), 4),
        (found(NCCL), 5),
        (exception("TimeoutError", 1, "network_conn"), 5),
        (found(signature("after", "gpu_oom", "cascade")), 5),
    ],
)
def test_tiers_follow_role_and_reason(match: Match, tier: int) -> None:
    assert tier_of(match) == tier


def test_the_lowest_tier_wins_in_whatever_order_matches_stand() -> None:
    matches = [found(NCCL, 1), exception("TypeError", 5), found(OOM, 9), found(XID, 12)]
    for seed in range(6):
        random.Random(seed).shuffle(matches)
        assert root_of(*matches) == "gpu_ecc"


def test_advice_is_never_the_root_and_what_confirms_only_where_there_is_nothing_else() -> None:
    advice = found(signature("dsa", "device_assert", "advice", 100), 1)
    confirm = found(signature("killed", "cpu_oom", "confirm", 100), 2)
    assert root_of(advice) is None
    assert root_of(advice, confirm) == "cpu_oom"
    assert root_of(advice, confirm, found(NCCL, 3)) == "nccl_error"


def test_a_collective_error_is_the_root_only_where_nothing_else_is_found() -> None:
    assert root_of(found(NCCL, 1)) == "nccl_error"
    assert root_of(found(NCCL, 1), exception("TypeError", 30)) == "semantic_error"


def test_a_signature_on_its_line_explains_an_exception() -> None:
    assert root_of(found(NCCL, 4), exception("RuntimeError", 4, weight=30)) == "nccl_error"
    assert root_of(found(NCCL, 4), exception("RuntimeError", 8, weight=30)) == "semantic_error"


def test_what_was_raised_because_of_an_explained_exception_is_no_root() -> None:
    chain = [exception("RuntimeError", 4, weight=30), marker("traceback-direct-cause", 6), exception("ValueError", 9)]
    assert root_of(found(NCCL, 4), *chain) == "nccl_error"


def test_the_origin_of_a_chain_beats_what_it_led_to() -> None:
    chain = [
        exception("ImportError", 4, "import_error"),
        marker("traceback-while-handling", 6),
        exception("AttributeError", 9, weight=69),
    ]
    assert root_of(*chain) == "import_error"


def test_the_earliest_of_equals_wins_by_time_before_place() -> None:
    early = found(OOM, 90, at_s=10.0, rank=3)
    late = found(signature("illegal", "illegal_mem_access", weight=90), 1, at_s=20.0, rank=0)
    assert root_of(late, early) == "gpu_oom"


def test_times_put_right_overrule_those_of_the_lines() -> None:
    early = found(OOM, 90, at_s=10.0)
    late = found(signature("illegal", "illegal_mem_access", weight=90), 1, at_s=20.0)
    choice = choose([late, early], {0: 5, 1: 10 * 10**9})
    assert choice.root is not None
    assert choice.root.reason == "illegal_mem_access"


def test_a_telling_text_comes_before_an_earlier_vague_one() -> None:
    vague = found(signature("dump", "core_dump", weight=50), 1)
    assert root_of(vague, found(OOM, 7)) == "gpu_oom"


def test_rivals_and_confirming_matches_stand_beside_the_root() -> None:
    confirm = found(signature("oom-too", "gpu_oom", "confirm"), 9)
    choice = choose([found(OOM, 1), confirm, found(NCCL, 20), exception("TypeError", 30)])
    assert choice.confirming == (confirm,)
    assert [rival.reason for rival in choice.rivals] == ["semantic_error", "nccl_error"]
    assert [match.signature.reason for match in choice.following] == ["nccl_error", "semantic_error"]


@pytest.mark.parametrize(
    ("ended_by", "loader_s", "root"),
    [
        ("is killed by signal: Killed", None, "cpu_oom"),
        ("exited unexpectedly", 70.0, "cpu_oom"),
        ("is killed by signal: Bus", None, "dataloader_killed"),
        ("was killed", 900.0, "dataloader_killed"),
    ],
)
def test_a_loader_killed_for_want_of_memory_is_no_cause_of_its_own(
    ended_by: str, loader_s: float | None, root: str
) -> None:
    """Whichever stands first; other signals and other times are another matter."""
    loader = found(signature("loader", "dataloader_killed", weight=88), 4, at_s=loader_s, ended_by=ended_by)
    kernel = found(signature("kernel", "cpu_oom", weight=95), 9, at_s=60.0, file="kernel.log", source="kernel")
    choice = choose([loader, kernel]) if root == "cpu_oom" else choose([loader])
    assert choice.root is not None
    assert choice.root.reason == root
    both = choose([loader, kernel])
    assert (both.rivals == ()) == (root == "cpu_oom")
    assert (loader in both.following) == (both.root is not None and both.root.match is kernel)
    guess = found(signature("bare", "cpu_oom", weight=52), 5)
    assert root_of(loader, guess) == "dataloader_killed"  # "Killed" alone says no more than the loader does
