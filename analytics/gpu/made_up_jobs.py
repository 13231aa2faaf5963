"""Made-up GPU jobs that run, write logs and mostly die, for demonstrations and tests: synthetic, and called so.

A job is one of the stories of made_up_jobs.yaml, on made-up nodes of which some are bad, and may be run again. Lines
stand on a short clock of their own, seconds that a demonstration lasts; how long the job ran the scheduler says apart,
as no demonstration lasts for hours. The same seed makes the same jobs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from string import Template
from typing import Annotated, Final, Literal

import msgspec
import yaml

from analytics.gpu.attempts import Outcome

_FILE: Final = Path(__file__).with_suffix(".yaml")
NODES: Final = tuple(f"synthetic-gpu-{number:02d}" for number in range(1, 13))
_GPUS_OF_A_NODE: Final = 8
_USERS: Final = ("ana", "bo", "chen", "dora", "emre")
_QUEUES: Final = ("batch", "interactive")
#: Ranks whose logs are kept; launchers keep few of them, too.
_RANKS_WITH_LOGS: Final = 4
_MOST_ATTEMPTS: Final = 3
#: Share of failures that are run again.
_SHARE_RUN_AGAIN: Final = 0.6
_SHORTEST_S, _LONGEST_S = 4.0, 9.0
_PAUSE_S: Final = 3.0
_KERNEL: Final = "kernel"

_To = Literal["failing", "others", "first", "kernel"]


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What some logs get to hold."""

    to: _To
    lines: str
    after_s: Annotated[float, msgspec.Meta(ge=0, le=10)] = 0.2


