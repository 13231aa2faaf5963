"""The answer for one job: one root cause with its evidence, or that it is unknown, and what that means for a retry."""

from dataclasses import dataclass
from typing import Literal

from analytics.gpu.signatures import Category, Reaction, Role

Status = Literal["answered", "abstained", "no_failure"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A line that speaks for the answer: which rule, in which role, and where it stands."""

    signature: str
    reason: str
    role: Role
    file: str
    number: int
    text: str
    rank: int | None = None
    node: str | None = None
    time_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why a job died.

    Attributes:
        status: `abstained` where something failed and no cause is sure enough; `no_failure` where nothing says so.
        reason, category: None unless answered.
        guess: the best reason found, also when it is not sure enough; None where there is none.
        confidence: calibrated probability that `guess` is right, in [0, 1].
        retry, action: the rule's reaction and advice; None unless answered.
        rank, node: where the root stands, None where unknown.
        evidence: the root first, then what confirms it.
        cascades: what followed from it.
        silent_ranks: ranks that are known and wrote nothing in the window of a collective's timeout.
        template: the masked text of the last error lines, for those that no rule knows; None where a rule answered.
        lines, bytes: how much was read.
        notes: what the reader ought to know, for example that the clocks of two nodes disagree.
    """

    status: Status
    reason: str | None
    category: Category | None
    guess: str | None
    confidence: float
    retry: Reaction | None
    action: str | None
    rank: int | None
    node: str | None
    evidence: tuple[Evidence, ...]
    cascades: tuple[Evidence, ...]
    silent_ranks: tuple[int, ...]
    template: str | None
    lines: int
    bytes: int
    notes: tuple[str, ...] = ()
