"""Replays a recorded file as a stream, from any position, each row exactly once across restarts.

The position stored with a checkpoint is the number of rows handed out (and the block they were cut from), so a
restart goes on with the very next row. Rows are typed strictly: a value that does not fit names its column and row.
"""

import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

import msgspec
import polars as pl

from agents.errors import SourceError
from agents.sources.configs import TimeUnit
from agents.sources.pacing import Pace
from agents.sources.replay_files import Place, RowFile, head_of, open_rows
from agents.sources.source import Batch
from pipeline.schema import HOST_COLUMN, MAX_TIME_NS, MIN_TIME_NS, TIME_COLUMN, Schema, polars_schema

BATCH_ROWS: Final = 2**15  # bounds what one turn of the agent's loop holds and takes
_NS_PER_UNIT: Final = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_BOOLEANS: Final = {"true": True, "false": False, "True": True, "False": False, "1": True, "0": False}


class Position(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`block` is where the file goes on being read; `skip` rows from there were handed out already."""

    block: Place
    skip: int


class ReplaySource:
    """One file as one stream; `schema` holds at least the columns that queries read."""

    replayable: Final = True

    def __init__(
        self,
        stream: str,
        path: Path,
        schema: Schema,
        *,
        time_column: str = "ts",
        time_unit: TimeUnit = "ns",
        rows_per_s: float | None = None,
        optional: Collection[str] = (),
    ) -> None:
        """Columns of `schema` other than ts and host must be in the file; `host` and `optional` text may be."""
        self.name = f"replay:{stream}:{path.absolute()}"
        self.finished = False
        self._stream = stream
        self._path = path
        self._schema = schema
        self._time_column = time_column
        self._time_unit = time_unit
        self._rows_per_s = rows_per_s
        self._optional = [HOST_COLUMN, *(name for name in optional if name not in schema)]
        self._file: RowFile | None = None
        self._head = (0, "")
        self._block: pl.DataFrame | None = None
        self._unreadable: SourceError | None = None
        self._block_place = Place(0, 0, 0, "")
        self._handed_out = 0  # rows of the current block
        self._pace: Pace | None = None

    @property
    def streams(self) -> Mapping[str, Schema]:
        """The one stream."""
        return {self._stream: self._schema}

    @property
    def lag_rows(self) -> int | None:
        """Rows due by the pace that were not asked for yet; None without a pace."""
        if self._rows_per_s is None:
            return None
        return 0 if self.finished or self._pace is None else self._pace.behind(time.monotonic())

    def open(self, position: bytes | None) -> None:
        """Open the file at `position`; rows that cannot be read are told by `poll`, wherever in the file they are.

        Raises:
            SourceError: no such file, a column is missing, or the file is not the one `position` is of.
        """
        stored = None if position is None else self._decode(position)
        wanted = [column for column in self._schema if column not in (TIME_COLUMN, HOST_COLUMN)]
        wanted = list(dict.fromkeys([self._time_column, *wanted]))
        place = None if stored is None else stored.block
        file = open_rows(self._path, wanted, place)
        there = [name for name in self._optional if name in file.columns and name not in wanted]
        if there:
            file.close()
            file = open_rows(self._path, [*wanted, *there], place)
        self._file = file
        self._head = head_of(self._path) if place is None else (place.head_bytes, place.head)
        self._block_place = place or Place(0, file.offset(), *self._head)
        self._handed_out = 0 if stored is None else stored.skip
        self._block, self._unreadable = None, None
        self._next_block()
        self._pace = None if self._rows_per_s is None else Pace(self._rows_per_s, time.monotonic())

    def poll(self) -> list[Batch]:
        """At most BATCH_ROWS rows, and no more than the pace allows."""
        if self._unreadable is not None:
            raise self._unreadable
        allowed = BATCH_ROWS
        if self._pace is not None:
            allowed = min(allowed, self._pace.due(time.monotonic()))
        if self._block is None or allowed <= 0:
            return []
        rows = self._typed(self._block.slice(self._handed_out, allowed))
        self._handed_out += rows.height
        if self._pace is not None:
            self._pace.take(rows.height)
        if self._handed_out >= self._block.height:
            self._next_block()
        return [Batch(self._stream, rows)]

    def position(self) -> bytes | None:
        """Behind the rows handed out."""
        return msgspec.msgpack.encode(Position(self._block_place, self._handed_out))

    def measured_to_ns(self, polled_ns: int) -> int | None:
        """None: how far a file is read is told by its rows."""
        del polled_ns
        return None

    def counters(self) -> Mapping[str, int]:
        """A file that cannot be read is an error, not a count."""
        return {}

    def missing(self) -> Mapping[str, str]:
        """Nothing is optional here."""
        return {}

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
        self._file = self._block = None

    def _decode(self, position: bytes) -> Position:
        try:
            return msgspec.msgpack.decode(position, type=Position, strict=True)
        except msgspec.MsgspecError as error:
            raise SourceError(f"{self._path}: the stored position cannot be read: {error}; remove the spool") from error

    def _next_block(self) -> None:
        """Go behind the current block and read on until there are rows not handed out, the end, or what is unreadable.

        That is raised by the next `poll`: the rows handed out before must not be lost with it.
        """
        while self._file is not None and (self._block is None or self._handed_out >= self._block.height):
            if self._block is not None:
                rows_before = self._block_place.rows + self._block.height
                self._block_place = Place(rows_before, self._file.offset(), *self._head)
                self._handed_out -= self._block.height  # a stored block may have been longer than this one
            self._block = None
            try:
                block = self._file.read()
            except SourceError as error:
                self._unreadable = error
                return
            if block is None:
                self.finished = True
                return
            self._block = block

    def _typed(self, rows: pl.DataFrame) -> pl.DataFrame:
        """`rows` with ts in ns and the schema's types; errors name file, column and the first bad row."""
        types = polars_schema(self._schema)
        types |= {name: pl.String() for name in self._optional if name in rows.columns}
        columns = [self._times(rows[self._time_column])]
        for name, dtype in types.items():
            if name in rows.columns and name != TIME_COLUMN:
                columns.append(self._cast(rows[name], dtype))
        return pl.DataFrame(columns)

    def _times(self, column: pl.Series) -> pl.Series:
        dtype, unit_ns = column.dtype, _NS_PER_UNIT.get(self._time_unit, 1)
        if isinstance(dtype, pl.Datetime):
            times = column.dt.epoch("ns")
        elif self._time_unit == "iso8601":
            times = _iso8601(self._cast(column, pl.String()))
        elif dtype.is_float():
            whole = column.floor()
            rest = ((column - whole) * unit_ns).round().cast(pl.Int64, strict=False)
            times = _scaled(whole.cast(pl.Int64, strict=False), unit_ns) + rest
        else:
            exact = column.cast(pl.Int64, strict=False)
            if dtype == pl.String and exact.null_count():  # "1714000000.25"
                billionths = column.cast(pl.Decimal(38, 9), strict=False).to_physical()
                times = (billionths // (10**9 // unit_ns)).cast(pl.Int64, strict=False)
            else:
                times = _scaled(exact, unit_ns)
        bad = times.is_null() | (times < MIN_TIME_NS) | (times > MAX_TIME_NS)
        if bad.any():
            self._refuse(column, bad, f"a time in {self._time_unit}")
        return times.alias(TIME_COLUMN)

    def _cast(self, column: pl.Series, dtype: pl.DataType) -> pl.Series:
        if column.dtype == dtype:
            return column
        if pl.Binary in (column.dtype, dtype):  # text is no sketch, whatever its bytes
            cast = pl.Series(column.name, [None] * column.len(), dtype=dtype)
        elif column.dtype == pl.String and dtype == pl.Boolean:
            cast = column.replace_strict(_BOOLEANS, default=None, return_dtype=pl.Boolean)
        else:
            try:
                cast = column.cast(dtype, strict=False)
            except pl.exceptions.PolarsError:
                cast = pl.Series(column.name, [None] * column.len(), dtype=dtype)
        bad = cast.is_null() & column.is_not_null()
        if dtype == pl.Int64 and column.dtype.is_float():
            bad |= (cast.cast(pl.Float64) != column).fill_null(value=False)
        if bad.any():
            self._refuse(column, bad, str(dtype))
        return cast

    def _refuse(self, column: pl.Series, bad: pl.Series, wanted: str) -> None:
        where = bad.arg_max() or 0
        row = self._block_place.rows + self._handed_out + where + 1
        raise SourceError(
            f"{self._path}: column {column.name!r}, row {row}: {column[where]!r} is not {wanted}; "
            "correct the file or the stream's types in the configuration"
        )


def _iso8601(text: pl.Series) -> pl.Series:
    """Times of day and date in ns; NULL where the text is none, or one that ns since 1970 cannot hold."""
    times, coarse = (
        text.str.to_datetime(time_unit=unit, time_zone="UTC", strict=False, format=None).dt.epoch(unit)
        for unit in ("ns", "us")
    )
    # Polars lets ns wrap around without a word: the year 9999 comes out as 1815. In us it has room.
    return times.set((coarse.abs() > MAX_TIME_NS // 1_000).fill_null(value=False), None)


def _scaled(counts: pl.Series, unit_ns: int) -> pl.Series:
    """Counts of a unit in ns; NULL where the product does not fit."""
    return counts.set((counts.abs() > MAX_TIME_NS // unit_ns).fill_null(value=False), None) * unit_ns
