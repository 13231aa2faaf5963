"""Should this job run again? One answer in the scheduler's words, with its probability and the reasons for it.

A retry is worth it where what it may save outweighs what it may lose. What it may lose is the run time up to the
same failure; what it may save is a person's delay until the job comes back (`handback_h`). So the probability that is
wanted rises with the run time:

    wanted = run time / (run time + handback_h), at least `least`, at most `most`

The model alone never stops a job. Beside a low probability it takes a second ground: the rule that found the reason
says never, or the failure has come back after a retry in this very chain. Ceilings on attempts and on GPU hours lost
stop a job by themselves. Some retries that look hopeless and cost little are made all the same, so that outcomes keep
coming; which ones is drawn from seed, job and attempt, so that the same question gets the same answer.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from analytics.errors import DataError
from analytics.gpu.attempts import Attempt
from analytics.gpu.retry_features import Situation, failed, same_root, situation
from analytics.gpu.retry_model import Estimate, RetryModel
from analytics.gpu.signatures import Reaction
from analytics.gpu.taxonomy import taxonomy

Ground = Literal["rule", "repeated", "attempts", "gpu_hours"]

#: Reasons that can be a node's own doing: failures with them count against it.
NODE_REASONS: Final = frozenset(name for name, row in taxonomy().items() if row.retry == "other_node")
#: Memory is doubled twice at most: what dies with four times as much has a leak.
MOST_DOUBLINGS: Final = 2
_FIRST_WAIT_S: Final = 60.0
_LONGEST_WAIT_S: Final = 3_600.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds whatever the model thinks.

    Attributes:
        attempts: of one job, the first and those that are missing included; preemptions are counted apart.
        gpu_hours: lost in failed attempts of one job, after which it goes back to its owner.
        handback_h: hours until a job that was handed back comes again: what a retry that succeeds saves.
        least, most: between these lies the probability wanted for a retry.
        explore: share of hopeless retries that are made all the same.
        explore_gpu_hours: only where the run up to the failure took no more than this.
    """

    attempts: int = 4
    gpu_hours: float = 2_000.0
    handback_h: float = 8.0
    least: float = 0.1
    most: float = 0.8
    explore: float = 0.05
    explore_gpu_hours: float = 0.5

    def __post_init__(self) -> None:
        """Refuses what cannot be meant."""
        if self.attempts < 1:
            raise DataError(f"a ceiling of {self.attempts} attempts; want 1 or more")
        for name in ("gpu_hours", "handback_h", "explore_gpu_hours"):
            if not getattr(self, name) >= 0:  # also refuses NaN
                raise DataError(f"{name} is {getattr(self, name)}; want hours, 0 or more")
        if not 0 <= self.least <= self.most <= 1:
            raise DataError(f"wanted between {self.least} and {self.most}; want two probabilities, the lower one first")
        if not 0 <= self.explore <= 0.5:
            raise DataError(f"a share of {self.explore} to explore; want 0 to 0.5")

    def wanted(self, runtime_s: float) -> float:
        """The probability from which on a retry of so long a run is worth it."""
        hours = runtime_s / 3600
        both = hours + self.handback_h
        return max(self.least, min(self.most, hours / both if both else self.most))


@dataclass(frozen=True, slots=True)
class RetryAdvice:
    """The answer for one failed job.

    Attributes:
        decision: `same`: again as it was; `other_node`, `more_mem`, `backoff`: again, so; `never`: hand it back.
        probability: that a retry gets past this failure. wanted: from which on one is worth it.
        prior: before any outcome. outcomes: of this reason that the probability rests on, faded.
        explored: a retry that looks hopeless, made to learn from.
        grounds: what a `never` rests on beside the probability.
        wait_s: before a `backoff`, 0 else. memory_factor: of the memory asked for before, 1 where it stays.
        avoid: nodes that the retry should not go to.
        why: sentences for a person.
    """

    job: str
    number: int
    reason: str
    decision: Reaction
    probability: float
    wanted: float
    prior: float
    outcomes: float
    explored: bool
    grounds: tuple[Ground, ...]
    wait_s: float
    memory_factor: int
    avoid: tuple[str, ...]
    why: tuple[str, ...]
    model: str


_DEFAULTS: Final = Limits()


def advise(
    chain: Sequence[Attempt],
    model: RetryModel,
    limits: Limits = _DEFAULTS,
    rule: Reaction | None = None,
) -> RetryAdvice:
    """What to do about a job whose last attempt failed.

    Args:
        chain: all its attempts that are known, in order.
        rule: reaction of the rule that found the reason; the taxonomy's where None.
    Raises:
        DataError: the chain is empty, or its last attempt did not fail.
    """
    if not chain or not failed(chain[-1]):
        seen_outcome = chain[-1].outcome if chain else "no attempts"
        raise DataError(f"advice was asked for a job with {seen_outcome!r}; want one whose last attempt failed")
    last = chain[-1]
    seen = situation(chain, model.nodes.failures_of_others(last))
    reaction = rule or _default_reaction(seen.reason)
    way = _way(reaction, seen)
    elsewhere = way == "other_node" and bool(last.nodes)
    said = model.estimate(replace(seen, moved=True) if elsewhere else seen)
    wanted = limits.wanted(seen.runtime_s)
    grounds = _grounds(chain, seen, reaction, limits)
    ceiling = "attempts" in grounds or "gpu_hours" in grounds
    unlikely = said.probability < wanted
    stop = ceiling or (unlikely and bool(grounds))
    explored = stop and not ceiling and not last.runtime_unknown() and _explores(seen, model.seed, limits)
    decision: Reaction = "never" if stop and not explored else way
    return RetryAdvice(
        job=last.job,
        number=last.number,
        reason=seen.reason,
        decision=decision,
        probability=said.probability,
        wanted=wanted,
        prior=said.prior,
        outcomes=said.outcomes,
        explored=explored,
        grounds=grounds if decision == "never" else (),
        wait_s=_wait_s(seen) if decision == "backoff" else 0.0,
        memory_factor=2 if decision == "more_mem" else 1,
        avoid=_avoid(chain, seen, model, decision),
        why=tuple(_why(seen, said, wanted, reaction, decision, grounds, explored, limits)),
        model=f"generation {model.generation}, {model.quality.outcomes} outcomes",
    )


