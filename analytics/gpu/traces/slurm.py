"""Slurm's accounting as attempts: what `sacct --parsable2` prints, one row a run of a job.

Wanted is `SLURM_TIME_FORMAT=%s sacct -a -X -D -P -S ... -o JobIDRaw,User,Partition,State,Submit,Start,End,NodeList,
AllocTRES`. Without -D requeued runs are missing; times without an offset are refused, as nobody knows the zone.
Requeued runs of a job are its attempts, in the order of their starts, or as the column Restarts counts them: then part
of the runs is enough to number them. ExitCode, where it is there, has the signal behind a colon.
"""

import re
from functools import lru_cache
from pathlib import Path
from typing import Final

import polars as pl

from analytics.errors import DataError
from analytics.gpu.traces.acme import STATES
from analytics.gpu.traces.cells import Cells
from analytics.gpu.traces.columns import ATTEMPTS, completed
from analytics.gpu.traces.csv_blocks import csv_blocks, header_of

SEPARATOR: Final = "|"
COLUMNS: Final = ("JobIDRaw", "User", "Partition", "State", "Submit", "Start", "End", "NodeList", "AllocTRES")
#: Read where they are there.
MORE_COLUMNS: Final = ("ExitCode", "Restarts")
NOTES: Final = (
    "a job's attempts are its requeued runs; a job that its user submitted again is another job",
    "GPUs of a job are dealt evenly over its nodes",
)
_MOST_NODES: Final = 100_000


def read_slurm(path: Path) -> pl.DataFrame:
    """All runs as attempts (columns.ATTEMPTS), those without GPUs too.

    Raises:
        DataError: no such file, or a cell that cannot be used.
    """
    header = header_of(path, SEPARATOR)
    wanted = [*COLUMNS, *(name for name in MORE_COLUMNS if name in header)]
    parts = [_frame(cells) for cells in csv_blocks(path, wanted, separator=SEPARATOR)]
    if not parts:
        return pl.DataFrame(schema=ATTEMPTS)
    rows = pl.concat(parts).filter(~pl.col("job").str.contains(".", literal=True))  # steps, where -X was left out
    if "Restarts" in wanted:
        return rows
    # What waits after a requeue has no start yet: it comes last.
    place = pl.struct(pl.col("start_ns").fill_null(2**63 - 1), "submitted_ns").rank("ordinal").over("job")
    return rows.with_columns(number=place.cast(pl.Int32))


def node_names(listed: str) -> tuple[str, ...]:
    """The nodes of a list such as gpu[01-03,7],login1; their zeros are kept.

    Raises:
        DataError: brackets that do not close, or a range that is none.
    """
    if listed.startswith("None assigned"):
        return ()
    found: list[str] = []
    for part in _outside_brackets(listed):
        found += _expanded(part, listed)
        if len(found) > _MOST_NODES:
            raise DataError(f"the list {listed[:80]!r} has more than {_MOST_NODES:,} nodes")
    return tuple(found)


def _outside_brackets(listed: str) -> list[str]:
    """The parts between commas that stand in no brackets."""
    parts, inside = [""], False
    for sign in listed:
        if sign in "[]":
            if inside == (sign == "["):
                raise DataError(f"{listed[:80]!r} is no list of nodes; want names such as gpu[01-03,7],login1")
            inside = not inside
        if sign == "," and not inside:
            parts.append("")
        else:
            parts[-1] += sign
    if inside or "" in parts:
        raise DataError(f"{listed[:80]!r} is no list of nodes; want names such as gpu[01-03,7],login1")
    return parts


def _expanded(part: str, listed: str) -> list[str]:
    before, bracket, rest = part.partition("[")
    if not bracket:
        return [part]
    inside, _, after = rest.partition("]")
    numbers: list[str] = []
    for some in inside.split(","):
        range_ = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", some)
        if range_ is None or int(range_[2] or range_[1]) - int(range_[1]) > _MOST_NODES:
            raise DataError(f"{listed[:80]!r} is no list of nodes: {some[:20]!r} is no range of numbers")
        numbers += [f"{i:0{len(range_[1])}}" for i in range(int(range_[1]), int(range_[2] or range_[1]) + 1)]
    tails = _expanded(after, listed)
    return [before + number + tail for number in numbers for tail in tails]


def _frame(cells: Cells) -> pl.DataFrame:
    # "CANCELLED by 1000" is CANCELLED.
    states = cells.with_column(cells.frame["State"].str.strip_chars().str.extract(r"^(\S*)"))
    nodes = _nodes(cells)
    gpus = _gpus(cells)
    frame = completed(
        pl.DataFrame(
            {
                "job": cells.names("JobIDRaw"),
                "number": _numbers(cells),
                "user": cells.texts("User"),
                "queue": cells.texts("Partition"),
                "nodes": nodes,
                "gpus": gpus,
                "submitted_ns": cells.epoch_or_offset("Submit"),
                "start_ns": cells.epoch_or_offset("Start"),
                "end_ns": cells.epoch_or_offset("End"),
                "outcome": states.one_of("State", STATES),
                **_exits(cells),
            }
        )
    )
    count = pl.col("nodes").list.len()
    return frame.with_columns(
        node_count=pl.when(count > 0).then(count).cast(pl.Int32),
        node_gpus=(pl.col("gpus") / count).repeat_by(count).fill_null([]),
    )


def _numbers(cells: Cells) -> pl.Series:
    """1 where nobody counts restarts."""
    if "Restarts" not in cells.frame.columns:
        return pl.repeat(1, cells.frame.height, eager=True)
    return cells.whole_numbers("Restarts").fill_null(0) + 1


def _exits(cells: Cells) -> dict[str, pl.Series]:
    """Exit code and signal, which stand as 1:0; NULL of what still runs or waits, where 0:0 means nothing."""
    if "ExitCode" not in cells.frame.columns:
        return {}
    told = cells.texts("ExitCode")
    code, signal = (told.str.extract(r"^(\d{1,9}):(\d{1,9})$", group).cast(pl.Int32) for group in (1, 2))
    wrong = told.is_not_null() & code.is_null()
    if wrong.any():
        cells.refuse(int(wrong.arg_max() or 0), "ExitCode", "an exit code and a signal such as 1:0")
    still = cells.texts("End").is_null()
    return {"exit_code": code.set(still, None), "signal": signal.set(still, None)}


def _nodes(cells: Cells) -> pl.Series:
    named = lru_cache(maxsize=100_000)(node_names)
    found: list[tuple[str, ...]] = []
    for row, listed in enumerate(cells.texts("NodeList").to_list()):
        try:
            found.append(() if listed is None else named(listed))
        except DataError as error:
            cells.refuse(row, "NodeList", f"a list of nodes ({error})")
    return pl.Series("nodes", found, dtype=pl.List(pl.String))


def _gpus(cells: Cells) -> pl.Series:
    """GPUs of all kinds; 0 where something was allocated and no GPU, NULL where nothing was."""
    told = cells.texts("AllocTRES")
    whole = told.str.extract(r"(?:^|,)gres/gpu=(\d{1,9})(?:,|$)").cast(pl.Float64)
    of_kinds = told.str.extract_all(r"gres/gpu:[^=,]+=\d{1,9}").list.eval(
        pl.element().str.extract(r"=(\d+)$").cast(pl.Float64)
    )
    found = whole.zip_with(whole.is_not_null(), of_kinds.list.sum())
    return found.set(told.is_null(), None).alias("gpus")
