"""Which starts of agents have a spool that was restored from an older disk, and what of theirs is refused.

Judged by the first heartbeat of a start, which is its first frame, and again in the flushes of its first minutes
(store/restored.py). What live sources measured is new in any case and goes on. What replayable sources read was partly
sent before; which part, nobody can tell, so all of it is refused rather than counted twice.
"""

from collections.abc import Callable, Iterable

import sqlalchemy as sa

from collector.errors import UnusableFrameError
from collector.plans import Plans
from store.fleet import sane
from store.restored import Following, restored_among, restored_starts
from wire.frame import Header
from wire.heartbeat import Heartbeat


class SpoolCopies:
    """The verdicts, as far as one partition needs them."""

    def __init__(self, engine: sa.Engine, topic: str, plans: Plans, known: Iterable[tuple[str, str]]) -> None:
        """Read the verdicts that were stored; the starts that are `known` (agent, incarnation) have theirs."""
        self._engine = engine
        self._topic = topic
        self._plans = plans
        # (agent, incarnation) -> the versions that it computes from live sources.
        self._live: dict[tuple[str, str], set[str]] = {}
        self._judged = set(known)
        self.load()

    def load(self) -> None:
        """Read the stored verdicts again."""
        with self._engine.connect() as connection:
            found = restored_starts(connection)
        hashes = {known.version_id: version for version, known in self._plans.versions.items()}
        for key, version_ids in found.items():
            live = {hashes[version_id] for version_id in version_ids if version_id in hashes}
            self._live.setdefault(key, set()).update(live)

    def judge(self, header: Header, beat: Heartbeat, mark_of: Callable[[str, str], int]) -> bool:
        """Whether the start that sends this heartbeat has an older copy of its spool.

        `mark_of` gives the highest sequence of (agent, incarnation) that is known here, flushed or not.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database must be asked and does not answer.
        """
        key = header.agent, header.incarnation
        live = {query.version for query in beat.queries if not query.replayable}
        if key not in self._live and beat.previous_incarnation and key not in self._judged:
            previous = beat.previous_incarnation, beat.previous_sequence
            start = Following(header.agent, header.incarnation, sane(beat.started_ns), *previous)
            if mark_of(header.agent, previous[0]) > previous[1] or self._known(start):
                self._live[key] = set()
            self._judged.add(key)
        if key in self._live:
            self._live[key] |= live
            return True
        return False

    def check(self, header: Header) -> None:
        """Raise for a frame that may hold what was counted before.

        Raises:
            UnusableFrameError: it may; the message says what to do.
        """
        live = self._live.get((header.agent, header.incarnation))
        if live is not None and header.version and header.version not in live:
            raise UnusableFrameError(
                f"frame of {header.agent}, query {header.query!r}: its spool was restored from an older disk, so this "
                "may have been counted already; stop the agent, take the files that were read before out of its "
                "replayable sources, delete its spool and start it again"
            )

    def _known(self, start: Following) -> bool:
        with self._engine.connect() as connection:
            return bool(restored_among(connection, self._topic, [start]))
