"""Teaching a retry model from whole chains: failures and outcomes in order of time, whatever order jobs come in."""

from collections.abc import Sequence

from analytics.gpu.attempts import Attempt
from analytics.gpu.retry_features import failed
from analytics.gpu.retry_model import RetryModel
from analytics.gpu.retry_outcomes import outcomes


def learn_from(model: RetryModel, jobs: Sequence[Sequence[Attempt]]) -> int:
    """Learn every outcome that was not learned before; returns how many were new.

    Args:
        jobs: chains, each in order of its attempts' numbers. The order of jobs does not matter.
    What nodes did is known up to each failure and no further, as it will be when advice is asked for.
    """
    failures = [attempt for chain in jobs for attempt in chain if failed(attempt) and attempt.end_ns is not None]
    for attempt in sorted(failures, key=lambda each: (each.end_ns or 0, each.job, each.number)):
        model.nodes.add(attempt)
    found = [outcome for chain in jobs for outcome in outcomes(chain, model.nodes)]
    found.sort(key=lambda outcome: (outcome.end_ns, outcome.learned_from))
    return sum(model.learn(outcome.seen, outcome.passed, outcome.learned_from) for outcome in found)
