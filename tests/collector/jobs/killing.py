"""A process that dies between two transactions."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa


class KilledError(BaseException):
    """Nothing catches it, as nothing catches a signal."""


@contextmanager
def killed_at(engine: sa.Engine, commit: int) -> Iterator[None]:
    """The `commit`-th transaction from now on does not come to its end."""
    left = commit

    def count(connection: sa.Connection) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise KilledError

    sa.event.listen(engine, "commit", count)
    try:
        yield
    finally:
        sa.event.remove(engine, "commit", count)
