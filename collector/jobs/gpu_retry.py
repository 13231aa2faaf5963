"""The retry model in use, and advice from it: loaded again when another generation is active.

Without a state, or with one that cannot be used, advice rests on the priors alone.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import get_args

import sqlalchemy as sa

from analytics.errors import AnalyticsError
from analytics.gpu.attempts import Attempt
from analytics.gpu.retry_advice import advise
from analytics.gpu.retry_model import RetryModel
from analytics.gpu.retry_state import load_state
from analytics.gpu.signatures import Reaction
from collector import own_metrics
from store.errors import RetryModelError
from store.gpu_advice import AdviceRow
from store.gpu_models import RetryModelRow, active_model, model_data

log = logging.getLogger(__name__)


class RetryShelf:
    """Keeps the model between rounds; used by one thread."""

    def __init__(self) -> None:
        self._digest = ""
        self._model = RetryModel()
        self._usable = True

    def model(self, connection: sa.Connection) -> RetryModel:
        """The active model as this transaction sees it; only to be asked, never to learn."""
        row = active_model(connection)
        digest = "" if row is None else row.digest
        if digest != self._digest:
            self._model, self._usable = RetryModel(), True
            if row is not None:
                self._load(connection, row)
            self._digest = digest
        return self._model

    def advice(self, connection: sa.Connection, chain: Sequence[Attempt], rule: str | None, now_ns: int) -> AdviceRow:
        """What to do about a job whose last attempt failed; `rule` is the reaction of the rule that found why."""
        model = self.model(connection)
        reactions: tuple[Reaction, ...] = get_args(Reaction)
        given = advise(chain, model, rule=next((one for one in reactions if one == rule), None))
        return AdviceRow(
            job=given.job,
            number=given.number,
            given_ns=now_ns,
            decision=given.decision,
            probability=given.probability,
            model_generation=model.generation if self._digest and self._usable else None,
            body=json.dumps(asdict(given)),
        )

    def _load(self, connection: sa.Connection, row: RetryModelRow) -> None:
        loaded = read_model(connection, row)
        self._usable = loaded is not None
        if loaded is not None:
            self._model = loaded


def read_model(connection: sa.Connection, row: RetryModelRow) -> RetryModel | None:
    """The model of a state, one's own to learn with; None where it cannot be used, which is counted and said."""
    try:
        return load_state(model_data(connection, row.generation))
    except (AnalyticsError, RetryModelError) as error:
        own_metrics.gpu_failures.labels("model").inc()
        log.warning(
            "retry model cannot be used, advice rests on priors alone; go back to another generation generation=%d "
            "error=%s",
            row.generation,
            error,
        )
        return None
