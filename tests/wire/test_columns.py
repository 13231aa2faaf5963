"""Column bodies: narrow and widen are inverse, and foreign bytes only ever raise CorruptFrameError."""

import contextlib
import struct
from pathlib import Path

import msgspec
import polars as pl
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.chain import Chain
from pipeline.coded import Coded
from pipeline.errors import PartialError
from pipeline.partial import Partial
from pipeline.ragged import Ragged
from pipeline.sql import compile_query
from wire.columns import pack_columns, unpack_columns, unpack_ragged
from wire.errors import CorruptFrameError, FrameTooLargeError
from wire.frame import decode_frame

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
            "x": column(st.none() | draw(st.sampled_from([st.floats(), st.integers(-9, 9).map(float)]))),
            "label": column(st.none() | draw(st.sampled_from([st.text(max_size=8), st.sampled_from(["a", "é"])]))),
            "ok": column(st.none() | st.booleans()),
            "gaps": column(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4)),
            "counts": column(st.lists(draw(st.sampled_from([INT64, st.integers(0, 9)])), max_size=4)),
        },
        schema=SCHEMA,
    )


@given(frames(), st.data())
@settings(max_examples=150)
def test_columns_round_trip(frame: pl.DataFrame, data: st.DataObject) -> None:
    cells = st.lists(st.none() | st.binary(max_size=20), min_size=frame.height, max_size=frame.height)
    frame = frame.with_columns(cell=pl.Series(data.draw(cells), dtype=pl.Binary))
    body = pack_columns(frame)
    assert unpack_columns(body, SCHEMA | {"cell": pl.Binary()}).equals(frame, null_equal=True)
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


def pinned_rows() -> pl.DataFrame:
    rows = range(40)
    return pl.DataFrame(
        {
            "ts": [1_795_000_000_000_000_000 + 1_000_000 * i + i * i * 7_919 % 50_000 for i in rows],
            "n": [None if i % 9 == 4 else i * i * 2_654_435 % 3_000_000_000 - 5 for i in rows],
            "x": [300.0 * i for i in rows],
            "label": [None if i % 13 == 6 else ["rack-1", "rack-2", "ré", ""][i % 4] for i in rows],
            "ok": [i % 3 == 0 for i in rows],
            "gaps": [[70_000 + i, 3, 5][: i % 4] for i in rows],
            "counts": [[1_000 * i] * (i % 3) for i in rows],
        },
        schema=SCHEMA,
    )


@pytest.mark.parametrize("file", ["drained_words_v1", "drained_planes_v1"])
def test_frames_of_every_release_are_read_for_ever(file: str) -> None:
    frame = decode_frame(bytes.fromhex("".join((GOLDEN / f"{file}.hex").read_text().split())))
    assert (frame.header.kind, frame.header.rows) == ("drained", 40)
    assert unpack_columns(frame.body, SCHEMA).equals(pinned_rows(), null_equal=True)


def test_columns_are_packed_as_the_newest_pinned_frame_shows() -> None:
    pinned = decode_frame(bytes.fromhex("".join((GOLDEN / "drained_planes_v1.hex").read_text().split()))).body
    payloads = [zstandard.ZstdDecompressor().decompress(body) for body in (pinned, pack_columns(pinned_rows()))]
    assert payloads[0] == payloads[1]  # compressed they may differ, by zstd's release


def pinned_lines() -> Partial:
    """Lines of three groups, one of them empty."""
    sql = """SELECT job, first_lines(text, place) AS job_first_lines, last_lines(text) AS job_last_lines
    FROM logs GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), job"""
    plan = compile_query("job_logs", sql, {"logs": {"job": "string", "text": "string", "place": "int64"}}, {})
    begin = 1_795_000_000_000_000_000
    rows = pl.DataFrame(
        {
            "ts": [begin, begin, begin + 1_500_000_000, begin + 7, begin + 9_000_000_000],
            "job": ["a", "a", "a", "b", "c"],
            "text": ["Traceback (most recent call last):", '  File "é.py", line 3', "RuntimeError: x", None, ""],
            "place": [40, 75, 9_000_000_000, 3, None],
        }
    )
    chain = Chain(plan, {})
    return chain.finish(chain.prepare(rows), after=0).sorted()


