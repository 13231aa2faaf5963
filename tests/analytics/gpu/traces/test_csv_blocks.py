"""Rows of large tables keep their numbers and cells, wherever blocks end."""

import gzip
from pathlib import Path

import polars as pl
import pytest

from analytics.errors import DataError
from analytics.gpu.traces.cells import Cells
from analytics.gpu.traces.csv_blocks import csv_blocks


def rows_of(path: Path, block_bytes: int) -> pl.DataFrame:
    blocks = list(csv_blocks(path, ("a", "b"), block_bytes=block_bytes))
    assert [block.first for block in blocks] == [
        1 + sum(b.frame.height for b in blocks[:i]) for i in range(len(blocks))
    ]
    return pl.concat(block.frame for block in blocks)


@pytest.mark.parametrize("block_bytes", [3, 10, 1 << 20])
@pytest.mark.parametrize("end", ["", "\n"])
def test_any_block_size_gives_the_same_rows(tmp_path: Path, block_bytes: int, end: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'b,x,a\n1,,"q\n""r"""\n2,,s\r\n3,,t' + end.encode())
    found = rows_of(path, block_bytes)
    assert found.rows() == [('q\n"r"', "1"), ("s", "2"), ("t", "3")]
    packed = tmp_path / "t.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert rows_of(packed, block_bytes).equals(found)


@pytest.mark.parametrize("block_bytes", [5, 1 << 20])
def test_a_row_of_another_width_is_named(tmp_path: Path, block_bytes: int) -> None:
    path = tmp_path / "t.csv"
    for row, count in (("5,6,7", 3), ("5", 1)):
        path.write_text(f"a,b\n1,2\n3,4\n{row}\n")
        with pytest.raises(
            DataError, match=rf"t\.csv: row 3 \(counted from 1, a header aside\) has {count} cells; 2 are"
        ):
            list(csv_blocks(path, ("a", "b"), block_bytes=block_bytes))


def test_a_file_that_is_broken_or_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv cannot be read"):
        list(csv_blocks(tmp_path / "none.csv", ("a",)))
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(gzip.compress(b"a,b\n1,2\n" * 1000)[:-20])
    with pytest.raises(DataError, match=r"cut\.csv\.gz cannot be read"):
        list(csv_blocks(cut, ("a",)))
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="has no column c; it has a, b"):
        list(csv_blocks(tmp_path / "t.csv", ("a", "c")))


def test_cells_are_refused_with_file_row_and_column() -> None:
    cells = Cells("t.csv", 100, pl.DataFrame({"n": ["1", " NaN ", None, "2.5"], "w": ["A", "a", "b", "A"]}))
    assert cells.numbers("n").to_list() == [1.0, None, None, 2.5]
    assert cells.one_of("w", {"A": "x", "B": "y"}).to_list() == ["x", "x", "y", "x"]
    with pytest.raises(
        DataError, match=r"t\.csv, row 103 \(.*\), column n: '2.5'; a whole number from 0 up to 1,000,000,000 is"
    ):
        cells.whole_numbers("n")
    with pytest.raises(DataError, match=r"row 102 .* column w: 'b'; one of A is wanted"):
        cells.one_of("w", {"A": "x"})
    with pytest.raises(DataError, match=r"row 100 .* column n: '1'; a time with its offset"):
        cells.times_with_offset("n")
    for wrong in ("-1", "inf", "x"):
        with pytest.raises(DataError, match="a number from 0 up"):
            Cells("t.csv", 1, pl.DataFrame({"n": [wrong]})).numbers("n")
