"""A lease as one job of one collector holds it: taken, proved in each transaction, lost, given back, and shown.

What a lease is, and why two jobs never work under one: store/leases.py.
"""

import logging
import secrets
import time
from collections.abc import Callable

import sqlalchemy as sa
from prometheus_client import Gauge

from store.errors import LeaseLostError
from store.leases import Lease, give_back, hold_lease, take_lease
from store.refusals import in_short

log = logging.getLogger(__name__)


class HeldLease:
    """The lease `name`, held or not; used by one thread."""

    def __init__(self, engine: sa.Engine, name: str, owner: str, lasts_s: float, shown: Gauge) -> None:
        """`owner` names the collector; two of the same name are told apart. `shown` is 1 while the lease is held."""
        self._engine = engine
        self._name = name
        self._lasts_ns = round(lasts_s * 1e9)
        self._shown = shown
        self._lease: Lease | None = None
        self.owner = f"{owner}-{secrets.token_hex(4)}"

    @property
    def held(self) -> bool:
        """Whether it was ours when that was last asked."""
        return self._lease is not None

    def take(self, beside: Callable[[sa.Connection, bool], None]) -> bool:
        """Take it or keep it; False when it is another collector's.

        Args:
            beside: called in the same transaction, whoever holds the lease, with whether that is this collector.
        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database failed; the lease is not held.
        """
        taken = None
        try:
            with self._engine.begin() as connection:
                taken = take_lease(connection, self._name, self.owner, time.time_ns(), self._lasts_ns)
                beside(connection, taken is not None)
        except BaseException:
            taken = None
            raise
        finally:
            self._now(taken)
        return self.held

    def hold(self, connection: sa.Connection) -> None:
        """Prove and renew it: the first statement of every transaction of the job.

        Raises:
            LeaseLostError: it is another process's, or was not taken; roll back and stop the job.
        """
        if self._lease is None:
            raise LeaseLostError(f"this collector has not the lease of {self._name}; nothing was written")
        hold_lease(connection, self._lease, time.time_ns())

    def lost(self) -> None:
        """It turned out to be another process's."""
        self._now(None)

    def leave(self) -> None:
        """Give it back, so that another collector need not wait for it to run out."""
        lease = self._lease
        self._now(None)
        if lease is None:
            return
        try:
            with self._engine.begin() as connection:
                give_back(connection, lease)
        except sa.exc.SQLAlchemyError as error:
            log.warning("lease not given back name=%s error=%s; it runs out", lease.name, in_short(error))

    def _now(self, lease: Lease | None) -> None:
        self._lease = lease
        self._shown.set(lease is not None)
