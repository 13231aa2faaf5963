"""The fleet as agents are told of it that ask whom to probe: read from the database now and then, for all of them.

An agent that has not been heard of for an hour is left out, and one that was retired: what is known to be down need not
be measured for ever. Shorter silences are what probes are there to explain.
"""

import ipaddress
import logging
import threading
import time
from collections.abc import Callable
from typing import Final

import sqlalchemy as sa

from api.peer_choice import Fleet, Place
from store.agent_status import FleetRow, fleet_statuses
from wire.errors import CorruptFrameError
from wire.status import place_of_text

log = logging.getLogger(__name__)

SILENT_S: Final = 3600
KEPT_S: Final = 30.0


class PeerDirectory:
    """Of one API process."""

    def __init__(self, kept_s: float = KEPT_S, clock: Callable[[], float] = time.monotonic) -> None:
        """The fleet is read again when what was read is older than `kept_s`."""
        self._kept_s = kept_s
        self._clock = clock
        self._lock = threading.Lock()
        self._read: tuple[float, Fleet, dict[str, str]] | None = None

    def fleet(self, connection: sa.Connection, now_ns: int) -> tuple[Fleet, dict[str, str]]:
        """The fleet, and the machine of each agent."""
        with self._lock:  # one request reads it for all that come meanwhile
            if self._read is None or self._clock() >= self._read[0] + self._kept_s:
                rows = list(fleet_statuses(connection, now_ns - SILENT_S * 10**9))
                places = [place for row in rows if (place := _place(row)) is not None]
                machines = {row.agent: row.machine_id for row in rows}
                self._read = self._clock(), Fleet(places), machines
            return self._read[1], self._read[2]


def reachable(place: Place, machine_id: str) -> bool:
    """Whether an agent on that machine can use the address: one that means "this very machine" is for its own only."""
    host = place.address.rpartition(":")[0].strip("[]").lower()
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    return not local or place.machine_id == machine_id


def _place(row: FleetRow) -> Place | None:
    try:
        told = place_of_text(row.body)
    except CorruptFrameError as error:  # written by another release
        log.warning("status cannot be read agent=%s error=%s", row.agent, error)
        return None
    labels = told.labels
    return Place(row.agent, told.probes, labels.rack, labels.tor, labels.dc, row.machine_id)