def test_lines_are_packed_as_their_pinned_frame_shows_and_come_back() -> None:
    pinned = decode_frame(bytes.fromhex("".join((GOLDEN / "partial_lines_v1.hex").read_text().split())))
    lines = pinned_lines()
    packed = pack_columns(lines.to_columns())
    payloads = [zstandard.ZstdDecompressor().decompress(body) for body in (pinned.body, packed)]
    assert payloads[0] == payloads[1]
    assert pinned.header.version == lines.plan.version
    read = Partial.from_columns(lines.plan, unpack_ragged(pinned.body, Partial.schema(lines.plan)))
    assert read.keys.equals(lines.keys)
    for name, state in lines.states.items():
        assert read.states[name].to_bodies()[0] == state.to_bodies()[0]


@given(st.integers(0, 20_000), st.integers(1, 255))
@settings(max_examples=100, deadline=None)
def test_lines_altered_without_a_checksum_raise_nothing_else(place: int, other: int) -> None:
    lines = pinned_lines()
    payload = bytearray(zstandard.ZstdDecompressor().decompress(pack_columns(lines.to_columns())))
    payload[place % len(payload)] ^= other
    with contextlib.suppress(CorruptFrameError, PartialError):
        columns = unpack_ragged(zstandard.ZstdCompressor().compress(bytes(payload)), Partial.schema(lines.plan))
        assert len(Partial.from_columns(lines.plan, columns).sorted()) == 3


@given(st.integers(0, 5_000))
@settings(max_examples=60)
def test_a_flipped_bit_in_a_frame_with_planes_is_found(place: int) -> None:
    data = bytearray(bytes.fromhex("".join((GOLDEN / "drained_planes_v1.hex").read_text().split())))
    bit = place % (8 * len(data))
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CorruptFrameError):
        decode_frame(bytes(data))


@given(st.integers(0, 20_000), st.integers(1, 255))
@settings(max_examples=100)
def test_columns_altered_without_a_checksum_raise_nothing_else(place: int, other: int) -> None:
    payload = bytearray(zstandard.ZstdDecompressor().decompress(pack_columns(pinned_rows())))
    payload[place % len(payload)] ^= other
    with contextlib.suppress(CorruptFrameError):
        assert unpack_columns(zstandard.ZstdCompressor().compress(bytes(payload)), SCHEMA).schema == SCHEMA


def test_near_integers_travel_as_small_ones() -> None:
    start = 1_795_000_000_000_000_000
    steady = pl.DataFrame({"ts": [start + 1_000_000 * i for i in range(20_000)]})
    scattered = pl.DataFrame({"ts": [start + (7_919 * i) % 20_011 * 10**12 for i in range(20_000)]})
    assert len(pack_columns(steady)) < 100
    assert len(pack_columns(scattered)) > 10_000


