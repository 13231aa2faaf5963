"""Rows of a CSV that have fewer cells than the header: the reader fills them up with NULL, so they are looked for.

Separators are counted without a loop over rows, a block of the file at a time; where cells are quoted, row by row.
"""

import csv
import gzip
from pathlib import Path
from typing import IO, Final

import numpy as np

_BLOCK_BYTES: Final = 16 << 20
_COMMA, _LINE_END = ord(","), ord("\n")


def short_row(path: Path) -> str:
    """Which row has too few cells, in words; "" where none has. Empty lines are no rows.

    Raises:
        OSError, EOFError, zlib.error, csv.Error: the file cannot be read as a CSV.
    """
    found = _first_short(path)
    if found is None:
        return ""
    row, cells, wanted = found
    counted = "(counted from 1, a header aside)"
    return f"row {row} {counted} has {cells} cells, the header has {wanted}; is the file cut off?"


def _first_short(path: Path) -> tuple[int, int, int] | None:
    with _opened(path) as stream:
        header = stream.readline()
        wanted, before, rest = header.count(b","), 0, b""
        while block := stream.read(_BLOCK_BYTES):
            if b'"' in header or b'"' in block:
                return _first_short_quoted(path)
            lines, _, rest = (rest + block).rpartition(b"\n")
            found = _in_block(lines, wanted) if lines else None
            if found is not None:
                return before + found[0], found[1], wanted + 1
            before += lines.count(b"\n") + 1 if lines else 0
    found = _in_block(rest, wanted)
    return None if found is None else (before + found[0], found[1], wanted + 1)


def _in_block(lines: bytes, wanted: int) -> tuple[int, int] | None:
    """(row, cells) of the first one with fewer commas than are wanted; rows count from 1."""
    signs = np.frombuffer(lines + b"\n", np.uint8)
    ends = np.flatnonzero(signs == _LINE_END)
    commas = np.diff(np.searchsorted(np.flatnonzero(signs == _COMMA), ends), prepend=0)
    for row in np.flatnonzero(commas < wanted).tolist():
        begin = 0 if row == 0 else int(ends[row - 1]) + 1
        if lines[begin : int(ends[row])].strip():
            return row + 1, int(commas[row]) + 1
    return None


def _first_short_quoted(path: Path) -> tuple[int, int, int] | None:
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8", errors="surrogateescape", newline="") as lines:
        rows = csv.reader(lines)
        wanted = len(next(rows, []))
        short = ((number, len(row), wanted) for number, row in enumerate(rows, 1) if 0 < len(row) < wanted)
        return next(short, None)


def _opened(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")  # type: ignore[return-value]
