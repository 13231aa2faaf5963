"""Batches of recorded requests: each once, back as they were, the newest first where they are too many."""

import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np
import pytest
import sqlalchemy as sa
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from analytics.tail.samples import COLUMNS as ANALYTICS_COLUMNS
from store import tail_batches, tail_services
from store.column_blobs import Column, Head
from store.connect import open_engine
from store.errors import CorruptPageError, ServiceLimitError, ServiceRowError
from store.tail_batches import INSTANCE, add_batch, batches_after
from store.tail_blobs import BLOB_FORMAT, COLUMNS, TIMES, decode, encode
from store.tail_services import get_service, list_services
from store.tail_tables import tail_batches as table
from tests.store.tail_world import NOW_NS, SECOND_NS, Columns, add, read, requests


def test_columns_are_those_that_analytics_takes() -> None:
    assert COLUMNS == ANALYTICS_COLUMNS


def test_requests_come_back_as_they_were_recorded(engine: sa.Engine) -> None:
    columns = requests(500)
    assert add(engine, columns, "1")
    found = read(engine)
    assert tuple(found.columns) == (*COLUMNS, INSTANCE)
    for name, values in columns.items():
        np.testing.assert_array_equal(found.columns[name], values, err_msg=name)
    assert (len(found), found.requests_seen, found.batches, found.since_ns) == (500, 500, 1, 0)
    assert (found.instances, found.columns[INSTANCE].tolist()) == (("a",), [0] * 500)


def test_what_was_not_told_comes_back_as_not_told(engine: sa.Engine) -> None:
    add(engine, {"arrival_ns": np.array([30, 10, 20]), "service_us": np.array([0.5, np.nan, 86_400e6])})
    found = read(engine).columns
    assert found["arrival_ns"].tolist() == [10, 20, 30]
    np.testing.assert_array_equal(found["service_us"], [np.nan, 86_400e6, 0.5])
    assert np.isnan(found["wait_us"]).all()
    assert [found[name].tolist() for name in ("degree", "explored", "weight")] == [[-1] * 3, [0] * 3, [1] * 3]


FLOATS = arrays.arrays(np.float64, 4, elements=st.floats(0, 86_400e6) | st.just(float("nan")))
COUNTS = arrays.arrays(np.int64, 4, elements=st.integers(-1, 2**53))


@settings(max_examples=50)
@given(
    st.fixed_dictionaries(
        {"arrival_ns": arrays.arrays(np.int64, 4, elements=st.integers(1, 2**62)).map(np.sort)},
        optional={name: FLOATS if name in TIMES else COUNTS for name in COLUMNS[1:12]},
    )
)
def test_any_columns_survive_but_for_parts_of_a_nanosecond(columns: Columns) -> None:
    back = decode(encode(columns))
    for name, values in columns.items():
        if name in TIMES:
            np.testing.assert_allclose(back[name], values, rtol=1e-15, atol=5.1e-4)
        else:
            np.testing.assert_array_equal(back[name], values)


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_changed_byte_is_always_found(place: int, change: int) -> None:
    data = bytearray(encode(requests(40)))
    data[place % len(data)] ^= change
    with pytest.raises(CorruptPageError, match="a batch of requests"):
        decode(bytes(data))


def test_rows_that_are_made_of_nothing_are_refused() -> None:
    head = msgspec.msgpack.encode(Head(2**40, (Column("arrival_step_ns", "int", "none", 0),)))
    body = len(head).to_bytes(4, "little") + head + (1).to_bytes(8, "little")
    packed = bytes([BLOB_FORMAT]) + zstandard.ZstdCompressor(write_checksum=True).compress(body)
    with pytest.raises(CorruptPageError, match="rows"):
        decode(packed)


