"""Retry advice over HTTP: chains of stored attempts with what was found of them, and the active state of the model.

A state takes a tenth of a second to load and changes once in a while: it is loaded once and kept until another is the
active one. Advising reads it and never changes it. Without a state, or with one that cannot be used, advice rests on
the priors alone, as that of the collectors' job does.
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import sqlalchemy as sa
from fastapi import Depends
from starlette.requests import Request

from analytics.errors import AnalyticsError
from analytics.gpu.attempts import Attempt
from analytics.gpu.reported import attempt_of
from analytics.gpu.retry_advice import Limits, RetryAdvice, advise
from analytics.gpu.retry_features import failed
from analytics.gpu.retry_model import RetryModel
from analytics.gpu.retry_state import load_state
from analytics.gpu.signatures import Reaction
from store.errors import RetryModelError
from store.gpu_attempts import AttemptRow
from store.gpu_failures import FailureRow
from store.gpu_models import RetryModelRow, active_model, model_data

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ActiveModel:
    """The model that advice comes from; without a stored state, the priors alone."""

    model: RetryModel
    generation: int | None


_PRIORS = ActiveModel(RetryModel(), None)


class ActiveModels:
    """The active state as it was last loaded; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at: tuple[int, str] | None = None
        self._kept = _PRIORS

    def now(self, connection: sa.Connection) -> ActiveModel:
        """What advice comes from now."""
        row = active_model(connection)
        at = None if row is None else (row.generation, row.digest)  # what is gone back to has its old digest
        with self._lock:
            if at != self._at:
                self._kept, self._at = _loaded(connection, row), at
            return self._kept


def chain_of(attempts: Sequence[AttemptRow], failures: Sequence[FailureRow], number: int) -> list[Attempt]:
    """The attempts of a job up to this one, in order, each with what was found of it."""
    found = {row.number: row for row in failures}
    return [attempt_of(row, found.get(row.number)) for row in attempts if row.number <= number]


def advice_for(
    chain: Sequence[Attempt], number: int, active: ActiveModel, limits: Limits, rule: Reaction | None
) -> RetryAdvice | str:
    """The advice about this attempt, the chain's last; in words why there is none, where it is not, or did not fail."""
    if not chain or chain[-1].number != number:
        return f"attempt {number} of the job was not reported; POST /api/v1/gpu/attempts takes it"
    if not failed(chain[-1]):
        return (
            f"attempt {chain[-1].number} of the job is {chain[-1].outcome}: only one that failed can be advised about"
        )
    return advise(chain, active.model, limits, rule)


def _loaded(connection: sa.Connection, row: RetryModelRow | None) -> ActiveModel:
    if row is None:
        return _PRIORS
    try:
        return ActiveModel(load_state(model_data(connection, row.generation)), row.generation)
    except (AnalyticsError, RetryModelError) as error:
        log.warning(
            "retry model cannot be used, advice rests on priors alone; go back to another generation generation=%d "
            "error=%s",
            row.generation,
            error,
        )
        return _PRIORS


def _models(request: Request) -> ActiveModels:
    models: ActiveModels = request.app.state.retry_models
    return models


Advising = Annotated[ActiveModels, Depends(_models)]
