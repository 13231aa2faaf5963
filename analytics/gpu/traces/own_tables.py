"""Attempts as one's own scheduler tells them: CSV with a header, or JSON with an object an attempt.

The columns are those of `Attempt`; only `job` and `outcome` are needed. Names in `nodes` are parted by semicolons or
blanks, in JSON they may be a list. Times stand as nanoseconds under `submitted_ns`, `start_ns` and `end_ns`, or, also
as texts with an offset, under `submitted`, `started` and `ended`, as the API calls them; `start` and `end` are older
names of these. What the bytes begin with tells CSV from JSON.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import polars as pl

from analytics.errors import DataError
from analytics.gpu.attempts import Outcome
from analytics.gpu.traces.cells import Cells
from analytics.gpu.traces.columns import ATTEMPTS, OUTCOMES, completed
from analytics.gpu.traces.csv_blocks import csv_blocks, header_of
from analytics.gpu.traces.json_objects import decoded, json_objects
from analytics.gpu.traces.opened_file import opened

NEEDED: Final = ("job", "outcome")
_TEXTS: Final = ("user", "queue", "reason", "category", "template")
#: A time -> what it is called, the newest name first.
_TIMES: Final = {"submitted": ("submitted",), "start": ("started", "start"), "end": ("ended", "end")}
_EXITS: Final = ("exit_code", "signal")
#: More than any job has had.
_MOST_GPUS: Final = 1e6
_ROWS_AT_ONCE: Final = 50_000
#: How an object with all attempts in it begins.
_OF_MANY: Final = re.compile(rb'\{\s*"attempts"\s*:')


_Time = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
_Exit = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class _Row(msgspec.Struct, forbid_unknown_fields=True):
    """`null` is the same as left out. Slurm's jobs are numbers."""

    job: Annotated[str, msgspec.Meta(min_length=1)] | int
    outcome: Outcome
    number: Annotated[int, msgspec.Meta(ge=1, le=10**9)] | None = None
    user: str | None = None
    queue: str | None = None
    nodes: tuple[str, ...] | str | None = None
    gpus: Annotated[float, msgspec.Meta(ge=0, le=_MOST_GPUS)] | None = None
    submitted: int | str | None = None
    started: int | str | None = None
    ended: int | str | None = None
    start: int | str | None = None
    end: int | str | None = None
    submitted_ns: _Time | None = None
    start_ns: _Time | None = None
    end_ns: _Time | None = None
    reason: str | None = None
    category: str | None = None
    template: str | None = None
    busy: Annotated[float, msgspec.Meta(ge=0, le=_MOST_GPUS)] | None = None
    exit_code: _Exit | None = None
    signal: _Exit | None = None


class _Rows(msgspec.Struct, forbid_unknown_fields=True):
    attempts: list[_Row]


def read_own(path: Path) -> pl.DataFrame:
    """The attempts of a file (columns.ATTEMPTS), CSV or JSON, packed with gzip or not.

    Raises:
        DataError: the file cannot be read, or a cell or field cannot be used.
    """
    with opened(path) as stream:
        start = stream.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    return _from_json(path) if start[:1] in (b"[", b"{") else _from_csv(path)


def _from_csv(path: Path) -> pl.DataFrame:
    counted = ("number", "nodes", "gpus", "busy", *_EXITS)
    times = [called for names in _TIMES.values() for called in names]
    known = {*NEEDED, *counted, *_TEXTS, *times, *(f"{name}_ns" for name in _TIMES)}
    header = header_of(path)
    strange = [name for name in header if name not in known]
    if strange:
        raise DataError(f"{path}: column {strange[0]} is not known; columns are {', '.join(sorted(known))}")
    for newer, *older in _TIMES.values():
        if newer in header and any(name in header for name in older):
            raise DataError(f"{path}: columns {newer} and {older[0]} are the same time; leave one of them out")
    wanted = [*NEEDED, *(name for name in header if name not in NEEDED)]
    parts = [_frame(cells) for cells in csv_blocks(path, wanted)]
    return pl.concat(parts) if parts else pl.DataFrame(schema=ATTEMPTS)


