"""What was advised about failed attempts, so that it can be shown again and held against what came of it."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from store.gpu_checks import check_row
from store.gpu_tables import NAME_MAX, gpu_advice
from store.texts import is_storable
from store.upsert import insert

_T = gpu_advice


@dataclass(frozen=True, slots=True, kw_only=True)
class AdviceRow:
    """Advice about one attempt; `body` is all of it as JSON, `model_generation` None where no model had a say."""

    job: str
    number: int
    given_ns: int
    decision: str
    probability: float
    model_generation: int | None = None
    body: str


def put_advice(connection: sa.Connection, row: AdviceRow) -> None:
    """Keep advice in place of what was advised about this attempt before.

    Raises:
        GpuRowError: a text or number that cannot be kept.
    """
    values: dict[str, Any] = {name: getattr(row, name) for name in AdviceRow.__slots__}
    check_row(_T, values)
    statement = insert(connection, _T).values(values)
    said = {name: statement.excluded[name] for name in values if name not in ("job", "number")}
    connection.execute(statement.on_conflict_do_update(index_elements=["job", "number"], set_=said))


def advice_of(connection: sa.Connection, job: str, number: int) -> AdviceRow | None:
    """What was advised about this attempt; None: nothing."""
    if not is_storable(job, NAME_MAX):
        return None
    query = sa.select(*(_T.c[name] for name in AdviceRow.__slots__)).where(_T.c.job == job, _T.c.number == number)
    row = connection.execute(query).one_or_none()
    return None if row is None else AdviceRow(**row._asdict())
