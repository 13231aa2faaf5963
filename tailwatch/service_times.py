"""Measured service times out of a CSV file, with or without gzip."""

import polars as pl

from analytics.tail.speedup import Float64Array
from tailwatch.errors import ServiceTimesError

_UNITS = {"ms": 1.0, "us": 1e-3, "s": 1e3, "ns": 1e-6}


def read_service_times(path: str) -> Float64Array:
    """Milliseconds, float64[n], of a column called ms, us, s or ns.

    Raises:
        ServiceTimesError: the file cannot be read, has no such column, or a row is no time above 0.
    """
    try:
        rows = pl.read_csv(path, infer_schema_length=None)
    except (OSError, pl.exceptions.PolarsError) as error:
        told = str(error).partition("\n")[0]
        raise ServiceTimesError(f"{path} cannot be read: {told}; want a CSV file with a column ms or us") from error
    named = [name for name in rows.columns if name in _UNITS]
    if len(named) != 1:
        raise ServiceTimesError(
            f"{path} has the columns {', '.join(rows.columns)}; want one of {', '.join(_UNITS)} with service times"
        )
    times = rows[named[0]].cast(pl.Float64, strict=False)
    good = (times.is_finite() & (times > 0)).fill_null(value=False)
    if not rows.height or not good.all():
        row = 0 if not rows.height else int((~good).arg_max() or 0)
        seen = "no rows" if not rows.height else f"{rows[named[0]][row]!r} in row {row + 2}"
        raise ServiceTimesError(f"{path} has {seen}, column {named[0]}; want times above 0")
    return times.to_numpy() * _UNITS[named[0]]
