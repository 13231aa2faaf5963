"""How a job gets on with others while it works: a proof of its lease, a rest between transactions, parts left out.

Made by leased_rounds.py; passed to whatever does a part of the work.
"""

from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

Hold = Callable[[sa.Connection], None]
Spare = Callable[[str, Exception], None]


@dataclass(frozen=True, slots=True)
class Pace:
    """`hold` proves the lease in a transaction, `rest` is called between two of them; both may raise to end the round.

    `spare` is told what part of the work cannot be done, and why: the others are, and the round counts as failed.
    """

    hold: Hold
    rest: Callable[[], None]
    spare: Spare


def until_none(engine: sa.Engine, delete: Callable[[sa.Connection], int], pace: Pace) -> int:
    """Transactions of `delete` until there is nothing left to delete; returns how much there was.

    Raises:
        LeaseLostError, sqlalchemy.exc.SQLAlchemyError: what was deleted is gone, the rest is due.
    """
    total = 0
    while True:
        with engine.begin() as connection:
            pace.hold(connection)
            deleted = delete(connection)
        if not deleted:
            return total
        total += deleted
        pace.rest()
