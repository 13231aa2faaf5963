"""Which drive-days, drives and models the job deletes, and that nobody waits for it: a few rows a transaction.

Done at the end of a round, after everything else. Days go first, since a drive only goes when none of its days is left.
"""

import logging
from typing import Final

import sqlalchemy as sa

from collector.jobs.config import DrivesConfig
from collector.jobs.drive_intake import DAYS_SCOPE, day_of
from collector.jobs.pace import Pace, until_none
from store.drive_days import delete_days
from store.drive_progress import forget_progress
from store.drive_retention import forget_drives, forget_models

log = logging.getLogger(__name__)

_DAY_NS: Final = 86_400 * 10**9


def forget_old(engine: sa.Engine, config: DrivesConfig, today: int, pace: Pace) -> None:
    """Delete what the settings keep no longer, as of `today` (days since 1970, by a clock that is not ahead).

    Raises:
        LeaseLostError, sqlalchemy.exc.SQLAlchemyError: what was deleted is gone, the rest is due.
    """
    oldest = today - config.keep_days

    def days(connection: sa.Connection) -> int:
        forget_progress(connection, DAYS_SCOPE, oldest)
        return delete_days(connection, day_of(oldest))

    def old_drives(connection: sa.Connection) -> int:
        return forget_drives(connection, today - config.forget_after_days)

    def models(connection: sa.Connection) -> int:
        return forget_models(connection, (today - config.keep_models_days) * _DAY_NS)

    until_none(engine, days, pace)
    forgotten = until_none(engine, old_drives, pace), until_none(engine, models, pace)
    if any(forgotten):
        log.info("forgotten of old: drives=%d models=%d", *forgotten)
