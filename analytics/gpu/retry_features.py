"""What is known of a failed job when somebody has to say whether to run it again, as hashed features.

A chain is all attempts of one job, in order. Two failures of it have the same root if their reasons are the same; where
no reason is known, if their masked texts are; where there is no text either, if they failed after the same run time
(within a tenth or a minute). Nothing here looks at what came after the failure.
"""

import math
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

from analytics.gpu.attempts import Attempt, Outcome

#: Slots that features are hashed into.
SLOTS: Final = 1 << 16
#: Changes with what features are made of; a state of other features is refused.
FEATURES_VERSION: Final = "1"
#: Outcomes after which the question of a retry arises.
FAILED: Final[frozenset[Outcome]] = frozenset({"failed", "timeout", "node_failure", "preempted"})
_OF_OUTCOME: Final[dict[Outcome, str]] = {
    "timeout": "time_limit",
    "node_failure": "node_failure",
    "preempted": "job_preempted",
}
#: Characters of an error's text that are looked at, and words made of them.
_MOST_TEXT: Final = 2_000
_MOST_WORDS: Final = 120
#: Failures of one root before the last that are told apart.
_MOST_REPEATS: Final = 4

_MASKS: Final = (
    (re.compile(r"0x[0-9a-f]+"), " hexmask "),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), " idmask "),
    (re.compile(r"\b[0-9a-f]{12,}\b"), " hexmask "),
    (re.compile(r"\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?::[0-9]{1,5})?\b"), " addressmask "),
    (re.compile(r"(?:/[\w.@+-]+){2,}/?"), " pathmask "),
    (re.compile(r"[0-9]+(?:\.[0-9]+)?"), " numbermask "),
)
_WORD: Final = re.compile(r"[a-z_]{2,}")


@dataclass(frozen=True, slots=True)
class Situation:
    """A failure, and what a retry would be.

    Attributes:
        job, number: of the attempt that failed.
        reason: "" where unknown.
        words: of the masked text.
        repeats: how many failures just before this one had the same root, in this chain.
        other_nodes: whether one of those was on nodes that this failure did not touch.
        runtime_s: how long it ran until it failed.
        gpus, user: of the job.
        node_failures: failures of other jobs with this reason on these nodes, lately.
        moved: whether the retry goes to other nodes; None where that is unknown.
    """

    job: str
    number: int
    reason: str
    words: tuple[str, ...]
    repeats: int
    other_nodes: bool
    runtime_s: float
    gpus: float
    user: str
    node_failures: int
    moved: bool | None = None


def known_reason(attempt: Attempt) -> str:
    """Of the diagnosis; without one what the scheduler's word alone tells; "" where nobody knows."""
    return attempt.reason or _OF_OUTCOME.get(attempt.outcome, "")


def failed(attempt: Attempt) -> bool:
    """Whether an attempt ended in a way that a retry could mend; one that a person ended did not."""
    return attempt.outcome in FAILED


def situation(chain: Sequence[Attempt], node_failures: int = 0) -> Situation:
    """What is known when the last attempt of a chain has failed; `chain` is in order and not empty."""
    last = chain[-1]
    same = _same_root_before(chain)
    return Situation(
        job=last.job,
        number=last.number,
        reason=known_reason(last),
        words=masked_words(last.template),
        repeats=len(same),
        other_nodes=any(each.nodes and last.nodes and not set(each.nodes) & set(last.nodes) for each in same),
        runtime_s=last.runtime_s(),
        gpus=last.gpus,
        user=last.user,
        node_failures=node_failures,
    )


def same_root(one: Attempt, other: Attempt) -> bool:
    """Whether two failures of one job have the same root, by the rule in this module's header."""
    reasons = known_reason(one), known_reason(other)
    if any(reasons):
        return reasons[0] == reasons[1]
    if one.template or other.template:
        return masked_words(one.template) == masked_words(other.template)
    if one.runtime_unknown() or other.runtime_unknown():
        return False
    return abs(one.runtime_s() - other.runtime_s()) <= max(60.0, 0.1 * one.runtime_s())


def features(seen: Situation) -> tuple[tuple[int, ...], float]:
    """Slots in [0, SLOTS), ascending and each once, and the value that all of them have: 1 / sqrt(how many)."""
    slots = tuple(sorted({_slot(name) for name in _names(seen)}))
    return slots, 1.0 / math.sqrt(len(slots))


@lru_cache(maxsize=4096)
def masked_words(text: str) -> tuple[str, ...]:
    """The words of an error's text without numbers, addresses, paths and ids; of a long text its beginning."""
    masked = text[:_MOST_TEXT].lower()
    for pattern, mask in _MASKS:
        masked = pattern.sub(mask, masked)
    return tuple(_WORD.findall(masked)[:_MOST_WORDS])


def _same_root_before(chain: Sequence[Attempt]) -> list[Attempt]:
    """The unbroken run of failures of the last one's root before it; preemptions in between neither count nor break."""
    last = chain[-1]
    found = []
    for earlier in reversed(chain[:-1]):
        if earlier.outcome == "preempted" and last.outcome != "preempted":
            continue
        if not failed(earlier) or not same_root(last, earlier):
            break
        found.append(earlier)
    return found


def _names(seen: Situation) -> Iterator[str]:
    """Features by name. Buckets double, since run times and GPU counts spread over five powers of ten."""
    reason = seen.reason or "-"
    repeats = min(seen.repeats, _MOST_REPEATS)
    runtime = int(math.log2(seen.runtime_s / 60)) if seen.runtime_s > 60 else 0
    gpus = int(math.log2(seen.gpus)) if seen.gpus > 1 else 0
    yield "always"
    yield f"repeats={repeats}"
    yield f"attempt={min(seen.number, 8)}"
    yield f"runtime={runtime}"
    yield f"gpus={gpus}"
    yield f"reason={reason}"
    yield f"reason={reason} repeats={repeats}"
    yield f"reason={reason} runtime={runtime // 2}"
    yield f"reason={reason} gpus={gpus}"
    yield f"node_failures={min(seen.node_failures, 3)}"
    if seen.other_nodes:
        yield "other_nodes"
    if seen.moved is not None:
        yield f"moved={seen.moved}"
        yield f"reason={reason} moved={seen.moved}"
    if seen.user:
        yield f"user={seen.user}"
        yield f"user={seen.user} reason={reason}"
    yield from _of_text(seen.words)


def _of_text(words: Sequence[str]) -> Iterator[str]:
    if words:
        yield "text=" + " ".join(words)
    yield from (f"word={word}" for word in words)
    yield from (f"words={first} {second}" for first, second in pairwise(words))


@lru_cache(maxsize=65_536)
def _slot(name: str) -> int:
    """CRC-32, folded: the same on every machine and in every process, unlike hash()."""
    found = zlib.crc32(name.encode("utf-8", "surrogatepass"))
    return (found ^ found >> 16) % SLOTS
