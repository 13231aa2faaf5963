"""Rows either have a schema's columns and types exactly, or say what they have instead."""

import polars as pl
import pytest

from pipeline.errors import SchemaError
from pipeline.schema import MAX_TIME_NS, MIN_TIME_NS, check, empty, polars_schema, stream_schema

SCHEMA = {"ts": "int64", "host": "string", "late_ns": "int64", "share": "float64", "ok": "bool"}


def frame(**changes: object) -> pl.DataFrame:
    return pl.DataFrame(
        {"ts": [1, 2], "host": ["a", None], "late_ns": [3, 4], "share": [0.5, 1.0], "ok": [True, None]} | changes
    )


def test_every_stream_starts_with_time_and_host():
    assert list(stream_schema({"late_ns": "int64"}).items()) == [
        ("ts", "int64"), ("host", "string"), ("late_ns", "int64"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"late": "int"}, "did you mean 'int64'"),
        ({"7late": "int64"}, "not starting with a digit"),
        ({"a.b": "int64"}, "letters, digits and _"),
        ({"ts": "float64"}, "in every stream it is int64"),
    ],
)
def test_a_stream_with_impossible_columns_is_refused(columns, message):
    with pytest.raises(SchemaError, match=message):
        stream_schema(columns)


def test_check_orders_and_prunes_columns():
    checked = check(frame(extra=[1, 2]).select("extra", "ok", "share", "late_ns", "host", "ts"), SCHEMA)
    assert dict(checked.schema) == polars_schema(SCHEMA)
    assert checked.equals(frame())


def test_check_widens_what_fits_exactly():
    narrow = frame(late_ns=pl.Series([3, 4], dtype=pl.UInt8), share=pl.Series([1, 2], dtype=pl.Int16))
    checked = check(narrow.with_columns(pl.col("host").cast(pl.Categorical)), SCHEMA)
    assert checked["late_ns"].to_list() == [3, 4]
    assert checked["share"].to_list() == [1.0, 2.0]
    assert checked["host"].to_list() == ["a", None]


def test_a_column_without_values_takes_any_type():
    assert check(frame(late_ns=[None, None]), SCHEMA)["late_ns"].dtype == pl.Int64


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"late_ns": [1.5, 2.0]}, "fractions"),
        ({"late_ns": [float("nan"), 2.0]}, "does not fit int64"),
        ({"late_ns": ["1", "2"]}, "holds String, want int64"),
        ({"late_ns": [True, False]}, "holds Boolean, want int64"),
        ({"late_ns": pl.Series([1, 2**63], dtype=pl.UInt64)}, "does not fit int64"),
        ({"host": [1, 2]}, "holds Int64, want string"),
        ({"ok": [0, 1]}, "want bool"),
        ({"ts": [1, None]}, "1 of 2 rows have no 'ts'"),
        ({"ts": [1, MAX_TIME_NS + 1]}, "want ns since 1970"),
        ({"ts": [MIN_TIME_NS - 1, 1]}, "want ns since 1970"),
    ],
)
def test_check_never_changes_a_value(changes, message):
    with pytest.raises(SchemaError, match=message):
        check(frame(**changes), SCHEMA)


def test_a_missing_column_is_named_with_those_there():
    with pytest.raises(SchemaError, match=r"'share' is missing; the rows have: ts, host, late_ns, ok"):
        check(frame().drop("share"), SCHEMA)


def test_empty_has_the_types_and_no_rows():
    assert dict(empty(SCHEMA).schema) == polars_schema(SCHEMA)
    assert empty(SCHEMA).height == 0
