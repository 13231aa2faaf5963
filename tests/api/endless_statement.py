"""A statement of SQLite that never ends by itself, and says when it runs: only then can it be interrupted."""

import threading

import sqlalchemy as sa

_ENDLESS = "WITH RECURSIVE n(i) AS (SELECT say_begun() UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


class EndlessStatement:
    """`begun` is set by the statement itself: an interrupt before that would hit nothing, and be forgotten."""

    def __init__(self) -> None:
        self.begun = threading.Event()

    def run(self, connection: sa.Connection) -> None:
        """Returns only by what interrupts it."""
        connection.connection.dbapi_connection.create_function("say_begun", 0, self._say_begun)
        connection.exec_driver_sql(_ENDLESS)

    def _say_begun(self) -> int:
        self.begun.set()
        return 1