def _frame(cells: Cells) -> pl.DataFrame:
    given = cells.frame.columns
    columns = {
        "job": cells.names("job"),
        "outcome": cells.one_of("outcome", {name: name for name in OUTCOMES}),
        "number": cells.whole_numbers("number", 1).fill_null(1)
        if "number" in given
        else pl.repeat(1, cells.frame.height, eager=True),
    }
    columns |= {name: cells.texts(name) for name in _TEXTS if name in given}
    columns |= {name: cells.numbers(name, _MOST_GPUS) for name in ("gpus", "busy") if name in given}
    columns |= {name: cells.whole_numbers(name) for name in _EXITS if name in given}
    for name, names in _TIMES.items():
        called = next((one for one in names if one in given), None)
        if f"{name}_ns" in given:
            columns[f"{name}_ns"] = cells.times_ns(f"{name}_ns")
        elif called is not None:
            columns[f"{name}_ns"] = cells.times(called)
    if "nodes" in given:
        named = cells.texts("nodes").fill_null("").str.extract_all(r"[^;\s]+")
        columns["nodes"] = named.list.unique(maintain_order=True)
    return _with_nodes_counted(pl.DataFrame(columns))


def _with_nodes_counted(frame: pl.DataFrame) -> pl.DataFrame:
    count = pl.col("nodes").list.len()
    return completed(frame).with_columns(
        node_count=pl.when(count > 0).then(count).cast(pl.Int32),
        node_gpus=(pl.col("gpus") / count).repeat_by(count).fill_null([]),
    )


def _from_json(path: Path) -> pl.DataFrame:
    rows: list[_Row] = []
    parts: list[pl.DataFrame] = []
    first = 1
    for row in _rows(path):
        rows.append(row)
        if len(rows) == _ROWS_AT_ONCE:
            parts.append(_frame_of(rows, path, first))
            first, rows = first + len(rows), []
    return pl.concat([*parts, _frame_of(rows, path, first)])


def _rows(path: Path) -> Iterator[_Row]:
    """An object each, or all in one object's `attempts`."""
    one, many = msgspec.json.Decoder(_Row), msgspec.json.Decoder(_Rows)
    with opened(path) as stream:
        for number, text in enumerate(json_objects(stream, str(path)), 1):
            place = f"{path}, object {number}"
            if _OF_MANY.match(text):
                yield from decoded(many, text, place, "a list of attempts").attempts
            else:
                yield decoded(one, text, place, "an attempt")


def _frame_of(rows: list[_Row], path: Path, first: int) -> pl.DataFrame:
    columns: dict[str, list[Any]] = {name: [getattr(row, name) or None for row in rows] for name in _TEXTS}
    columns["gpus"], columns["busy"] = [row.gpus for row in rows], [row.busy for row in rows]
    columns |= {name: [getattr(row, name) for row in rows] for name in _EXITS}
    columns["job"], columns["outcome"] = [str(row.job) for row in rows], [row.outcome for row in rows]
    columns["number"] = [row.number or 1 for row in rows]
    columns["nodes"] = [_names(row.nodes or ()) for row in rows]
    told = {name: [_text(getattr(row, name)) for row in rows] for names in _TIMES.values() for name in names}
    cells = Cells(str(path), first, pl.DataFrame(told, schema=dict.fromkeys(told, pl.String)))
    for name, names in _TIMES.items():
        times = pl.Series([getattr(row, f"{name}_ns") for row in rows], dtype=pl.Int64)
        for one in names:
            times = times.zip_with(times.is_not_null(), cells.times(one))
        _refuse_both(names, rows, path)
        columns[f"{name}_ns"] = times.to_list()
    return _with_nodes_counted(pl.DataFrame(columns, schema={name: ATTEMPTS[name] for name in columns}))


def _text(time: int | str | None) -> str | None:
    return None if time is None else str(time)


def _refuse_both(names: Sequence[str], rows: Sequence[_Row], path: Path) -> None:
    for row in rows:
        if sum(getattr(row, name) is not None for name in names) > 1:
            raise DataError(f"{path}: job {row.job}: {' and '.join(names)} are the same time; leave one of them out")


def _names(nodes: tuple[str, ...] | str) -> list[str]:
    given = nodes.replace(";", " ").split() if isinstance(nodes, str) else nodes
    return list(dict.fromkeys(name for name in given if name))