def test_a_batch_that_comes_twice_is_kept_once_and_one_without_a_name_twice(engine: sa.Engine) -> None:
    columns = requests(5)
    assert [add(engine, columns, "1") for _ in range(3)] == [True, False, False]
    assert add(engine, columns, "1", instance="b")
    assert add(engine, columns, "1", service="other")
    assert [add(engine, columns, None) for _ in range(2)] == [True, True]
    assert (len(read(engine)), len(read(engine, service="other"))) == (20, 5)
    only = read(engine, instance="b")
    assert (len(only), only.instances) == (5, ("b",))


def test_two_processes_that_are_sent_the_same_batch_keep_it_once(upgraded_url: str) -> None:
    engines = [open_engine(upgraded_url, immediate=True) for _ in range(4)]
    together = threading.Barrier(len(engines))

    def send(engine: sa.Engine) -> int:
        kept = 0
        for number in range(5):
            together.wait(60)
            kept += add(engine, requests(10, number), f"batch {number}")
        return kept

    with ThreadPoolExecutor(len(engines)) as pool:
        assert sum(pool.map(send, engines)) == 5
    assert len(read(engines[0])) == 50
    with engines[0].connect() as connection:
        assert len(batches_after(connection, 0, 100)) == 5
    for engine in engines:
        engine.dispose()


def test_a_follower_of_batches_sees_each_once_and_in_order(engine: sa.Engine) -> None:
    for number in range(5):
        add(engine, requests(number + 1, number, NOW_NS + number * SECOND_NS))
    with engine.connect() as connection:
        first = batches_after(connection, 0, 2)
        rest = batches_after(connection, first[-1].id, 10)
        assert batches_after(connection, rest[-1].id, 10) == []
    assert [row.requests for row in first + rest] == [1, 2, 3, 4, 5]
    assert all(row.from_ns <= row.to_ns and row.service == "search" for row in first + rest)


def test_a_stretch_holds_exactly_the_requests_that_arrived_in_it(engine: sa.Engine) -> None:
    batches = [requests(200, seed, NOW_NS + seed * SECOND_NS // 5) for seed in range(4)]
    for columns in batches:
        add(engine, columns)
    arrivals = np.sort(np.concatenate([columns["arrival_ns"] for columns in batches]))
    since, until = int(arrivals[150]), int(arrivals[610])
    found = read(engine, since, until)
    np.testing.assert_array_equal(found.columns["arrival_ns"], arrivals[(arrivals >= since) & (arrivals < until)])
    assert (found.since_ns, found.damaged) == (since, ())
    assert len(read(engine, 1, 2)) == len(read(engine, service="nobody")) == 0


def test_of_too_many_requests_the_newest_are_read_and_since_when_none_is_missing(engine: sa.Engine) -> None:
    batches = [requests(200, seed, NOW_NS + seed * SECOND_NS // 10) for seed in range(4)]
    for place, columns in enumerate(batches):
        add(engine, columns, instance=f"i{place % 2}")
    arrivals = np.sort(np.concatenate([columns["arrival_ns"] for columns in batches]))
    for most in (1, 200, 450, 799, 800):
        found = read(engine, most=most)
        mine = found.columns["arrival_ns"]
        assert (len(found), found.requests_seen) == (min(most, 800), 800)
        complete = arrivals[arrivals >= found.since_ns]
        np.testing.assert_array_equal(mine[mine >= found.since_ns], complete)
        assert most < 800 or found.since_ns == 0


def test_of_very_many_batches_only_the_newest_are_listed(engine: sa.Engine) -> None:
    """Counted and not listed: a service may send a batch a second from each of a hundred servers."""
    add(engine, requests(2))
    names = ", ".join(column.name for column in table.c if column.name != "id")
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                f"INSERT INTO tail_batches (id, {names}) "
                "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 40000) "
                f"SELECT n.i, {names} FROM n, tail_batches WHERE tail_batches.id = 1"
            )
        )
    tracemalloc.start()
    try:
        found = read(engine, most=3)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (len(found), found.batches, found.requests_seen) == (3, 2, 80_000)
    assert peak < 6e6


def test_a_damaged_batch_is_named_and_costs_only_its_own_requests(engine: sa.Engine) -> None:
    for number in range(3):
        add(engine, requests(10, number), instance=f"i{number}")
    with engine.begin() as connection:
        body = connection.execute(sa.select(table.c.body).where(table.c.instance == "i1")).scalar_one()
        connection.execute(sa.update(table).where(table.c.instance == "i1").values(body=bytes(body)[:-3]))
    found = read(engine)
    assert (len(found), found.batches) == (20, 2)
    (text,) = found.damaged
    assert "batch 2 of instance 'i1': a batch of requests" in text


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"service_us": None}, "service_us is wanted, too"),
    ({"arrival_ns": np.zeros(0, np.int64), "service_us": np.zeros(0)}, "a batch of 0 requests; want 1 to"),
    ({"wait_us": np.zeros(3)}, "column 'wait_us' of shape (3,) in a batch of 2"),
    ({"waits": np.zeros(2)}, "column 'waits'"),
    ({"service_us": np.array([1.0, -1.0])}, "service_us is -1.0 in a batch; want 0 to"),
    ({"service_us": np.array([1.0, np.inf])}, "service_us is inf"),
    ({"arrival_ns": np.array([0, 1])}, "arrival_ns is 0 in a batch; want 1 to"),
    ({"weight": np.array([1, 0])}, "weight is 0"),
    ({"degree": np.array([-2, 0])}, "degree is -2"),
]


