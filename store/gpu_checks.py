"""What rows about jobs on GPUs may hold: what a database would choke on or quietly change is refused, by its column.

PostgreSQL refuses NUL and what is too long or too large in the middle of a transaction, and does not say where; SQLite
takes all of that, and makes NULL of NaN. So rows are held against their table before they are written.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

from store.errors import GpuRowError
from store.texts import is_storable

#: More attempts of one job than any scheduler makes; all of a job's are read together.
ATTEMPTS_MAX: Final = 65_535
#: The longest text in a column that sets no limit itself.
TEXT_MAX: Final = 4 * 2**20


def check_row(table: sa.Table, values: Mapping[str, Any]) -> None:
    """Hold values, by column, against a table of jobs: its columns' ranges, a job, an attempt's number, no negatives.

    Raises:
        GpuRowError: the message names the column, what it holds and what is wanted.
    """
    for name, value in values.items():
        column = table.c[name]
        if value is None:
            _want(bool(column.nullable), name, value, "a value")
        elif isinstance(value, str):
            check_text(name, value, getattr(column.type, "length", None) or TEXT_MAX, int(name in ("job", "node")))
        elif isinstance(value, float):
            _want(math.isfinite(value) and value >= 0, name, value, "a number, 0 or more")
        elif isinstance(value, int) and not isinstance(value, bool):
            least, most = _range(column)
            _want(least <= value <= most, name, value, f"{least} to {most}")


def check_text(name: str, text: str, at_most: int, at_least: int = 0) -> None:
    """A text that both databases take as it is; see texts.storable_name for those that are not.

    Raises:
        GpuRowError: it is too short, too long, or has NUL or lone surrogates.
    """
    if len(text) < at_least or not is_storable(text, at_most):
        raise GpuRowError(
            f"{name} holds {text[:80]!r} ({len(text)} characters); "
            f"want {at_least} to {at_most}, without NUL or lone surrogates"
        )


def _range(column: "sa.Column[Any]") -> tuple[int, int]:
    if column.name == "number":
        return 1, ATTEMPTS_MAX
    if column.name in ("exit_code", "signal", "rank"):
        return -(2**31), 2**31 - 1
    return 0, 2**63 - 1 if isinstance(column.type, sa.BigInteger) else 2**31 - 1


def _want(holds: bool, name: str, value: object, wanted: str) -> None:
    if not holds:
        raise GpuRowError(f"{name} is {value!r}; want {wanted}")