def test_what_repeats_itself_takes_next_to_nothing() -> None:
    rows = 5_000
    frame = pl.DataFrame(
        {"host": ["rack7-host12"] * rows, "err": [0] * rows, "load": [1.0] * rows, "tor": ["t1", "t2"] * (rows // 2)}
    )
    body = pack_columns(frame)
    assert len(body) < 250
    assert unpack_columns(body, dict(frame.schema)).equals(frame)


def test_text_of_many_and_of_few_kinds_comes_back() -> None:
    many = [f"/api/{i}/ü" for i in range(3_000)]
    frame = pl.DataFrame({"many": many, "few": [many[i % 400] for i in range(3_000)], "null": [None, "x", ""] * 1_000})
    assert unpack_columns(pack_columns(frame), dict(frame.schema)).equals(frame, null_equal=True)


@pytest.mark.parametrize("others", [[None] * 6_000, [None if row % 3 == 0 else str(row) for row in range(6_000)]])
def test_a_long_text_does_not_stand_in_for_every_null(others: list[str | None]) -> None:
    frame = pl.DataFrame({"text": ["long" * 25_000, *others]}, schema={"text": pl.String})
    body = pack_columns(frame)  # with 100 KB for each NULL it would be too large
    assert unpack_columns(body, dict(frame.schema)).equals(frame)


def test_floats_keep_their_bits() -> None:
    for values in ([-0.0, 1.0], [float("inf"), 1.0], [2.0**53, 1.0], [-3.0, 4.0], [float("nan")], [0.5]):
        frame = pl.DataFrame({"x": values})
        (back,) = unpack_columns(pack_columns(frame), {"x": pl.Float64()}).to_dict().values()
        assert back.to_numpy().tobytes() == frame["x"].to_numpy().tobytes()


def test_lists_come_back_as_two_arrays_too() -> None:
    frame = pl.DataFrame({"gaps": [[70_000, 3], [], [-1]]}, schema={"gaps": pl.List(pl.Int32)})
    found = unpack_ragged(pack_columns(frame), dict(frame.schema))["gaps"]
    assert isinstance(found, Ragged)
    assert (found.lengths.tolist(), found.items.tolist()) == ([2, 0, 1], [70_000, 3, -1])
    assert found.offsets.tolist() == [0, 2, 2, 3]
    assert pack_columns({"gaps": found}) == pack_columns(frame)


def test_text_of_few_kinds_comes_back_as_codes_too() -> None:
    for texts in (["a", "", "b", "a", "b", "a"], ["é", "a", "é", "", "é", "é"]):
        frame = pl.DataFrame({"few": texts})
        found = unpack_ragged(pack_columns(frame), dict(frame.schema))["few"]
        assert isinstance(found, Coded)
        assert found.to_series("few").equals(frame["few"])
        assert len(found.texts) == 3
        assert unpack_columns(pack_columns(frame), dict(frame.schema)).equals(frame)


def test_what_has_no_place_on_the_wire_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="column 'day' is Date; want Int64"):
        pack_columns(pl.DataFrame({"day": [20_000]}, schema={"day": pl.Date}))
    with pytest.raises(TypeError, match="column 'gaps' has NULL"):
        pack_columns(pl.DataFrame({"gaps": [[1, None]]}))


def test_other_columns_than_the_reader_expects_are_corrupt() -> None:
    body = pack_columns(pl.DataFrame({"a": [1]}))
    with pytest.raises(CorruptFrameError, match="wanted \\['b'\\]"):
        unpack_columns(body, {"b": pl.Int64()})
    with pytest.raises(CorruptFrameError, match="wanted String"):
        unpack_columns(body, {"a": pl.String()})


def test_columns_that_claim_to_unpack_to_gigabytes_are_refused_before_anything_is_allocated() -> None:
    body = pack_columns(pl.DataFrame({"a": [1]}))
    bomb = bytes.fromhex("28b52ffd e0") + (2**40).to_bytes(8, "little") + body[6:]
    with pytest.raises(CorruptFrameError, match="would unpack to 1099511627776 bytes"):
        unpack_columns(bomb, {"a": pl.Int64()})


def packed(prefix: object, buffers: bytes = b"") -> bytes:
    """A body that no pack_columns made."""
    head = msgspec.msgpack.encode(prefix)
    return zstandard.ZstdCompressor().compress(struct.pack("<I", len(head)) + head + buffers)


@pytest.mark.parametrize(
    ("column", "dtype", "buffers", "reason"),
    [
        (["a", False, "lists", [[1, 0, False, 2**40, 0], [0, 0, False, 0, 0]]], pl.List(pl.Int64()), b"", "at most"),
        (["a", False, "lists", [[1, 0, False, -1, 0], [0, 0, False, 0, 0]]], pl.List(pl.Int64()), b"", "from -1"),
        (["a", False, "lists", [[1, 0, False, 1, 0]]], pl.List(pl.Int64()), b"", "lacks one of its arrays"),
        (["a", False, "int", [[2, 0, False, 1, 0]]], pl.Int64(), b"", "2 integers stored where 1 belong"),
        (["a", False, "int", [[1, 3, False, 1, 0]]], pl.Int64(), b"abc", "integers of 3 bytes"),
        (["a", False, "int", [[1, 4, False, 1, 0]]], pl.Int64(), b"abc", "3 bytes where 4 belong"),
        (["a", False, "int", [[1, 1, False, 1, 0]] * 2], pl.Int64(), b"ab", "more arrays"),
        (["a", False, "int", [[1, 1, False, 1, 0]]], pl.Int64(), b"ab", "1 bytes too many"),
        (["a", False, "int", [[1, 0, False, 2**63, 0]]], pl.Int64(), b"", "not a set of columns"),
        (["a", False, "text", [[1, 0, False, 5, 0]]], pl.String(), b"abc", "3 bytes where 5 belong"),
        (["a", False, "text", [[1, 0, False, 1, 0]]], pl.String(), b"\xff", "not a set of columns"),
        (["a", False, "bytes", [[1, 0, False, 5, 0]]], pl.Binary(), b"abc", "3 bytes where 5 belong"),
        (["a", False, "bytes", [[1, 0, False, 2**40, 0]]], pl.Binary(), b"abc", "at most"),
        (["a", False, "text", [[1, 0, False, 1, 0]]], pl.Binary(), b"a", "of kind 'text', wanted Binary"),
        (["a", False, "codes", [[1, 0, False, 1, 0], [1, 0, False, 1, 0]]], pl.String(), b"x", "code between"),
        (["a", True, "lists", [[1, 0, False, 0, 0], [0, 0, False, 0, 0]]], pl.List(pl.Int64()), b"\x00", "has NULLs"),
        (["a", False, "float", []], pl.Int64(), b"12345678", "of kind 'float', wanted Int64"),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit_together_are_corrupt(
    column: list[object], dtype: pl.DataType, buffers: bytes, reason: str
) -> None:
    with pytest.raises(CorruptFrameError, match=reason):
        unpack_columns(packed([1, [column]], buffers), {"a": dtype})


def test_a_dictionary_does_not_multiply_without_a_limit() -> None:
    rows, text = 100_000, b"x" * 1_000
    column = ["a", False, "codes", [[rows, 0, False, 0, 0], [1, 0, False, len(text), 0]]]
    with pytest.raises(CorruptFrameError, match="texts would unpack to more"):
        unpack_columns(packed([rows, [column]], text), {"a": pl.String()})


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
    with pytest.raises(CorruptFrameError, match=r"with 3 rows; wanted .* with at most 2"):
        unpack_columns(body, {"a": pl.Int64()})


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (pl.DataFrame({"a": ["x" * 30_000]}), r"1 rows take 300\d\d bytes"),
        (pl.DataFrame({"a": [f"{'x' * 20_000}{i}" for i in range(2)]}), r"2 rows take 400\d\d bytes"),
        (pl.DataFrame({"a": ["x" * 9_000] * 4}), "36000 bytes of text in one column; at most 30000"),
        (pl.DataFrame({"x" * 2_001: [1]}), r"20\d\d of them for names; at most 30000 and 2000"),
    ],
)
def test_what_a_reader_would_refuse_is_not_packed(
    monkeypatch: pytest.MonkeyPatch, frame: pl.DataFrame, reason: str
) -> None:
    body = pack_columns(frame)
    monkeypatch.setattr("wire.columns.MAX_UNPACKED_BYTES", 30_000)
    monkeypatch.setattr("wire.columns.MAX_PREFIX_BYTES", 2_000)
    with pytest.raises(FrameTooLargeError, match=reason):
        pack_columns(frame)
    with pytest.raises(CorruptFrameError):
        unpack_columns(body, dict(frame.schema))


def test_a_prefix_of_millions_of_arrays_is_refused_before_it_is_read() -> None:
    body = packed([1, [["a", False, "int", [[0, 0, False, 0, 0]] * 50_000]]])
    with pytest.raises(CorruptFrameError, match="a prefix of 300014 bytes; at most 262144"):
        unpack_columns(body, {"a": pl.Int64()})
