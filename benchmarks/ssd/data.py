"""What is measured on: real disks and real symptoms where TAILWATCH_TEST_DATA leads to them, and made-up fleets."""

import os
from pathlib import Path

import polars as pl

from analytics.ssd.symptom_tables import SymptomVectors, bundled_symptoms, symptoms_from
from analytics.ssd.tables import read_file

REAL_VARIABLE = "TAILWATCH_TEST_DATA"
DISKS = Path("ssd") / "backblaze_2013-04-10_2013-05-19.parquet"
TICKETS = Path("ssd") / "ssd_failure_tag.csv.gz"


def real_file(name: Path) -> tuple[Path | None, str]:
    """The file, or None and a sentence that says what to do."""
    folder = os.environ.get(REAL_VARIABLE)
    path = Path(folder) / name if folder else None
    if path is None or not path.is_file():
        return None, f"skipped: {REAL_VARIABLE} names no folder with {name}"
    return path, ""


def real_disks(healthy: int) -> tuple[tuple[pl.DataFrame, pl.DataFrame] | None, str]:
    """Drive-days and failures of the real hard disks, of those without a failure one in `healthy`; else why not."""
    path, why = real_file(DISKS)
    if path is None:
        return None, why
    days, failures = read_file(path)
    if healthy > 1:
        drives = days.select("drive").unique().sort("drive").gather_every(healthy)
        kept = pl.concat([drives["drive"], failures["drive"]]).unique()
        days = days.filter(pl.col("drive").is_in(kept.implode()))
    return (days, failures), ""


def real_symptoms(count_183_twice: bool = False) -> tuple[SymptomVectors, str]:
    """Symptoms of failed drives: the real vectors, or the bundled ones and why."""
    path, why = real_file(TICKETS)
    if path is None:
        return bundled_symptoms(), why
    return symptoms_from(path, count_183_twice), ""
