"""Large CSV files as blocks of text columns: bounded memory, and every row keeps its number."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, Final

import polars as pl

from analytics.errors import DataError
from analytics.gpu.traces.cells import Cells
from analytics.gpu.traces.opened_file import opened

_BLOCK_BYTES: Final = 16 << 20


def csv_blocks(
    path: Path,
    wanted: Sequence[str],
    columns: Sequence[str] | None = None,
    *,
    separator: str = ",",
    ragged: bool = False,
    block_bytes: int = _BLOCK_BYTES,
) -> Iterator[Cells]:
    """The rows of a file, block by block, `wanted` columns only.

    Args:
        columns: the names of all columns of a file without a header; None where the first line has them. A header that
            begins the same is passed over.
        separator: between cells. Only with commas quotes mean anything: programs that write bars quote nothing.
        ragged: rows may have fewer cells, then the others are NULL, or more, then those are left out.
    Raises:
        DataError: the file cannot be read, lacks a wanted column, or has a row with too many or too few cells.
    """
    with opened(path) as stream:
        lines = _line_blocks(stream, block_bytes, quoted=separator == ",")
        start = next(lines, b"").removeprefix(b"\xef\xbb\xbf")
        first, _, below = start.partition(b"\n")
        header = _header(first, path, separator)
        if columns is None:
            columns, start = header, below
        elif header[:2] == list(columns)[:2]:
            start = below
        missing = [name for name in wanted if name not in columns]
        if missing:
            raise DataError(f"{path} has no column {', '.join(missing)}; it has {', '.join(columns)[:200] or 'none'}")
        row = 1
        for block in chain([start], lines):
            if not block:
                continue
            frame = _frame(block, list(columns), path, row, separator, ragged)
            yield Cells(str(path), row, frame.select(wanted))
            row += frame.height


def header_of(path: Path, separator: str = ",") -> list[str]:
    """The cells of the first row.

    Raises:
        DataError: the file cannot be read, or its first line is no text.
    """
    with opened(path) as stream:
        return _header(stream.readline(1 << 20).removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n"), path, separator)


def _line_blocks(stream: IO[bytes], block_bytes: int, *, quoted: bool) -> Iterator[bytes]:
    """Blocks that end with a row. A line end between quotes is none, so the quotes before the cut have to be even."""
    rest = b""
    while read := stream.read(block_bytes):
        text = rest + read
        cut = text.rfind(b"\n") + 1
        while quoted and cut and text.count(b'"', 0, cut) % 2:
            cut = text.rfind(b"\n", 0, cut - 1) + 1
        if cut:
            yield text[:cut]
        rest = text[cut:]
        if len(rest) > 16 * max(block_bytes, 1 << 20):
            raise DataError(f"a row is longer than {len(rest):,} bytes; this is no such table, or a quote is missing")
    if rest:
        yield rest


def _header(line: bytes, path: Path, separator: str) -> list[str]:
    try:
        return next(_reader([line.decode("utf-8").rstrip("\r")], separator), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: the first line is no row of text: {error}") from error


def _frame(block: bytes, columns: list[str], path: Path, row: int, separator: str, ragged: bool) -> pl.DataFrame:
    try:
        frame = pl.read_csv(
            io.BytesIO(block),
            has_header=False,
            separator=separator,
            quote_char='"' if separator == "," else None,
            schema=dict.fromkeys(columns, pl.String),
            truncate_ragged_lines=ragged,
            raise_if_empty=False,
        )
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"{path}: {_bad_row(block, len(columns), row, separator) or str(error).splitlines()[0]}"
        ) from error
    # Cells that are not there are read as empty ones.
    if not ragged and frame[columns[-1]].null_count() and (bad := _bad_row(block, len(columns), row, separator)):
        raise DataError(f"{path}: {bad}")
    return frame


def _bad_row(block: bytes, width: int, row: int, separator: str) -> str:
    """Which row has other than `width` cells, or is no text; "" where none."""
    try:
        lines = io.TextIOWrapper(io.BytesIO(block), "utf-8", newline="")
        for number, cells in enumerate(_reader(lines, separator), row):
            if cells and len(cells) != width:
                return f"row {number} (counted from 1, a header aside) has {len(cells)} cells; {width} are wanted"
    except UnicodeDecodeError as error:
        return f"after row {row} there are bytes that are not UTF-8 ({error.reason})"
    except csv.Error as error:
        return f"after row {row}: {error}"
    return ""


def _reader(lines: Iterable[str], separator: str) -> Iterator[list[str]]:
    return csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_MINIMAL if separator == "," else csv.QUOTE_NONE)
