"""Attempts of jobs from text: JSON, JSON lines or CSV, each with the fields of `Attempt`, strictly read.

Times are ISO 8601 (without an offset: UTC) or whole nanoseconds since 1970; in CSV nodes are separated by `;` or
spaces. `job`, `number`, `submitted`, `outcome` are wanted, everything else may be left out.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args

from analytics.errors import DataError
from analytics.gpu.attempts import Attempt, Outcome

Form = Literal["json", "csv"]

_WANTED: Final = ("job", "number", "submitted", "outcome")
_TEXTS: Final = ("user", "queue", "reason", "category", "template")
_COLUMNS: Final = frozenset((*_WANTED, *_TEXTS, "nodes", "gpus", "start", "end"))
_OUTCOMES: Final = get_args(Outcome)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: Times beyond these years are units mistaken for each other.
_YEARS_NS: Final = (946_684_800 * 10**9, 4_102_444_800 * 10**9)  # 2000 to 2100
#: More GPUs than any job has had.
_MOST_GPUS: Final = 1e6


def attempts_from_text(text: str, form: Form) -> list[Attempt]:
    """All attempts of a text, in its order.

    Args:
        form: `json` is a list of objects, an object with such a list under `attempts`, or one object a line.
    Raises:
        DataError: not of that form, or a value that cannot be meant; names row and field.
    """
    rows = _csv_rows(text) if form == "csv" else _json_rows(text)
    return [_attempt(row, f"attempt {place}") for place, row in rows]


def _csv_rows(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        names = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = names
        missing = [name for name in _WANTED if name not in names]
        if missing:
            raise DataError(f"no column {missing[0]!r} among {names[:12]}; want at least {', '.join(_WANTED)}")
        if len(set(names)) < len(names):
            raise DataError(f"a column twice among {names[:20]}; want each once")
        for place, row in enumerate(reader, 1):
            if None in row or None in row.values():
                raise DataError(f"attempt {place}: not {len(names)} cells as the header has; want one each")
            yield place, {name: cell.strip() for name, cell in row.items() if cell.strip()}
    except csv.Error as error:
        raise DataError(f"line {reader.line_num}: {error}; want CSV with a header") from error


def _json_rows(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise DataError("JSON nested too deeply; want a list of attempts") from error
    except json.JSONDecodeError as error:
        found = _json_lines(text, error)
    if isinstance(found, dict):
        found = found.get("attempts", [found])
    if not isinstance(found, list):
        raise DataError(f"JSON of a {type(found).__name__}; want a list of attempts, or an object with `attempts`")
    for place, row in enumerate(found, 1):
        if not isinstance(row, dict):
            raise DataError(f"attempt {place} is a {type(row).__name__}; want an object with {', '.join(_WANTED)}")
        yield place, {name: value for name, value in row.items() if value is not None}


def _json_lines(text: str, whole: json.JSONDecodeError) -> list[Any]:
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            found.append(json.loads(line))
        except (json.JSONDecodeError, RecursionError) as error:
            if number == 1:  # no JSON lines either: the error of the whole says where
                raise DataError(f"no JSON: {whole}; want a list of attempts, or one object a line") from error
            raise DataError(f"line {number} is no JSON: {error}; want one attempt a line") from error
    if not found:
        raise DataError("an empty text is no JSON; want a list of attempts, [] where there are none")
    return found


def _attempt(row: Mapping[str, Any], where: str) -> Attempt:
    missing = [name for name in _WANTED if name not in row]
    if missing:
        raise DataError(f"{where}: no {missing[0]!r}; want at least {', '.join(_WANTED)}")
    unknown = sorted(set(row) - _COLUMNS)
    if unknown:
        raise DataError(f"{where}: unknown field {unknown[0]!r}; want some of {', '.join(sorted(_COLUMNS))}")
    outcome = row["outcome"]
    if outcome not in _OUTCOMES:
        raise DataError(f"{where}: outcome {outcome!r}; want one of {', '.join(_OUTCOMES)}")
    start, end = (_time(row, name, where) if name in row else None for name in ("start", "end"))
    if start is not None and end is not None and end < start:
        raise DataError(f"{where}: it ends {(start - end) / 1e9:g} s before it starts; want an end after the start")
    return Attempt(
        job=_text(row, "job", where),
        number=_count(row["number"], where, "number", 1, 1e9),
        user=_text(row, "user", where),
        queue=_text(row, "queue", where),
        nodes=_nodes(row.get("nodes", ()), where),
        gpus=_number(row.get("gpus", 0), where, "gpus", 0, _MOST_GPUS),
        submitted_ns=_time(row, "submitted", where),
        start_ns=start,
        end_ns=end,
        outcome=outcome,
        reason=_text(row, "reason", where),
        category=_text(row, "category", where),
        template=_text(row, "template", where),
    )


def _text(row: Mapping[str, Any], name: str, where: str) -> str:
    value = row.get(name, "")
    if name == "job" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # Slurm's are numbers
    if not isinstance(value, str) or (name == "job" and not value):
        raise DataError(f"{where}: {name} is {value!r}; want a text")
    return value


def _number(value: Any, where: str, name: str, least: float, most: float) -> float:
    try:
        number = -1.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = -1.0
    if not least <= number <= most:  # NaN neither
        raise DataError(f"{where}: {name} is {value!r}; want a number from {least:g} to {most:g}")
    return number


def _count(value: Any, where: str, name: str, least: float, most: float) -> int:
    number = _number(value, where, name, least, most)
    if number != int(number):
        raise DataError(f"{where}: {name} is {value!r}; want a whole number")
    return int(number)


def _nodes(value: Any, where: str) -> tuple[str, ...]:
    names = value.replace(";", " ").split() if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{where}: nodes is {value!r}; want a list of names, or names separated by `;`")
    return tuple(dict.fromkeys(name for name in names if name))


def _time(row: Mapping[str, Any], name: str, where: str) -> int:
    value = row[name]
    found = -1
    if isinstance(value, int) and not isinstance(value, bool):
        found = value
    elif isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 25:
        found = int(value)
    elif isinstance(value, str):
        found = _of_iso(value)
    if not _YEARS_NS[0] <= found <= _YEARS_NS[1]:
        raise DataError(
            f"{where}: {name} is {value!r}; want a time such as 2026-11-22T10:00:00Z, or nanoseconds since 1970"
        )
    return found


def _of_iso(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return -1
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1_000
