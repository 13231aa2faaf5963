"""Batches of request samples, from bytes to rows: forms, units, times, and everything that can be wrong with them."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.request_rows import TYPES, Rows, rows_of
from wire.request_samples import REASONS, Samples, samples_of

NOW_NS = 1_800_000_000_000_000_000
SECOND_NS = 10**9
GOOD = {"service": "a", "wait_ms": 1, "service_ms": 2.5}


def parsed(data: bytes) -> tuple[Samples, Rows]:
    samples = samples_of(data)
    return samples, rows_of(samples.records, [NOW_NS] * len(samples.records))


def left_out_of(data: bytes) -> dict[str, int]:
    samples, rows = parsed(data)
    return samples.left_out | rows.left_out


def row(**record: Any) -> dict[str, Any]:
    _, rows = parsed(json.dumps([{"service": "a"} | record]).encode())
    (found,) = rows.frame.to_dicts()
    return found


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    "data",
    [
        as_json([GOOD, GOOD]),
        b"\n " + as_json([GOOD, GOOD]),
        as_json(GOOD) + b"\n" + as_json(GOOD),
        as_json(GOOD) + b"\r\n\n" + as_json(GOOD) + b"\n",
        as_json({"service": "a", "requests": [GOOD, {"wait_ms": 1, "service_ms": 2.5}]}),
        msgspec.msgpack.encode([GOOD, GOOD]),
        msgspec.msgpack.encode({"requests": [GOOD, GOOD]}),
    ],
    ids=["array", "spaces", "lines", "lines-crlf", "envelope", "msgpack", "msgpack-envelope"],
)
def test_a_batch_may_be_written_in_several_ways(data: bytes) -> None:
    samples, rows = parsed(data)
    assert (samples.left_out, samples.unknown, rows.left_out) == ({}, set(), {})
    assert rows.frame.select("service", "wait_us", "service_us", "weight").rows() == [("a", 1000.0, 2500.0, 1)] * 2
    assert dict(rows.frame.schema) == TYPES


@pytest.mark.parametrize("data", [as_json(GOOD), json.dumps(GOOD, indent=2).encode(), msgspec.msgpack.encode(GOOD)])
def test_one_record_alone_is_a_batch(data: bytes) -> None:
    assert parsed(data)[1].frame.height == 1


@pytest.mark.parametrize(("unit", "times"), [("ns", 0.001), ("us", 1.0), ("ms", 1e3), ("s", 1e6)])
def test_every_unit_becomes_microseconds(unit: str, times: float) -> None:
    found = row(**{f"{name}_{unit}": 3 for name in ("wait", "service", "predicted", "cpu", "raised")})
    assert [found[f"{name}_us"] for name in ("wait", "service", "predicted", "cpu", "raised")] == [
        pytest.approx(3 * times)
    ] * 5


def test_records_of_a_batch_may_differ_in_their_units() -> None:
    _, rows = parsed(as_json([{"service": "a", "wait_s": 1}, {"service": "a", "wait_us": 2}]))
    assert rows.frame["wait_us"].to_list() == [1e6, 2.0]


def test_what_is_not_told_is_null_and_weight_is_one() -> None:
    assert row(wait_us=1) == dict.fromkeys(TYPES) | {"service": "a", "wait_us": 1.0, "weight": 1, "ts": NOW_NS - 1000}


def test_counts_and_flags_come_through() -> None:
    sent = {"degree": 2, "degree_final": 6, "in_system": 0, "active_threads": 11, "long_threads": 4}
    sent |= {"table_version": 7, "weight": 100}
    found = row(service_s=1, explored=True, **sent)
    assert {name: found[name] for name in sent} == sent
    assert found["explored"] == 1


@pytest.mark.parametrize(
    ("field", "value", "ts_ns"),
    [
        ("arrival_ns", NOW_NS - 123_456_789, NOW_NS - 123_456_789),
        ("arrival_us", NOW_NS // 1000 - 7, NOW_NS - 7000),
        ("arrival_ms", NOW_NS / 1e6 - 2.5, NOW_NS - 2_500_000),
        ("arrival_s", NOW_NS / 1e9 - 1.25, NOW_NS - 1_250_000_000),
    ],
)
def test_arrival_may_be_in_any_unit(field: str, value: float, ts_ns: int) -> None:
    assert row(wait_us=1, **{field: value})["ts"] == ts_ns


def test_without_arrival_it_is_the_receipt_less_what_the_request_took() -> None:
    assert row(wait_s=1, service_ms=500)["ts"] == NOW_NS - 3 * SECOND_NS // 2


@pytest.mark.parametrize("off_s", [-3601, 3601, -1_800_000_000, 1e9, 1e300])
def test_a_clock_that_is_more_than_an_hour_off_is_not_believed(off_s: float) -> None:
    _, rows = parsed(as_json([GOOD | {"arrival_s": NOW_NS / 1e9 + off_s}, GOOD | {"arrival_s": NOW_NS / 1e9 - 3000}]))
    assert rows.time_off == 1
    assert rows.frame["ts"].to_list() == [NOW_NS - 3_500_000, NOW_NS - 3000 * SECOND_NS]


def test_where_old_records_are_taken_those_that_are_older_still_or_ahead_are_left_out() -> None:
    day_s = 86_400
    records = [
        GOOD | {"arrival_s": NOW_NS / 1e9 + at_s} for at_s in (-2 * day_s - 60, -2 * day_s + 60, 3_500, 3_700, 1e300)
    ]
    samples = samples_of(as_json([*records, GOOD]))
    rows = rows_of(samples.records, [NOW_NS] * 6, 2 * day_s * SECOND_NS)
    assert (rows.left_out, rows.time_off) == ({"time_off": 3}, 3)
    assert rows.frame["ts"].to_list() == [
        NOW_NS - (2 * day_s - 60) * SECOND_NS, NOW_NS + 3_500 * SECOND_NS, NOW_NS - 3_500_000
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"wait_us": 1}, "no_service"),
        ({"service": "", "wait_us": 1}, "no_service"),
        ({"service": 5, "wait_us": 1}, "bad_values"),
        ({"service": "a" * 257, "wait_us": 1}, "bad_values"),
        ({"service": "a"}, "no_times"),
        ({"service": "a", "predicted_us": 1}, "no_times"),
        ({"service": "a", "wait": 1, "service_us": 3}, "no_unit"),
        ({"service": "a", "wait_us": 1, "arrival": 1}, "no_unit"),
        ({"service": "a", "wait_us": 1, "service_time": 1}, "no_unit"),
        ({"service": "a", "wait_us": 1, "wait_ms": 1}, "two_units"),
        ({"service": "a", "wait_us": 1, "arrival_s": 1, "arrival_ms": 1}, "two_units"),
        ({"service": "a", "wait_us": -1}, "bad_values"),
        ({"service": "a", "wait_us": "1"}, "bad_values"),
        ({"service": "a", "wait_us": True}, "bad_values"),
        ({"service": "a", "wait_s": 86_401}, "bad_values"),
        ({"service": "a", "wait_us": 1, "raised": 1}, "no_unit"),
        ({"service": "a", "wait_us": 1, "raised_ms": -1}, "bad_values"),
        ({"service": "a", "wait_us": 1, "table_version": 1.5}, "bad_values"),
        ({"service": "a", "wait_us": 1, "degree": -1}, "bad_values"),
        ({"service": "a", "wait_us": 1, "degree": 1.5}, "bad_values"),
        ({"service": "a", "wait_us": 1, "degree": 2**60}, "bad_values"),
        ({"service": "a", "wait_us": 1, "weight": 0}, "bad_values"),
        ({"service": "a", "wait_us": 1, "explored": 2}, "bad_values"),
        ({"service": "a", "wait_us": 1, "arrival_ns": 2**63}, "bad_values"),
        ([1, 2], "no_record"),
        (7, "no_record"),
        (None, "no_record"),
    ],
)
@pytest.mark.parametrize("encode", [as_json, msgspec.msgpack.encode])
def test_a_wrong_record_costs_itself_alone(encode: Any, record: object, reason: str) -> None:
    samples, rows = parsed(encode([GOOD, record, GOOD]))
    assert samples.left_out | rows.left_out == {reason: 1}
    assert rows.frame["wait_us"].to_list() == [1000.0, 1000.0]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_times_that_are_no_numbers_are_bad_and_such_arrivals_not_believed(value: float) -> None:
    good = {"service": "a", "wait_us": 1}
    batch = msgspec.msgpack.encode([good | {"service_us": value}, good | {"arrival_s": value}])
    samples, rows = parsed(batch)
    assert (samples.left_out | rows.left_out, rows.time_off) == ({"bad_values": 1}, 1)
    assert rows.frame["ts"].to_list() == [NOW_NS - 1000]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "malformed"),
        (b"\xff\x00", "malformed"),
        (b"wait_us=1", "malformed"),
        (as_json([GOOD])[:-1], "malformed"),
        (msgspec.msgpack.encode([GOOD])[:-1], "malformed"),
        (b"[" * 100_000, "malformed"),
        (b'{"a":' * 50_000, "malformed"),
        (b"\x91" * 100_000, "malformed"),
        (b"[" + b"0," * 5000 + b"0]", "no_record"),
        (b"[" + b"{}," * 100_001 + b"{}]", "too_many"),
        (b"\xdd\xff\xff\xff\xff", "too_many"),
        (b"\x81\xa8requests\xdd\x00\x0f\xff\xff" + b"\x00" * 0xFFFFF, "too_many"),
        (b'[{"service": "\xff", "wait_us": 1}]', "bad_values"),
    ],
    ids=range(13),
)
def test_a_batch_that_cannot_be_taken_apart_counts_once(data: bytes, reason: str) -> None:
    samples, rows = parsed(data)
    assert (samples.left_out, rows.frame.height) == ({reason: 1}, 0)
    assert len(samples.examples[reason]) <= 400


def test_a_broken_line_costs_itself_alone() -> None:
    samples, rows = parsed(as_json(GOOD) + b"\n{oops\n" + as_json(GOOD))
    assert (samples.left_out, rows.frame.height) == ({"no_record": 1}, 2)


def test_names_that_nobody_knows_are_told_and_few_are_kept() -> None:
    samples, rows = parsed(as_json([GOOD | {"trace": "x", "n" * 1000: 1}] + [GOOD | {f"t{i}": 1} for i in range(500)]))
    assert rows.frame.height == 501
    assert {"trace", "n" * 60} <= samples.unknown
    assert len(samples.unknown) < 40


def test_one_record_with_very_many_unknown_names_does_not_fill_the_memory_or_the_answer() -> None:
    samples, rows = parsed(as_json([GOOD | {f"t{n}": 1 for n in range(10_000)}] + [GOOD] * 1000))
    assert rows.frame.height == 1001
    assert len(samples.unknown) <= 40
    together = Samples()
    for _ in range(3):
        together.add(samples)
    assert len(together.unknown) <= 40


def test_nothing_is_no_mistake() -> None:
    assert left_out_of(b"[]") == {}


_VALUES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5)
_NAMES = st.sampled_from(["service", "wait_us", "wait_s", "wait", "arrival_ns", "arrival_s", "degree", "explored", "x"])
_RECORDS = st.dictionaries(_NAMES, _VALUES, max_size=6) | _VALUES


@given(records=st.lists(_RECORDS, max_size=6))
def test_every_record_becomes_a_row_or_is_left_out_for_a_known_reason(records: list[Any]) -> None:
    _, rows = parsed(json_batch := json.dumps(records).encode())
    left_out = left_out_of(json_batch)
    assert set(left_out) <= set(REASONS)
    if "malformed" not in left_out:  # NaN is no JSON
        assert rows.frame.height + sum(left_out.values()) == len(records)
    assert rows.frame["ts"].is_between(NOW_NS - 86_400 * 2 * SECOND_NS, NOW_NS + 3600 * SECOND_NS).all()


@given(tail=st.binary(max_size=60))
def test_whatever_follows_a_record_it_is_taken_or_something_is_left_out(tail: bytes) -> None:
    samples, rows = parsed(b'[{"service":"a","wait_us":1}' + tail)
    assert rows.frame.height or samples.left_out


@given(data=st.binary(max_size=200))
def test_any_bytes_become_typed_rows(data: bytes) -> None:
    assert dict(parsed(data)[1].frame.schema) == TYPES
