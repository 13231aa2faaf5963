"""The model that a command of `tailwatch ssd` was given, and what drives are ranked by."""

from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from analytics.errors import ModelFileError, ModelMismatchError
from analytics.ssd.fleet_reference import FleetReference, fleet_references

if TYPE_CHECKING:
    from analytics.ssd.model import Model

#: Tables are of one day in seven, and each of a week.
_REFERENCE_D = 21


def model_of(path: str | None) -> "Model | None":
    """The model in a file; None where none was named.

    Raises:
        ModelFileError, ModelMismatchError: the file is none of this release; the message names it.
    """
    return None if path is None else read_model(path)[1]


def read_model(path: str) -> "tuple[bytes, Model]":
    """The bytes of a model file, and the model.

    Raises:
        ModelFileError, ModelMismatchError: the file is none of this release; the message names it.
    """
    from analytics.ssd.model_file import MOST_BYTES, load_model

    with Path(path).open("rb") as file:
        data = file.read(MOST_BYTES + 1)  # a table given by mistake may have gigabytes
    try:
        return data, load_model(data)
    except (ModelFileError, ModelMismatchError) as error:
        raise type(error)(f"{path}: {error}") from error


def reference_of(fleet: pl.DataFrame, first: date) -> FleetReference:
    """The tables that drives of a fleet are ranked by from `first` on; older days than they need are left out."""
    return fleet_references(fleet.filter(pl.col("day") > first - timedelta(days=_REFERENCE_D)))
