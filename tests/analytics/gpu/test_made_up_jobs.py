"""Made-up jobs: the same ones for the same seed, and logs of which a diagnosis says what their story says."""

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import pytest

from analytics.gpu.classifier import diagnose_logs
from analytics.gpu.cleaning import Origin
from analytics.gpu.made_up_jobs import NODES, MadeUpAttempt, made_up_attempts, stories
from analytics.gpu.node_events import JobFacts
from analytics.gpu.taxonomy import taxonomy
from tests.analytics.gpu.made_logs import shipped_scanner

MANY = made_up_attempts(200, seed=3, every_s=2.0)


def logs_of(attempt: MadeUpAttempt) -> list[tuple[Origin, list[bytes]]]:
    texts = defaultdict(list)
    for line in attempt.lines:
        texts[line.node, line.rank].append(line.text)
    return [
        (Origin(f"{node}-{rank}", "kernel" if rank is None else "stderr", rank, node), ["\n".join(some).encode()])
        for (node, rank), some in texts.items()
    ]


def test_the_same_seed_makes_the_same_jobs_whatever_they_are_called() -> None:
    again = made_up_attempts(200, seed=3, every_s=2.0, prefix="other")
    assert [replace(one, job="", lines=()) for one in again] == [replace(one, job="", lines=()) for one in MANY]
    named = [line.text.replace(f"/{one.job}/", "/x/") for one in MANY for line in one.lines]
    assert [line.text.replace(f"/{one.job}/", "/x/") for one in again for line in one.lines] == named
    assert made_up_attempts(200, seed=4, every_s=2.0) != MANY


def test_attempts_of_a_job_follow_one_another_and_a_job_ends_where_it_passed() -> None:
    chains = defaultdict(list)
    for attempt in MANY:
        chains[attempt.job].append(attempt)
    assert len(chains) == 200
    again = 0
    for chain in chains.values():
        assert [one.number for one in chain] == list(range(1, len(chain) + 1))
        for before, after in pairwise(chain):
            assert before.outcome != "passed"
            assert before.ends_s < after.begins_s
            assert after.ran_s == pytest.approx(after.ends_s - after.begins_s)
            assert after.story in ("passed", before.story)
            again += 1
    assert again > 50


def test_lines_stand_within_their_attempt_and_on_its_nodes() -> None:
    for attempt in MANY:
        times = [line.at_s for line in attempt.lines]
        assert times == sorted(times)
        assert attempt.begins_s <= times[0]
        assert times[-1] < attempt.ends_s < attempt.begins_s + 20
        assert {line.node for line in attempt.lines} <= set(attempt.nodes) <= set(NODES)
        assert all(line.rank is None or 0 <= line.rank < attempt.gpus for line in attempt.lines)


def test_every_story_happens_and_names_a_known_reason() -> None:
    assert {one.story for one in MANY} == {story.id for story in stories()}
    assert {story.reason for story in stories()} - {"", None} <= set(taxonomy())
    assert {one.outcome == "passed" for one in MANY if one.reason == ""} == {True}


def test_a_node_with_bad_hardware_has_one_kind_of_it_and_no_other_jobs() -> None:
    """Made-up jobs come close together, and what a kernel says counts for all jobs of its node."""
    kinds = defaultdict(set)
    for attempt in MANY:
        for node in attempt.nodes:
            kinds[node].add(attempt.reason)
    speaking = {line.node for one in MANY for line in one.lines if line.rank is None and "Xid" in line.text}
    assert len(speaking) == 4
    assert all(len(kinds[node]) == 1 for node in speaking)
    assert all(len(kinds[node]) > 5 for node in set(NODES) - speaking)


@pytest.mark.parametrize("story", [story.id for story in stories()])
def test_a_diagnosis_says_of_the_logs_what_their_story_says(story: str) -> None:
    for attempt in [one for one in MANY if one.story == story][:2]:
        failed = attempt.outcome != "passed"
        found = diagnose_logs(
            logs_of(attempt), shipped_scanner(), JobFacts(nodes=frozenset(attempt.nodes), failed=failed)
        )
        if attempt.reason is None:
            assert (found.status, found.reason) == ("abstained", None)
        elif failed:
            assert (found.status, found.reason) == ("answered", attempt.reason), found
            assert found.node in (None, *attempt.nodes)
        else:
            assert found.status == "no_failure"
