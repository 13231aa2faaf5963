"""Policies of retrying: what each does with a job that has just failed. All keep to the same ceiling of attempts."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Protocol

from analytics.gpu.attempts import Attempt
from analytics.gpu.retry_advice import Limits, advise
from analytics.gpu.retry_model import RetryModel
from analytics.gpu.retry_outcomes import outcomes
from analytics.gpu.taxonomy import taxonomy

PolicyName = Literal["always", "never", "per_reason", "unlearned", "model"]
POLICIES: Final[tuple[PolicyName, ...]] = ("always", "never", "per_reason", "unlearned", "model")


class Policy(Protocol):
    """What is asked of a policy."""

    def wait_s(self, chain: Sequence[Attempt]) -> float | None:
        """Seconds until the job whose last attempt failed runs again; None hands it back."""

    def ended(self, chain: Sequence[Attempt]) -> None:
        """The last attempt of a chain has ended, however it did; asked before `wait_s`."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """Retries up to a ceiling, whatever the reason: 1 attempt is never, as many as allowed is always."""

    attempts: int

    def wait_s(self, chain: Sequence[Attempt]) -> float | None:
        """At once, or not at all."""
        return 0.0 if len(chain) < self.attempts else None

    def ended(self, chain: Sequence[Attempt]) -> None:
        """Learns nothing."""


@dataclass(frozen=True, slots=True)
class PerReason:
    """Retries up to a ceiling unless the taxonomy says never of the reason: the table of exit reasons in production."""

    attempts: int

    def wait_s(self, chain: Sequence[Attempt]) -> float | None:
        """At once, or not at all."""
        row = taxonomy().get(chain[-1].reason)
        hopeless = row is not None and row.retry == "never"
        return None if hopeless or len(chain) >= self.attempts else 0.0

    def ended(self, chain: Sequence[Attempt]) -> None:
        """Learns nothing."""


@dataclass(slots=True)
class Advised:
    """The retry advice; `learns` False leaves it with the priors, which shows what learning is worth."""

    limits: Limits
    learns: bool
    model: RetryModel = field(default_factory=RetryModel)

    def wait_s(self, chain: Sequence[Attempt]) -> float | None:
        """As advised."""
        advice = advise(chain, self.model, self.limits)
        return None if advice.decision == "never" else advice.wait_s

    def ended(self, chain: Sequence[Attempt]) -> None:
        """Learns whether the last attempt got past the failure of the one before."""
        if not self.learns:
            return
        for outcome in outcomes(chain[-2:] if len(chain) < 3 else chain):
            self.model.learn(outcome.seen, outcome.passed, outcome.learned_from)


def policy(name: PolicyName, limits: Limits, seed: int) -> Policy:
    """A fresh policy. Without learning nothing is explored either: it would only cost."""
    match name:
        case "always":
            return Fixed(limits.attempts)
        case "never":
            return Fixed(1)
        case "per_reason":
            return PerReason(limits.attempts)
        case "unlearned":
            return Advised(replace(limits, explore=0.0), learns=False)
        case "model":
            return Advised(limits, learns=True, model=RetryModel(seed=seed))
