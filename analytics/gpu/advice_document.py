"""Advice about many jobs as one document: what it rests on, and the advice; for the command line's JSON and HTTP."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from analytics.gpu.retry_advice import RetryAdvice
from analytics.gpu.retry_model import RetryModel


def advice_document(model: RetryModel, jobs: int, advice: Sequence[RetryAdvice]) -> dict[str, Any]:
    """Advice with the state of the model that gave it.

    Args:
        jobs: how many were looked at; those whose last attempt did not fail get no advice.
    """
    own = model.quality
    return {
        "jobs": jobs,
        "failed": len(advice),
        "state": {
            "generation": model.generation,
            "origin": model.origin,
            "outcomes": own.outcomes,
            "brier": _known(own.model.brier()),
            "prior_brier": _known(own.prior.brier()),
            "auc": _known(own.model.auc()),
            "prior_auc": _known(own.prior.auc()),
        },
        "advice": [asdict(each) for each in advice],
    }


def _known(figure: float) -> float | None:
    return None if math.isnan(figure) else figure
