"""`tailwatch ssd export`: drive-days and what became of the drives, as the table that `tailwatch ssd train` reads.

Chunk by chunk, each in a transaction of its own, so memory holds one chunk and no writer waits. The file gets its name
when it is whole.
"""

import argparse
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl
    import sqlalchemy as sa

_EPOCH = dt.date(1970, 1, 1)


def run(args: argparse.Namespace) -> int:
    """Write the table, and say what is in it."""
    from tailwatch.errors import ExportError
    from tailwatch.open_database import open_database
    from tailwatch.settings_flags import loaded_from

    path = Path(args.file)
    if path.suffix != ".parquet":
        raise ExportError(f"{path}: its name ends in {path.suffix or 'nothing'}; .parquet is wanted")
    with open_database(loaded_from(args).settings.database.url, read_only=True) as engine:
        counts = _written(engine, path)
    made_up = f"; {counts['synthetic']:,} drives are SYNTHETIC: made up by a generator" if counts["synthetic"] else ""
    wrote = f"{counts['days']:,} drive-days of {counts['drives']:,} drives, {counts['failed']:,} failed"
    print(f"wrote {path}: {wrote}{made_up}")
    return 0


def _written(engine: "sa.Engine", path: Path) -> dict[str, int]:
    import polars as pl
    from polars.io.plugins import register_io_source

    from tailwatch.errors import ExportError

    counts = {"days": 0, "drives": 0, "failed": 0, "synthetic": 0}

    def source(*_: object) -> "Iterator[pl.DataFrame]":
        for part in _tables(engine):
            counts["days"] += int((part["readings"] > 0).sum())
            counts["drives"] += part["drive"].n_unique()
            counts["failed"] += int(part["failure"].sum())
            counts["synthetic"] += part.filter("synthetic")["drive"].n_unique()
            yield part

    partial = path.with_name(f"{path.name}.partial")
    try:
        register_io_source(source, schema=_schema()).sink_parquet(partial, compression="zstd", mkdir=False)
        partial.replace(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ExportError(f"{path} cannot be written: {str(error).splitlines()[0]}") from error
    finally:
        partial.unlink(missing_ok=True)
    return counts


def _tables(engine: "sa.Engine") -> "Iterator[pl.DataFrame]":
    """The drive-days of each chunk, with `failure` and `synthetic`."""
    from store.drives import chunk_rows, chunks

    with engine.connect() as connection:
        known = chunks(connection)
    for chunk in known:
        with engine.connect() as connection:
            yield _table(connection, chunk, {row.id: row for row in chunk_rows(connection, chunk)})


def _table(connection: "sa.Connection", chunk: int, drives: dict[int, Any]) -> "pl.DataFrame":
    import polars as pl

    from analytics.ssd.columns import DAYS, FLAGS, SYNTHETIC_FAMILY
    from store.drive_actions import failures
    from store.drive_days import read_days

    days = read_days(connection, chunk, dt.date.min, dt.date.max, DAYS)
    failed = {drives[number].drive: _EPOCH + dt.timedelta(days=day) for number, day in failures(connection, drives)}
    dead = pl.DataFrame(
        {"drive": list(failed), "day": list(failed.values())}, schema={"drive": pl.String, "day": pl.Date}
    )
    # A drive that was found dead said nothing on that day: its failure is a row of its own, with no values.
    silent = dead.join(days, on=["drive", "day"], how="anti")
    rows = {row.drive: row for row in drives.values()}
    texts = {name: [getattr(rows[drive], name) for drive in silent["drive"]] for name in _TEXTS}
    added = silent.with_columns(
        *(pl.Series(name, values, pl.String) for name, values in texts.items()),
        pl.lit(0, pl.Int64).alias("readings"),
        *(pl.lit(value=False).alias(name) for name in FLAGS),
    )
    days = pl.concat([days, added], how="diagonal").sort("drive", "day")
    marks = dead.with_columns(failure=pl.lit(1, pl.Int64))
    # The database knows of drives that were made up; their family may say so too, or be anything.
    made_up = pl.Series([row.drive for row in rows.values() if row.synthetic], dtype=pl.String)
    return days.join(marks, on=["drive", "day"], how="left", maintain_order="left").with_columns(
        pl.col("failure").fill_null(0),
        synthetic=pl.col("drive").is_in(made_up.implode()) | pl.col("family").eq_missing(SYNTHETIC_FAMILY),
    )


_TEXTS = ("node", "rack", "model", "vendor", "family", "firmware", "kind")


def _schema() -> "dict[str, pl.DataType]":
    import polars as pl

    from analytics.ssd.columns import DAYS

    return {**DAYS, "failure": pl.Int64(), "synthetic": pl.Boolean()}
