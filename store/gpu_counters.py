"""Numbers that count up in the order of commits: whoever has seen one has seen, or can see, all smaller ones.

A number is taken from one row, which stays locked until the taker's transaction ends; the next taker waits there, and
so its numbers, all larger, become visible later. (A sequence of the database gives no such promise: a smaller number
may commit after a larger one was read.) Numbers of a transaction that is rolled back are given out again. Taking them
must be the transaction's first statement, but for a lease: it also takes SQLite's lock, and all lock in one order.
"""

import sqlalchemy as sa

from store.gpu_tables import gpu_counters
from store.upsert import insert

_T = gpu_counters


def take_numbers(connection: sa.Connection, name: str, n: int) -> int:
    """The first of `n` numbers in a row that are this transaction's; others wait for its end to take theirs."""
    statement = insert(connection, _T).values(name=name, value=n)
    taken = statement.on_conflict_do_update(
        index_elements=["name"], set_={"value": _T.c.value + statement.excluded.value}
    )
    last = int(connection.execute(taken.returning(_T.c.value)).scalar_one())
    return last - n + 1


def take_turn(connection: sa.Connection, name: str) -> None:
    """Keep all others who take numbers or turns of this name waiting until this transaction ends."""
    take_numbers(connection, name, 0)
