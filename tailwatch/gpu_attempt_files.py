"""Attempts of jobs as the commands of `tailwatch gpu` are given them: a file of any known form, or standard input."""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import polars as pl

STANDARD_INPUT: Final = "-"


def read_attempts(file: str) -> "pl.DataFrame":
    """The attempts as rows (analytics.gpu.traces.columns.ATTEMPTS), read as any trace is.

    Raises:
        analytics.errors.DataError: no known form, or a cell that cannot be used.
    """
    from analytics.errors import DataError
    from analytics.gpu.traces.formats import read_trace

    if file != STANDARD_INPUT:
        return read_trace(Path(file)).attempts
    with tempfile.TemporaryDirectory() as folder:  # readers look at the beginning first, then read from there
        path = Path(folder) / "attempts"
        with path.open("wb") as kept:
            shutil.copyfileobj(sys.stdin.buffer, kept)
        try:
            return read_trace(path).attempts
        except DataError as error:
            raise DataError(str(error).replace(str(path), "standard input")) from error