def test_columns_and_names_that_cannot_be_kept_are_refused_and_said(engine: sa.Engine) -> None:
    for change, words in REFUSED:
        columns = {"arrival_ns": np.array([1, 2]), "service_us": np.array([1.0, 2.0])} | change
        with pytest.raises(ServiceRowError) as caught:
            add(engine, {name: values for name, values in columns.items() if values is not None})
        assert words in str(caught.value)
    for name in ("", "x" * 257, "a\x00b", "\ud800"):
        for names in ({"service": name}, {"instance": name}, {"batch": name}):
            with pytest.raises(ServiceRowError, match="want 1 to"):
                add(engine, requests(2), **names)
        with engine.connect() as connection:
            assert get_service(connection, name) is None
    assert len(read(engine)) == 0


def test_a_batch_is_no_larger_than_may_be(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail_batches, "REQUESTS_MAX", 4)
    assert add(engine, requests(4))
    with pytest.raises(ServiceRowError, match="a batch of 5 requests; want 1 to 4, send several"):
        add(engine, requests(5))


def test_the_number_of_services_is_bounded(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail_services, "SERVICES_MAX", 2)
    add(engine, requests(2), service="one")
    add(engine, requests(2), service="two")
    with pytest.raises(ServiceLimitError, match="'three' is new, and there are 2 services already") as caught:
        add(engine, requests(2), service="three")
    assert caught.value.limit == 2
    assert add(engine, requests(2), service="one")
    with engine.connect() as connection:
        assert [row.service for row in list_services(connection)] == ["one", "two"]


def test_a_service_whose_requests_were_once_made_up_says_so(engine: sa.Engine) -> None:
    add(engine, requests(2))
    with engine.begin() as connection:
        assert not tail_services.known_service(connection, "search").synthetic
        add_batch(connection, "search", "a", None, requests(2), NOW_NS, synthetic=True)
        add_batch(connection, "search", "a", None, requests(2), NOW_NS)
        assert tail_services.known_service(connection, "search").synthetic


def test_a_request_takes_few_bytes(engine: sa.Engine) -> None:
    assert len(encode(requests(10_000))) < 20 * 10_000
    assert len(encode(requests(10_000))) < len(b"".join(values.tobytes() for values in requests(10_000).values())) / 5
    assert encode(requests(50)) == encode(requests(50))
