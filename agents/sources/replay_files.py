"""Files as a sequence of row blocks that can be taken up again anywhere: CSV, Parquet and Arrow IPC.

A place in a file is the number of rows before it and, for CSV, the byte it begins at, so that going on after a
restart costs no second reading of what came before. Blocks hold the wanted columns only, as the file types them.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol

import msgspec
import numpy as np
import polars as pl

from agents.errors import SourceError
from pipeline.errors import nearest

CSV_BLOCK_BYTES: Final = 2**20
BLOCK_ROWS: Final = 2**16
HEAD_BYTES: Final = 2**16
LONGEST_LINE_BYTES: Final = 2**24


class Place(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where to go on: `rows` rows and, in a CSV file, `offset` bytes lie before it.

    `head` is the SHA-256 of the file's first `head_bytes` bytes: it tells a file that has grown from another file.
    """

    rows: int
    offset: int
    head_bytes: int
    head: str


class RowFile(Protocol):
    """An open file of rows."""

    columns: list[str]

    def read(self) -> pl.DataFrame | None:
        """The next block of the wanted columns, or None behind the last row."""

    def offset(self) -> int:
        """The byte behind the last block, 0 where the format has no use for it."""

    def close(self) -> None:
        """Let go of the file."""


def open_rows(path: Path, wanted: Sequence[str], place: Place | None) -> RowFile:
    """The file at `path`, by its suffix, at `place` or at its beginning.

    Raises:
        SourceError: no such file, unknown suffix, a wanted column missing, or the file is not what it was.
    """
    openers: dict[str, Callable[[Path, Sequence[str], Place | None], RowFile]] = {
        ".csv": CsvRows,
        ".parquet": _parquet,
        ".arrow": _arrow,
        ".ipc": _arrow,
        ".feather": _arrow,
    }
    opener = openers.get(path.suffix.lower())
    if opener is None:
        raise SourceError(f"{path}: suffix {path.suffix!r}; want one of {', '.join(openers)}")
    if place is not None:
        _check_same(path, place)
    with reading(path):
        rows = opener(path, wanted, place)
    for column in wanted:
        if column not in rows.columns:
            rows.close()
            raise SourceError(f"{path}: no column {column!r}; {nearest(column, rows.columns)}")
    return rows


def head_of(path: Path) -> tuple[int, str]:
    """How many bytes from the front identify the file, and their SHA-256."""
    with reading(path), path.open("rb") as file:
        data = file.read(HEAD_BYTES)
    return len(data), sha256(data).hexdigest()


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Failures of the file system and of Polars' readers as SourceError naming the file."""
    try:
        yield
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException, UnicodeDecodeError) as error:
        if isinstance(error, FileNotFoundError):
            raise SourceError(
                f"{path}: there is no such file; put it there, or correct the path under agent.sources"
            ) from error
        raise SourceError(f"{path}: cannot be read: {error}") from error


class CsvRows:
    """A CSV file with a header line, every column as text, cut into blocks at line ends outside of quotes."""

    def __init__(self, path: Path, wanted: Sequence[str], place: Place | None) -> None:
        """Read the header and go to `place`."""
        self._path = path
        self._file = path.open("rb")
        self._header = self._file.readline()
        if not self._header.strip():
            raise SourceError(f"{path}: no header line; want the columns' names in the first line")
        self._header = self._header.rstrip(b"\r\n") + b"\n"
        self.columns = pl.read_csv(io.BytesIO(self._header), infer_schema=False).columns
        self._wanted = [column for column in wanted if column in self.columns]
        self._offset = self._file.tell() if place is None else place.offset
        size = self._file.seek(0, io.SEEK_END)
        if size < self._offset:
            raise SourceError(f"{path}: has {size} bytes, {self._offset} were read before; it was cut or replaced")
        self._file.seek(self._offset)
        self._rest = b""

    def read(self) -> pl.DataFrame | None:
        """The next lines, about 1 MiB of them."""
        with reading(self._path):
            block = self._whole_lines()
            if not block:
                return None
            rows = pl.read_csv(io.BytesIO(self._header + block), columns=self._wanted, infer_schema=False)
        self._offset += len(block)
        return rows.select(self._wanted)

    def offset(self) -> int:
        """The byte behind the last block."""
        return self._offset

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _whole_lines(self) -> bytes:
        """Bytes up to the last line end that no open quote contains; at the end of the file, all there is."""
        data = self._rest
        while True:
            more = self._file.read(CSV_BLOCK_BYTES)
            data += more
            if not more:
                self._rest = b""
                return data
            end = _last_line_end(data)
            if end:
                self._rest = data[end:]
                return data[:end]
            if len(data) > LONGEST_LINE_BYTES:
                raise SourceError(
                    f"{self._path}: no line end in {len(data)} bytes after byte {self._offset}; is a quote left open?"
                )


def _last_line_end(data: bytes) -> int:
    """Where the last line ends that holds an even number of quotes from the start on; 0 if none does."""
    characters = np.frombuffer(data, dtype=np.uint8)
    ends = np.flatnonzero(characters == ord("\n"))
    quotes = np.flatnonzero(characters == ord('"'))
    closed = np.searchsorted(quotes, ends) % 2 == 0
    return int(ends[closed][-1]) + 1 if closed.any() else 0


class ColumnarRows:
    """A Parquet or Arrow IPC file, read in slices of rows."""

    def __init__(self, path: Path, scan: pl.LazyFrame, wanted: Sequence[str], place: Place | None) -> None:
        """Look at the schema and the number of rows."""
        self._path = path
        self.columns = scan.collect_schema().names()
        self._scan = scan.select([column for column in wanted if column in self.columns])
        self._total = int(scan.select(pl.len()).collect().item())
        self._row = 0 if place is None else place.rows
        if self._total < self._row:
            raise SourceError(f"{path}: has {self._total} rows, {self._row} were read before; it was replaced")

    def read(self) -> pl.DataFrame | None:
        """The next slice."""
        if self._row >= self._total:
            return None
        with reading(self._path):
            rows = self._scan.slice(self._row, BLOCK_ROWS).collect()
        if not rows.height:
            raise SourceError(f"{self._path}: ends at row {self._row}, had {self._total} when it was opened")
        self._row += rows.height
        return rows

    def offset(self) -> int:
        """0: the row number says it all."""
        return 0

    def close(self) -> None:
        """Nothing is held between two slices."""


def _parquet(path: Path, wanted: Sequence[str], place: Place | None) -> ColumnarRows:
    return ColumnarRows(path, pl.scan_parquet(path, glob=False, parallel="none", low_memory=True), wanted, place)


def _arrow(path: Path, wanted: Sequence[str], place: Place | None) -> ColumnarRows:
    return ColumnarRows(path, pl.scan_ipc(path, glob=False), wanted, place)


def _check_same(path: Path, place: Place) -> None:
    with reading(path), path.open("rb") as file:
        head = sha256(file.read(place.head_bytes)).hexdigest()
    if head != place.head:
        raise SourceError(
            f"{path}: is not the file whose first {place.rows} rows were read before; "
            "give the new file another name, or remove the spool to read it from the start"
        )
