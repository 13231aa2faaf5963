"""When keys were last used, written down about once a minute by a thread of its own.

Reads never wait for it, and never fail with it: the API needs no right to write, and what cannot be written is logged
once and forgotten. So the time is right to about a minute, and of a process that is killed the last minute is missing.
"""

import logging
import threading

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from store.api_keys import note_uses
from store.refusals import in_short

log = logging.getLogger(__name__)

SAVE_EVERY_S = 60.0
_STOP_WITHIN_S = 0.2


class KeyUses:
    """`note` may be called from any thread; `start` and `close` once each."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._uses: dict[int, int] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="api-key-uses", daemon=True)
        self._writable = True

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def note(self, key_id: int, now_ns: int) -> None:
        """Remember a use; as cheap as a dictionary."""
        with self._lock:
            self._uses[key_id] = now_ns

    def close(self) -> None:
        """Write what is left, unless that takes longer than a stop may."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_WITHIN_S)

    def _run(self) -> None:
        while not self._closing.wait(SAVE_EVERY_S):
            self._save()
        self._save()

    def _save(self) -> None:
        with self._lock:
            uses, self._uses = self._uses, {}
        if not uses:
            return
        try:
            with self._engine.begin() as connection:
                note_uses(connection, uses)
        except SQLAlchemyError as error:
            if self._writable:
                log.warning("last uses of api keys cannot be written, and are forgotten error=%s", in_short(error))
            self._writable = False
        else:
            if not self._writable:
                log.info("last uses of api keys can be written again")
            self._writable = True
