"""Files of drives as the commands of `tailwatch ssd` want them: drive-days, failures, features, and whether made up."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from analytics.errors import DataError
from analytics.ssd.days import any_synthetic
from analytics.ssd.features import features
from analytics.ssd.fleet_reference import fleet_references
from analytics.ssd.tables import read_file


@dataclass(frozen=True, slots=True)
class DriveData:
    """What a file holds. `synthetic`: any of its drives is made up."""

    days: pl.DataFrame
    failures: pl.DataFrame
    features: pl.DataFrame
    synthetic: bool


def drive_data(path: Path) -> DriveData:
    """Read a file and make features of all its days.

    Raises:
        DataError: not one of the known forms, a cell that cannot be used, or no rows at all.
    """
    days, failures = read_file(path)
    if days.is_empty():
        raise DataError(f"{path} holds no drives: it has columns and no rows")
    made = features(days, failures=failures, reference=fleet_references(days))
    return DriveData(days, failures, made, any_synthetic(days))
