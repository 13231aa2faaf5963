"""What the runtime tells the executor and hears of it, epoch by epoch; the words both share.

A query's chain has M operators: its row stages and the aggregate, numbered 1..M. Before operator i stands control proxy
i, which sends the share p_i of the records that reach it into the operator and drains the others at cut i - 1. Of the
records offered to proxy 1, e_i = p_1 * ... * p_i is the part still here after proxy i (before any operator filters).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, TypeAlias

from agents.cost_model import Prices, QueryCosts

# p_1..p_M, each in [0, 1]
Shares: TypeAlias = tuple[float, ...]
Policy: TypeAlias = Literal["adaptive", "all-sp", "all-src", "filter-src", "best-op", "lb-dp"]
State: TypeAlias = Literal["startup", "probe", "profile", "adapt"]

POLICIES: Final[tuple[Policy, ...]] = ("adaptive", "all-sp", "all-src", "filter-src", "best-op", "lb-dp")


@dataclass(frozen=True, slots=True)
class Decision:
    """What the proxies do in the next epoch, by query version; a version that is not named drains everything.

    Attributes:
        shares: what each proxy sends on.
        fallback: the shares from the moment on that the epoch's allowance is used up; records that `shares` would
            have sent on and these do not count as overflow. It is the cheapest vector in CPU, not always zeros:
            where an operator costs less than shipping what it saves, it runs all the same.
        profile: measure this epoch: every operator gets a probe share, records at each cut are encoded on trial.
        sampled: the share of live records that is taken in at all; below 1 only while the breaker samples.
    """

    shares: Mapping[str, Shares] = field(default_factory=dict)
    fallback: Mapping[str, Shares] = field(default_factory=dict)
    profile: bool = False
    sampled: float = 1.0


@dataclass(slots=True)
class ProxyCounts:
    """One query's records in one epoch, by proxy: reached = local + drained + overflowed, in place i - 1 for proxy i.

    `overflowed` records are drained too, but because the allowance was used up; `crowded` ones because the keys held
    have reached the bound on memory (last proxy only).
    """

    reached: list[int]
    local: list[int]
    overflowed: list[int]
    crowded: int = 0
    sampled_out: int = 0

    @staticmethod
    def zeros(operators: int) -> "ProxyCounts":
        """Nothing yet."""
        return ProxyCounts([0] * operators, [0] * operators, [0] * operators)


@dataclass(frozen=True, slots=True)
class EpochSeen:
    """What one epoch was like.

    Attributes:
        cpu_s: CPU that the whole agent took, its child processes included, with shipping counted in the epoch whose
            records it ships and not in that of the checkpoint.
        budget_s: CPU that it was given.
        counts: by query version.
        costs: what a profile found, by query version; None in epochs without one. A query without records in that
            epoch is left out.
        unpaced: versions whose records can wait: files without a rate, read only as far as the allowance lasts. What
            they take is no measure of the load, so they get the shares with fewest bytes and no part of the budget.
        wire_bytes: encoded for the wire, by query version, partials and drained rows; may come in bursts. None if
            it is not known.
        length_epochs: how long it was, in epochs as they are set: one that was held up is longer. CPU, budget and
            counts are of that length.
        overruled: the breaker held the proxies in this epoch: nothing is to be learned about the shares decided.
        prices: of shipping, by query version, where a checkpoint has told since the last epoch.
        owed_s: how much of `cpu_s` is for shipping that is still to come, by its price; None if that is not known.
    """

    cpu_s: float
    budget_s: float
    counts: Mapping[str, ProxyCounts]
    costs: Mapping[str, QueryCosts] | None = None
    unpaced: frozenset[str] = frozenset()
    wire_bytes: Mapping[str, float] | None = None
    overruled: bool = False
    length_epochs: float = 1.0
    prices: Mapping[str, Prices] | None = None
    owed_s: float | None = None


class Allowance(Protocol):
    """The CPU left in the running epoch, as the executor asks for it before each batch of each query."""

    def left_s(self) -> float:
        """CPU seconds; 0 or less: overflow from here on."""
        ...

    def owe(self, cpu_s: float) -> None:
        """What was just gathered will cost so much to ship at the next checkpoint."""
        ...
