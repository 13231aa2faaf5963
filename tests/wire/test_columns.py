"""Column bodies: narrow and widen are inverse, and foreign bytes only ever raise CorruptFrameError."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wire.columns import pack_columns, unpack_columns
from wire.errors import CorruptFrameError, FrameTooLargeError

GOLDEN = Path(__file__).parent / "golden"
INT64 = st.integers(-(2**63), 2**63 - 1)
SCHEMA: dict[str, pl.DataType] = {
    "ts": pl.Int64(),
    "n": pl.Int64(),
    "x": pl.Float64(),
    "label": pl.String(),
    "ok": pl.Boolean(),
    "gaps": pl.List(pl.Int32()),
    "counts": pl.List(pl.Int64()),
}


@st.composite
def frames(draw: st.DrawFn) -> pl.DataFrame:
    rows = draw(st.integers(0, 12))

    def column(items: st.SearchStrategy[object]) -> list[object]:
        return draw(st.lists(items, min_size=rows, max_size=rows))

    near = st.integers(0, 300).map(lambda step: 1_795_000_000_000_000_000 + step)
    return pl.DataFrame(
        {
            "ts": column(draw(st.sampled_from([INT64, near]))),
            "n": column(st.none() | draw(st.sampled_from([INT64, st.integers(-5, 5)]))),
            "x": column(st.none() | st.floats(allow_nan=False)),
            "label": column(st.none() | st.text(max_size=8)),
            "ok": column(st.none() | st.booleans()),
            "gaps": column(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4)),
            "counts": column(st.lists(draw(st.sampled_from([INT64, st.integers(0, 9)])), max_size=4)),
        },
        schema=SCHEMA,
    )


@given(frames())
@settings(max_examples=150)
def test_columns_round_trip(frame: pl.DataFrame) -> None:
    body = pack_columns(frame)
    assert unpack_columns(body, SCHEMA).equals(frame, null_equal=True)
    assert pack_columns(frame.clone()) == body


def test_the_bytes_of_version_1_are_read_for_ever() -> None:
    body = bytes.fromhex("".join((GOLDEN / "columns_v1.hex").read_text().split()))
    expected = pl.DataFrame(
        {
            "ts": [10, 20, 31],
            "n": [None, -7, 2**40],
            "x": [0.5, None, -1.0],
            "label": ["a", "", None],
            "ok": [True, None, False],
            "gaps": [[70_000, 3], [], [-1]],
            "counts": [[1, 2**40], [], [9]],
        },
        schema=SCHEMA,
    )
    assert unpack_columns(body, SCHEMA).equals(expected, null_equal=True)


def test_near_integers_travel_as_small_ones() -> None:
    start = 1_795_000_000_000_000_000
    steady = pl.DataFrame({"ts": [start + 1_000_000 * i for i in range(20_000)]})
    scattered = pl.DataFrame({"ts": [start + (7_919 * i) % 20_011 * 10**12 for i in range(20_000)]})
    assert len(pack_columns(steady)) < 1_000 < len(pack_columns(scattered))


def test_other_columns_than_the_reader_expects_are_corrupt() -> None:
    body = pack_columns(pl.DataFrame({"a": [1]}))
    with pytest.raises(CorruptFrameError, match="wanted \\['b'\\]"):
        unpack_columns(body, {"b": pl.Int64()})
    with pytest.raises(CorruptFrameError, match="wanted String"):
        unpack_columns(body, {"a": pl.String()})


def test_columns_that_claim_to_unpack_to_gigabytes_are_refused_before_anything_is_allocated() -> None:
    body = pack_columns(pl.DataFrame({"a": [1]}))
    at = body.index(bytes.fromhex("28b52ffd"))
    bomb = bytes.fromhex("28b52ffd e0") + (2**40).to_bytes(8, "little") + body[at + 6 :]
    with pytest.raises(CorruptFrameError, match="would unpack to 1099511627776 bytes"):
        unpack_columns(body[:at] + bomb, {"a": pl.Int64()})


# Only without a checksum can such bytes reach the reader at all; Polars' panic must still not end the collector.
@given(st.binary(max_size=200))
@settings(max_examples=100)
def test_foreign_bytes_only_raise_corrupt_frame_error(data: bytes) -> None:
    with pytest.raises(CorruptFrameError):
        unpack_columns(data, SCHEMA)


def test_more_rows_than_any_agent_sends_are_refused_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    body = pack_columns(pl.DataFrame({"a": [1, 1, 1]}))
    monkeypatch.setattr("wire.columns.MAX_ROWS", 2)
    with pytest.raises(FrameTooLargeError, match="3 rows in one body; at most 2"):
        pack_columns(pl.DataFrame({"a": [1, 1, 1]}))
    with pytest.raises(CorruptFrameError, match="a body of 3 rows; at most 2"):
        unpack_columns(body, {"a": pl.Int64()})