def lost_gpu_hours(chain: Sequence[Attempt]) -> float:
    """GPU hours of a job's failed attempts; what preemption took is not the job's doing."""
    lost = (attempt for attempt in chain if failed(attempt) and attempt.outcome != "preempted")
    return sum(attempt.runtime_s() * attempt.gpus for attempt in lost) / 3600


def _default_reaction(reason: str) -> Reaction:
    row = taxonomy().get(reason)
    return "same" if row is None else row.retry


def _way(reaction: Reaction, seen: Situation) -> Reaction:
    """How a retry would be made."""
    if reaction == "other_node" and seen.other_nodes:
        return "same"  # the same root on other nodes: it is not the node
    if reaction == "more_mem" and seen.repeats >= MOST_DOUBLINGS:
        return "same"
    return "same" if reaction == "never" else reaction


def _grounds(chain: Sequence[Attempt], seen: Situation, reaction: Reaction, limits: Limits) -> tuple[Ground, ...]:
    found: list[Ground] = []
    preempted = chain[-1].outcome == "preempted"  # preemptions have a ceiling of their own
    missing = max(0, chain[-1].number - len(chain))  # nobody knows how they ended: a ceiling counts them
    if missing + sum((attempt.outcome == "preempted") == preempted for attempt in chain) >= limits.attempts:
        found.append("attempts")
    if lost_gpu_hours(chain) >= limits.gpu_hours:
        found.append("gpu_hours")
    if reaction == "never":
        found.append("rule")
    if seen.repeats:
        found.append("repeated")
    return tuple(found)


def _explores(seen: Situation, seed: int, limits: Limits) -> bool:
    if seen.runtime_s * (seen.gpus or 1.0) > limits.explore_gpu_hours * 3600:
        return False
    text = f"{seed}\n{seen.job}\n{seen.number}".encode("utf-8", "surrogatepass")
    drawn = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") / 2**64
    return drawn < limits.explore


def _wait_s(seen: Situation) -> float:
    """Doubles with each repetition, up to an hour."""
    return float(min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** min(seen.repeats, 10)))


def _avoid(chain: Sequence[Attempt], seen: Situation, model: RetryModel, decision: Reaction) -> tuple[str, ...]:
    """This chain's nodes with this root, if the retry goes elsewhere, and nodes that failed several jobs lately."""
    last = chain[-1]
    if decision == "never" or last.end_ns is None:
        return ()
    found = dict.fromkeys(model.nodes.to_avoid(NODE_REASONS, last.end_ns))
    if decision == "other_node":
        found = dict.fromkeys((*last.nodes, *found))
    if seen.other_nodes:
        own = {node for each in chain if failed(each) and same_root(last, each) for node in each.nodes}
        found = {node: None for node in found if node not in own}
    return tuple(found)


def _why(
    seen: Situation,
    said: Estimate,
    wanted: float,
    reaction: Reaction,
    decision: Reaction,
    grounds: Sequence[Ground],
    explored: bool,
    limits: Limits,
) -> list[str]:
    hours = seen.runtime_s / 3600
    seen_s = "outcome" if round(said.outcomes) == 1 else "outcomes"
    basis = f"{said.outcomes:.0f} {seen_s} and the prior {said.prior:.2f}" if said.outcomes else "the prior alone"
    what = seen.reason or "this failure, whose reason is unknown,"
    found = [
        (
            f"a retry gets past {what} with probability {said.probability:.2f} ({basis}); "
            f"{wanted:.2f} is wanted for a run of {hours:.2f} h on {seen.gpus:g} GPUs"
        )
    ]
    if seen.repeats:
        where = ", on other nodes too: it is not the node" if seen.other_nodes else ""
        found.append(f"the same failure came {seen.repeats + 1} times in a row{where}")
    if seen.node_failures:
        others = "another job" if seen.node_failures == 1 else f"{seen.node_failures} other jobs"
        found.append(f"{others} failed so on these nodes within a week")
    if decision == "never":
        found += [_GROUNDS[ground].format(limits=limits) for ground in grounds]
    elif explored:
        found.append("it looks hopeless and costs little: tried all the same, to learn from")
    elif said.probability < wanted:
        found.append("it looks unlikely, but nothing else speaks against a retry, and the model alone stops no job")
    elif reaction == "never":
        found.append("the rule advises against it, but outcomes say that it pays")
    return found


_GROUNDS: Final = {
    "attempts": "the ceiling of {limits.attempts} attempts is reached",
    "gpu_hours": "the ceiling of {limits.gpu_hours:g} GPU hours lost is reached",
    "rule": "the rule for this reason says that a retry does not help",
    "repeated": "it has come back after a retry before",
}
