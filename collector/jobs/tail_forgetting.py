"""Which requests, minutes and runs of services are deleted: after everything else, a few rows at a time."""

import logging
from typing import Final

import sqlalchemy as sa

from collector.jobs.config import TailConfig
from collector.jobs.pace import Pace, until_none
from collector.jobs.tail_waiting import read_unlearned, write_unlearned
from store.tail_retention import forget_services
from store.tail_services import list_services

log = logging.getLogger(__name__)

_DAY_NS: Final = 86_400 * 10**9


def forget_old(engine: sa.Engine, config: TailConfig, trusted_ns: int, pace: Pace) -> None:
    """Delete what the settings keep no longer, by a clock that is not ahead.

    Raises:
        LeaseLostError, sqlalchemy.exc.SQLAlchemyError: what was deleted is gone, the rest is due.
    """
    batches_before_ns = trusted_ns - config.keep_days * _DAY_NS
    before_ns = trusted_ns - config.keep_minutes_days * _DAY_NS

    def delete(connection: sa.Connection) -> int:
        return forget_services(connection, batches_before_ns=batches_before_ns, before_ns=before_ns)

    if gone := until_none(engine, delete, pace):
        log.info("forgotten of services: rows=%d", gone)
    with engine.connect() as connection:
        known = {row.service for row in list_services(connection)}
        unknown = sorted(read_unlearned(connection).keys() - known)
    if unknown:
        with engine.begin() as connection:
            pace.hold(connection)
            write_unlearned(connection, dict.fromkeys(unknown, 0), trusted_ns)
