"""States of the model behind retry advice, by generation: one is active, earlier ones stay for going back to.

What the bytes mean, and what their digest is, is analytics' affair; a state that is damaged is found when it is loaded.
A line of states does not fork: a new state follows the active one and has the largest generation, so a job that learned
from a state which somebody has gone back behind since is told so, and writes nothing.
"""

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from store.errors import RetryModelError
from store.gpu_counters import take_turn
from store.gpu_tables import gpu_retry_models
from store.postgresql import binary

STATE_MAX_BYTES: Final = 64_000_000
_T = gpu_retry_models
_COUNTER = "retry models"


@dataclass(frozen=True, slots=True)
class RetryModelRow:
    """A state without its bytes.

    Attributes:
        parent: digest of the state that it was learned from, "" of a first one.
        activated_ns: when it last became the active one. note: why it is there, or why somebody went back to it.
    """

    generation: int
    digest: str
    parent: str
    created_ns: int
    active: bool
    activated_ns: int
    note: str
    size_bytes: int


def put_model(
    connection: sa.Connection, generation: int, digest: str, parent: str, data: bytes, note: str, now_ns: int
) -> RetryModelRow:
    """Keep a state and make it the active one. Must come before other writes of models in its transaction.

    Args:
        parent: digest of the state it was learned from, which must be the active one; "" where none is active.
    Raises:
        RetryModelError: another state is active, its generation is not the largest, or it is empty or too large.
    """
    if not 0 < len(data) <= STATE_MAX_BYTES:
        raise RetryModelError(f"a state of {len(data)} bytes; want 1 to {STATE_MAX_BYTES}")
    take_turn(connection, _COUNTER)
    active = active_model(connection)
    if parent != (seen := "" if active is None else active.digest):
        raise RetryModelError(
            f"generation {generation} was learned from {parent or 'no state'}, and the active one is {seen or 'none'}: "
            "somebody went back to another state meanwhile; learn again from that one"
        )
    newest = connection.execute(sa.select(sa.func.max(_T.c.generation))).scalar_one()
    if newest is not None and generation <= newest:
        raise RetryModelError(f"generation {generation} is not the next one; want more than {newest}")
    _retire_active(connection)
    connection.execute(
        sa.insert(_T).values(
            generation=generation,
            digest=digest,
            parent=parent,
            created_ns=now_ns,
            active=True,
            activated_ns=now_ns,
            note=note,
            data=data,
        )
    )
    return _one(connection, generation)


def roll_back(connection: sa.Connection, generation: int, now_ns: int, note: str) -> RetryModelRow:
    """Make a state that is kept the active one again; `note` says why. What is learned next follows it.

    Raises:
        RetryModelError: no such state is kept.
    """
    take_turn(connection, _COUNTER)
    row = _one(connection, generation)
    if row.active:
        return row
    _retire_active(connection)
    connection.execute(
        sa.update(_T).where(_T.c.generation == generation).values(active=True, activated_ns=now_ns, note=note)
    )
    return _one(connection, generation)


def active_model(connection: sa.Connection) -> RetryModelRow | None:
    """The active state without its bytes; cheap, for asking whether it is still the same. None: there is none."""
    row = connection.execute(_rows().where(_T.c.active)).one_or_none()
    return None if row is None else RetryModelRow(**row._asdict())


def model_list(connection: sa.Connection) -> list[RetryModelRow]:
    """All states that are kept, the newest generation first."""
    return [RetryModelRow(**row._asdict()) for row in connection.execute(_rows().order_by(_T.c.generation.desc()))]


def model_data(connection: sa.Connection, generation: int) -> bytes:
    """The bytes of a state.

    Raises:
        RetryModelError: no such state is kept.
    """
    query = sa.select(_T.c.data).where(_T.c.generation == generation)
    data = binary(connection).execute(query).scalar_one_or_none()
    if data is None:
        raise _unknown(connection, generation)
    return bytes(data)


def forget_models(connection: sa.Connection, keep: int, limit: int = 10) -> int:
    """Delete the oldest states, at most `limit`, but never the `keep` newest nor the active one; returns how many."""
    take_turn(connection, _COUNTER)  # nobody goes back to one of them meanwhile
    newest = sa.select(_T.c.generation).order_by(_T.c.generation.desc()).limit(max(keep, 1))
    old = sa.select(_T.c.generation).where(~_T.c.active, _T.c.generation.not_in(newest))
    generations = connection.execute(old.order_by(_T.c.generation).limit(limit)).scalars().all()
    if generations:
        connection.execute(sa.delete(_T).where(_T.c.generation.in_(generations)))
    return len(generations)


def _rows() -> "sa.Select[Any]":
    columns = [_T.c[name] for name in RetryModelRow.__slots__ if name != "size_bytes"]
    return sa.select(*columns, sa.func.length(_T.c.data).label("size_bytes"))


def _one(connection: sa.Connection, generation: int) -> RetryModelRow:
    row = connection.execute(_rows().where(_T.c.generation == generation)).one_or_none()
    if row is None:
        raise _unknown(connection, generation)
    return RetryModelRow(**row._asdict())


def _retire_active(connection: sa.Connection) -> None:
    connection.execute(sa.update(_T).where(_T.c.active).values(active=False))


def _unknown(connection: sa.Connection, generation: int) -> RetryModelError:
    kept = [str(row.generation) for row in model_list(connection)[:20]]
    return RetryModelError(f"there is no state of generation {generation}; kept are {', '.join(kept) or 'none yet'}")
