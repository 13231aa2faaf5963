"""Tables that say which log died of what: read strictly, a fault named with its row and column.

Columns: `file` (relative to the table), `reason`, `category`, `source` (where the log comes from; logs of one source
are held out together); others are passed over.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from typing import get_args

from analytics.errors import DataError
from analytics.gpu.signatures import Category
from analytics.gpu.taxonomy import taxonomy

COLUMNS = ("file", "reason", "category", "source")
_HOSTED = re.compile(r"^(?:https?://)?(?:www\.)?(github\.com/[^/\s]+/[^/\s#?]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Label:
    """One row."""

    file: str
    reason: str
    category: str
    source: str


def read_labels(text: str, name: str) -> tuple[Label, ...]:
    """The rows of a CSV table.

    Args:
        name: what stands before every fault.
    Raises:
        DataError: a column is missing, a cell is empty, a category or reason unknown, a file named twice, or no row.
    """
    reader = csv.DictReader(StringIO(text))
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise DataError(f"{name}: no column {', '.join(missing)}; it has {', '.join(reader.fieldnames or ['none'])}")
    labels: dict[str, Label] = {}
    for row in reader:
        label = _label(row, f"{name}, line {reader.line_num}")
        if label.file in labels:
            raise DataError(f"{name}, line {reader.line_num}: {label.file} stands twice; wanted one row a file")
        labels[label.file] = label
    if not labels:
        raise DataError(f"{name} has no row; wanted one for each labelled log")
    return tuple(labels.values())


def repository_of(source: str) -> str:
    """What is held out together: the repository of an address, else the source as it stands, in small letters."""
    found = _HOSTED.match(source.strip())
    return (found.group(1) if found else source.strip()).lower()


def _label(row: Mapping[str, str | None], where: str) -> Label:
    cells = {}
    for column in COLUMNS:
        cell = (row.get(column) or "").strip()
        if not cell:
            raise DataError(f"{where}: {column} is empty; wanted a value")
        cells[column] = cell
    if cells["category"] not in get_args(Category):
        raise DataError(f"{where}: category {cells['category']!r}; wanted one of {', '.join(get_args(Category))}")
    if cells["reason"] not in taxonomy():
        known = ", ".join(taxonomy())
        raise DataError(f"{where}: reason {cells['reason']!r} is not in the taxonomy; known are {known}")
    return Label(**cells)
