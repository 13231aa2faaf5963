"""Attempts as one's own scheduler tells them: CSV with a header, or JSON with an object an attempt.

The columns are those of `Attempt`; only `job` and `outcome` are needed. In CSV the names in `nodes` are parted by
semicolons, and times may also stand as texts with an offset under `submitted`, `start` and `end`.
"""

from pathlib import Path
from typing import Annotated, Final

import msgspec
import polars as pl

from analytics.errors import DataError
from analytics.gpu.attempts import Outcome
from analytics.gpu.traces.cells import Cells
from analytics.gpu.traces.columns import ATTEMPTS, OUTCOMES, completed, frame_of
from analytics.gpu.traces.csv_blocks import csv_blocks, header_of
from analytics.gpu.traces.json_objects import decoded, json_objects
from analytics.gpu.traces.opened_file import opened

NEEDED: Final = ("job", "outcome")
_TEXTS: Final = ("user", "queue", "reason", "category", "template")
_TIMES: Final = ("submitted", "start", "end")
_ROWS_AT_ONCE: Final = 50_000


_Time = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class _Row(msgspec.Struct, forbid_unknown_fields=True):
    job: Annotated[str, msgspec.Meta(min_length=1)]
    outcome: Outcome
    number: Annotated[int, msgspec.Meta(ge=1, le=10**9)] = 1
    user: str = ""
    queue: str = ""
    nodes: tuple[str, ...] = ()
    gpus: Annotated[float, msgspec.Meta(ge=0)] | None = None
    submitted_ns: _Time | None = None
    start_ns: _Time | None = None
    end_ns: _Time | None = None
    reason: str = ""
    category: str = ""
    template: str = ""


def read_own(path: Path) -> pl.DataFrame:
    """The attempts of a file (columns.ATTEMPTS): .csv or .csv.gz, anything else is JSON.

    Raises:
        DataError: the file cannot be read, or a cell or field cannot be used.
    """
    name = path.name.lower().removesuffix(".gz")
    return _from_csv(path) if name.endswith(".csv") else _from_json(path)


def _from_csv(path: Path) -> pl.DataFrame:
    known = {*NEEDED, "number", "nodes", "gpus", "busy", *_TEXTS, *_TIMES, *(f"{name}_ns" for name in _TIMES)}
    header = header_of(path)
    strange = [name for name in header if name not in known]
    if strange:
        raise DataError(f"{path}: column {strange[0]} is not known; columns are {', '.join(sorted(known))}")
    wanted = [*NEEDED, *(name for name in header if name not in NEEDED)]
    parts = [_frame(cells) for cells in csv_blocks(path, wanted)]
    return pl.concat(parts) if parts else pl.DataFrame(schema=ATTEMPTS)


def _frame(cells: Cells) -> pl.DataFrame:
    given = cells.frame.columns
    columns = {
        "job": cells.names("job"),
        "outcome": cells.one_of("outcome", {name: name for name in OUTCOMES}),
        "number": cells.whole_numbers("number").fill_null(1)
        if "number" in given
        else pl.repeat(1, cells.frame.height, eager=True),
    }
    columns |= {name: cells.texts(name) for name in _TEXTS if name in given}
    columns |= {name: cells.numbers(name) for name in ("gpus", "busy") if name in given}
    for name in _TIMES:
        if f"{name}_ns" in given:
            columns[f"{name}_ns"] = cells.times_ns(f"{name}_ns")
        elif name in given:
            columns[f"{name}_ns"] = cells.times_with_offset(name)
    if "nodes" in given:
        columns["nodes"] = cells.texts("nodes").fill_null("").str.split(";").list.eval(_named_nodes())
    frame = completed(pl.DataFrame(columns))
    count = pl.col("nodes").list.len()
    return frame.with_columns(
        node_count=pl.when(count > 0).then(count).cast(pl.Int32),
        node_gpus=(pl.col("gpus") / count).repeat_by(count).fill_null([]),
    )


def _named_nodes() -> pl.Expr:
    name = pl.element().str.strip_chars()
    return name.filter(name != "")


def _from_json(path: Path) -> pl.DataFrame:
    decoder = msgspec.json.Decoder(_Row)
    rows: list[_Row] = []
    parts: list[pl.DataFrame] = []
    with opened(path) as stream:
        for number, text in enumerate(json_objects(stream, str(path)), 1):
            rows.append(decoded(decoder, text, f"{path}, object {number}", "an attempt"))
            if len(rows) == _ROWS_AT_ONCE:
                parts.append(frame_of(rows))
                rows = []
    return pl.concat([*parts, frame_of(rows)])
