"""Static tables: the same content has the same hash however it is stored, and keys must be unique."""

from datetime import date

import polars as pl
import pytest

from pipeline.errors import TableError
from pipeline.tables import StaticTable, load_table

FRAME = pl.DataFrame(
    {"ip": ["b", "a", "c"], "rack": [2, 1, None], "weight": [0.5, float("nan"), -1.0], "up": [True, None, False]}
)


def test_the_hash_ignores_the_order_of_rows_and_columns_and_the_width_of_integers():
    shuffled = FRAME.reverse().select("up", "weight", "rack", "ip").with_columns(pl.col("rack").cast(pl.Int16))
    assert StaticTable("t", shuffled).content_hash == StaticTable("t", FRAME).content_hash


@pytest.mark.parametrize(
    "change",
    [
        pl.col("rack") + 1,
        pl.col("rack").cast(pl.Float64),
        pl.col("ip").str.to_uppercase(),
        pl.col("up").fill_null(value=False),
        pl.col("rack").alias("shelf"),
    ],
)
def test_any_other_content_has_another_hash(change):
    changed = FRAME.with_columns(change)
    assert StaticTable("t", changed).content_hash != StaticTable("t", FRAME).content_hash


def test_the_hash_is_pinned_because_stored_plans_carry_it():
    assert StaticTable("t", FRAME).content_hash == "06ae6ea6721c1e88"


def test_all_file_formats_give_one_table(tmp_path):
    FRAME.write_csv(tmp_path / "t.csv")
    FRAME.write_parquet(tmp_path / "t.parquet")
    FRAME.write_ipc(tmp_path / "t.arrow")
    hashes = {load_table("t", tmp_path / f"t.{ending}").content_hash for ending in ("csv", "parquet", "arrow")}
    assert hashes == {StaticTable("t", FRAME).content_hash}


def test_a_late_text_value_turns_the_whole_csv_column_into_text(tmp_path):
    lines = ["rack"] + [str(i) for i in range(5_000)] + ["007x"]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    assert load_table("t", tmp_path / "t.csv").schema == {"rack": "string"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.xlsx", b"", "want one of .csv, .parquet"),
        ("t.parquet", b"nonsense", "cannot read .* as Parquet"),
        ("t.csv", b"", "cannot read .* as CSV"),
        ("t.csv", b"ip addr,b\n1,2\n", "column name 'ip addr'"),
    ],
)
def test_a_file_that_is_no_table_says_so(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=message):
        load_table("t", tmp_path / name)


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(TableError, match="cannot read"):
        load_table("t", tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pl.DataFrame(), "has no column"),
        (pl.DataFrame({"day": [date(2026, 1, 1)]}), "holds Date"),
        (pl.DataFrame({"x": pl.Series([2**63], dtype=pl.UInt64)}), "does not fit"),
    ],
)
def test_columns_of_other_types_are_refused(frame, message):
    with pytest.raises(TableError, match=message):
        StaticTable("t", frame)


def test_a_repeated_key_is_refused_with_the_key():
    table = StaticTable("t", pl.DataFrame({"ip": ["a", "b", "b", "b"]}))
    with pytest.raises(TableError, match="ip = 'b' stands in 3 rows"):
        table.keyed_by("ip")


def test_null_keys_are_left_out_because_they_match_nothing():
    assert StaticTable("t", pl.DataFrame({"ip": ["a", None, None]})).keyed_by("ip")["ip"].to_list() == ["a"]
