"""Answers as CSV (RFC 4180), and which of the two forms a caller wants: JSON unless CSV was asked for.

One row per group, step and level, so that a spreadsheet or a data frame needs no unpacking; all rows of an answer have
the same columns. Text that a spreadsheet would run as a formula gets an apostrophe in front: label values come from
machines, and the file is opened by people. JSON has every value as it is.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response

from api.errors import ParameterError
from api.responses import JSON, tagged_answer

CSV = "text/csv"
CSV_RESPONSE: dict[int | str, dict[str, Any]] = {
    200: {"content": {CSV: {"schema": {"type": "string"}}}, "description": "JSON, or CSV where that was asked for."}
}
Format = Literal["json", "csv"]
_QUALITY = re.compile(r"\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*")
_FORMULA = re.compile(r"[=+\-@\t\r\n]")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def read_format(request: Request, given: str | None) -> Format:
    """`format` where it is given, else what Accept prefers; of equal preferences JSON, or what is named beside */*.

    Raises:
        ParameterError: a format that is none.
    """
    if given == "json":
        return "json"
    if given == "csv":
        return "csv"
    if given is not None:
        raise ParameterError(f"format={given[:60]!r} is not known; write format=json or format=csv", parameter="format")
    quality = _qualities(",".join(request.headers.getlist("accept")))
    anything = max(quality.get("*/*", 0.0), quality.get("application/*", 0.0))
    as_csv, as_json = quality.get(CSV, quality.get("text/*", 0.0)), quality.get(JSON, 0.0)
    return "csv" if as_csv > as_json and as_csv >= anything else "json"


def csv_answer(
    request: Request, labels: Sequence[str], columns: Sequence[str], rows: Iterable[Sequence[object]], version: int
) -> Response:
    """200 with an ETag, or 304.

    Args:
        labels: names of the first columns; one that is also in `columns` gets `label_` in front.
        rows: the label values, then the columns. None is an empty field, floats have all their digits.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    taken = set(columns)
    writer.writerow([f"label_{name}" if name in taken else name for name in labels] + list(columns))
    n = len(labels)
    writer.writerows([*(guarded(str(value)) for value in row[:n]), *row[n:]] for row in rows)
    return tagged_answer(request, text.getvalue().encode(), "text/csv; charset=utf-8; header=present", version)


def guarded(text: str) -> str:
    """Text that no spreadsheet takes for a formula; numbers stay as they are."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def _qualities(accept: str) -> dict[str, float]:
    """Media type -> its quality; a type without one that can be read counts as wanted."""
    found: dict[str, float] = {}
    for entry in accept[:1_000].split(","):
        media_type, *parameters = entry.split(";")
        given = [match for parameter in parameters if (match := _QUALITY.fullmatch(parameter))]
        found.setdefault(media_type.strip().lower(), min(1.0, float(given[0][1])) if given else 1.0)
    return found
