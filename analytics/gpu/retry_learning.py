"""Teaching a retry model from whole chains: failures and outcomes in order of time, whatever order jobs come in."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from analytics.gpu.attempts import Attempt
from analytics.gpu.retry_features import failed
from analytics.gpu.retry_model import RetryModel
from analytics.gpu.retry_nodes import NodeHistory
from analytics.gpu.retry_outcomes import outcomes


def learn_from(model: RetryModel, jobs: Sequence[Sequence[Attempt]]) -> int:
    """Learn every outcome that was not learned before; returns how many were new.

    Args:
        jobs: chains, each in order of its attempts' numbers. The order of jobs does not matter.
    What nodes did is known up to each failure and no further, as it will be when advice is asked for.
    """
    others = _failures_of_others(model.nodes, [attempt for chain in jobs for attempt in chain if failed(attempt)])
    found = [outcome for chain in jobs if chain for outcome in outcomes(chain, others.get(chain[0].job))]
    found.sort(key=lambda outcome: (outcome.end_ns, outcome.learned_from))
    return sum(model.learn(outcome.seen, outcome.passed, outcome.learned_from) for outcome in found)


def _failures_of_others(nodes: NodeHistory, failures: Iterable[Attempt]) -> dict[str, dict[int, int]]:
    """By job and number, what nodes had done by each failure; asked for then, as old failures make room for new ones.

    What ends at one moment is known at once: a node that goes takes all its jobs along.
    """
    found: dict[str, dict[int, int]] = {}
    ended = [attempt for attempt in failures if attempt.end_ns is not None]
    ended.sort(key=lambda each: (each.end_ns or 0, each.job, each.number))
    for _, together in groupby(ended, key=lambda each: each.end_ns):
        attempts = list(together)
        for attempt in attempts:
            nodes.add(attempt)
        for attempt in attempts:
            found.setdefault(attempt.job, {})[attempt.number] = nodes.failures_of_others(attempt)
    return found