class Story(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a job ends; the fields are told in made_up_jobs.yaml."""

    id: str
    reason: str | None
    often: Annotated[int, msgspec.Meta(ge=1)]
    gpus: Annotated[tuple[int, ...], msgspec.Meta(min_length=1)]
    hours: tuple[float, float]
    says: tuple[Said, ...]
    outcome: Outcome = "failed"
    exit_code: int = 1
    signal: int = 0
    repeats: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    nodes: tuple[Annotated[int, msgspec.Meta(ge=1, le=len(NODES))], ...] = ()


class _Stories(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    chatter: tuple[str, ...]
    kernel_chatter: tuple[str, ...]
    stories: tuple[Story, ...]


@dataclass(frozen=True, slots=True)
class MadeUpLine:
    """A line, seconds after the beginning, in the log of a rank of a job, or in the kernel's log of a node.

    Attributes:
        rank: None of a kernel's log.
    """

    at_s: float
    node: str
    rank: int | None
    text: str


@dataclass(frozen=True, slots=True)
class MadeUpAttempt:
    """One run of a made-up job.

    Attributes:
        story: by its id. reason: what a diagnosis should say; "" of one that passed, None where no rule can know.
        begins_s, ends_s: when it writes, seconds after the beginning.
        ran_s: how long it ran, as the scheduler tells; of first attempts longer than they write.
        exit_code, signal: of its end.
        lines: by time.
    """

    job: str
    number: int
    user: str
    queue: str
    nodes: tuple[str, ...]
    gpus: int
    story: str
    reason: str | None
    outcome: Outcome
    exit_code: int
    signal: int
    begins_s: float
    ends_s: float
    ran_s: float
    lines: tuple[MadeUpLine, ...]


@cache
def stories() -> tuple[Story, ...]:
    """All that may happen to a job."""
    return _told().stories


def made_up_attempts(jobs: int, seed: int, every_s: float, prefix: str = "synthetic") -> list[MadeUpAttempt]:
    """The runs of so many jobs, one of which begins every `every_s` seconds; by when they begin.

    Args:
        prefix: of the jobs' names; it changes nothing else.
    """
    found = [
        attempt
        for place in range(jobs)
        for attempt in made_up_job(f"{prefix}-{place:04d}", place * every_s, seed * 1_000_003 + place)
    ]
    return sorted(found, key=lambda attempt: (attempt.begins_s, attempt.job))


def made_up_job(job: str, begins_s: float, seed: int) -> Iterator[MadeUpAttempt]:
    """A job's attempts, as long as somebody runs it again."""
    random = Random(seed)
    told = _told().stories
    story = random.choices(told, [one.often for one in told])[0]
    user, queue, gpus = random.choice(_USERS), random.choice(_QUEUES), random.choice(story.gpus)
    for number in range(1, _MOST_ATTEMPTS + 1):
        attempt = _run(random, story, job, number, user, queue, gpus, begins_s)
        yield attempt
        if attempt.outcome == "passed" or random.random() > _SHARE_RUN_AGAIN:
            return
        if random.random() > story.repeats:
            story = told[0]
        begins_s = attempt.ends_s + _PAUSE_S


@cache
def _told() -> _Stories:
    return msgspec.convert(yaml.safe_load(_FILE.read_text(encoding="utf-8")), _Stories)


def _run(
    random: Random, story: Story, job: str, number: int, user: str, queue: str, gpus: int, begins_s: float
) -> MadeUpAttempt:
    nodes = _nodes(random, story, gpus)
    ranks = _ranks(gpus, nodes)
    lasts_s = random.uniform(_SHORTEST_S, _LONGEST_S)
    lines = [*_chatter(random, ranks, begins_s, lasts_s), *_end(random, story, job, ranks, begins_s + lasts_s)]
    lines.sort(key=lambda line: line.at_s)
    ends_s = lines[-1].at_s + 0.1
    passed = story.outcome == "passed"
    return MadeUpAttempt(
        job=job,
        number=number,
        user=user,
        queue=queue,
        nodes=nodes,
        gpus=gpus,
        story=story.id,
        reason=story.reason,
        outcome=story.outcome,
        exit_code=0 if passed else story.exit_code,
        signal=story.signal,
        begins_s=begins_s,
        ends_s=ends_s,
        ran_s=round(3600 * random.uniform(*story.hours)) if number == 1 else ends_s - begins_s,
        lines=tuple(lines),
    )


def _nodes(random: Random, story: Story, gpus: int) -> tuple[str, ...]:
    """Distinct ones, the failing one first."""
    bad = {number for one in stories() for number in one.nodes}
    good = [name for number, name in enumerate(NODES, 1) if number not in bad]
    first = [NODES[random.choice(story.nodes) - 1]] if story.nodes else []
    wanted = max(1, gpus // _GPUS_OF_A_NODE)
    return (*first, *random.sample(good, wanted - len(first)))


def _ranks(gpus: int, nodes: Sequence[str]) -> list[tuple[int, str]]:
    """(rank, its node) of those whose logs are kept: as many of each node."""
    of_each = gpus // len(nodes)
    kept = max(1, _RANKS_WITH_LOGS // len(nodes))
    return [(place * of_each + rank, node) for place, node in enumerate(nodes) for rank in range(min(kept, of_each))]


def _chatter(random: Random, ranks: Sequence[tuple[int, str]], begins_s: float, lasts_s: float) -> Iterator[MadeUpLine]:
    told = _told()
    for rank, node in ranks:
        at_s = begins_s
        while at_s < begins_s + lasts_s:
            yield MadeUpLine(at_s, node, rank, _filled(random, random.choice(told.chatter), rank=rank))
            at_s += random.uniform(0.3, 1.2)
    at_s = begins_s + random.uniform(0, lasts_s)
    yield MadeUpLine(at_s, ranks[0][1], None, _filled(random, random.choice(told.kernel_chatter)))


def _end(random: Random, story: Story, job: str, ranks: Sequence[tuple[int, str]], at_s: float) -> Iterator[MadeUpLine]:
    """What the story says; where a node is bad, the failing rank is one of it."""
    failing = random.choice([one for one in ranks if one[1] == ranks[0][1]])
    known = {"bus": random.choice(("1b", "3d", "9c", "dd")), "pid": random.randint(10_000, 60_000), "job": job}
    others = [one for one in ranks if one != failing]
    places: dict[_To, list[tuple[int | None, str]]] = {
        "failing": [failing], "others": [*others], "first": [ranks[0]], "kernel": [(None, failing[1])],
    }  # fmt: skip
    for said in story.says:
        at_s += said.after_s
        for rank, node in places[said.to]:
            where = {"rank": rank, "gpu": (rank or 0) % _GPUS_OF_A_NODE, "node": node}
            for place, text in enumerate(_filled(random, said.lines, **known, **where).splitlines()):
                yield MadeUpLine(at_s + place * 0.001, node, rank, text)


def _filled(random: Random, text: str, **known: object) -> str:
    return Template(text).substitute(n=random.randint(10, 99), **known)
