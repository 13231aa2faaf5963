"""Which attempts, diagnoses, advice and notes of the job are deleted: after everything else, a few rows at a time."""

import logging
from typing import Final

import sqlalchemy as sa

from collector.jobs.config import GpuConfig
from collector.jobs.gpu_news import HOURS_SCOPE
from collector.jobs.gpu_waiting import PROGRESS
from collector.jobs.pace import Pace, until_none
from store.changes import HOUR_NS
from store.gpu_retention import forget_advice, forget_attempts, forget_failures

log = logging.getLogger(__name__)

_DAY_NS: Final = 86_400 * 10**9


def forget_old(engine: sa.Engine, config: GpuConfig, trusted_ns: int, pace: Pace) -> None:
    """Delete what the settings keep no longer, by a clock that is not ahead.

    Raises:
        LeaseLostError, sqlalchemy.exc.SQLAlchemyError: what was deleted is gone, the rest is due.
    """
    before_ns = trusted_ns - config.keep_days * _DAY_NS
    # Hours that are looked at no more; with a day to spare, so that no clock makes them new again.
    oldest = (trusted_ns - round(config.look_back_s * 1e9) - _DAY_NS) // HOUR_NS
    with engine.begin() as connection:
        pace.hold(connection)
        PROGRESS.forget(connection, HOURS_SCOPE, oldest)
    gone = [
        until_none(engine, lambda connection, delete=delete: delete(connection, before_ns), pace)  # type: ignore[misc]
        for delete in (forget_advice, forget_failures, forget_attempts)
    ]
    if any(gone):
        log.info("forgotten of old GPU jobs: advice=%d failures=%d attempts=%d", *gone)
