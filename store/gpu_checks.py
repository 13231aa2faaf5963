"""What rows about jobs on GPUs may hold: refused here, with the field's name, is what a database would choke on."""

import math
from typing import Final

from store.errors import GpuRowError
from store.gpu_tables import NAME_MAX
from store.texts import is_storable

_BIGGEST: Final = 2**31 - 1
_LATEST_NS: Final = 2**63 - 1


def check_name(field: str, name: str, at_least: int = 0) -> None:
    """A name that can be stored as it is; see texts.storable_name.

    Raises:
        GpuRowError: it is too short or too long, or has NUL or lone surrogates.
    """
    if len(name) < at_least or not is_storable(name, NAME_MAX):
        raise GpuRowError(
            f"{field} holds {name[:80]!r} ({len(name)} characters); "
            f"want {at_least} to {NAME_MAX}, without NUL or lone surrogates"
        )


def check_key(job: str, number: int) -> None:
    """Which attempt a row is about.

    Raises:
        GpuRowError: no job, a name that cannot be stored, or a number below 1.
    """
    check_name("job", job, at_least=1)
    check_whole("number", number, least=1)


def check_whole(field: str, value: int | None, least: int = -_BIGGEST, most: int = _BIGGEST) -> None:
    """A whole number of the column's range.

    Raises:
        GpuRowError: it is outside.
    """
    if value is not None and not least <= value <= most:
        raise GpuRowError(f"{field} is {value}; want {least} to {most}")


def check_time(field: str, time_ns: int | None) -> None:
    """A time, or none.

    Raises:
        GpuRowError: it lies before 1970 or after 2262.
    """
    check_whole(field, time_ns, 0, _LATEST_NS)


def check_number(field: str, value: float | None) -> None:
    """A number of 0 or more: SQLite makes NULL of NaN.

    Raises:
        GpuRowError: it is NaN, infinite or negative.
    """
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise GpuRowError(f"{field} is {value}; want a number, 0 or more")


def check_json(field: str, text: str, at_most: int) -> None:
    """JSON that can be stored as it is.

    Raises:
        GpuRowError: it is too long, or has NUL or lone surrogates that are not escaped.
    """
    if not is_storable(text, at_most):
        raise GpuRowError(
            f"{field} has {len(text)} characters; want JSON of at most {at_most}, NUL and lone surrogates escaped"
        )
