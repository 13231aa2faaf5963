"""Statuses: they round-trip, their bytes are pinned, newer ones are understood as far as known, others refused."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import CorruptFrameError
from wire.status import (
    MAX_QUERIES,
    MAX_STATUS_BYTES,
    Labels,
    Place,
    ProxyStatus,
    QueryStatus,
    Status,
    decode_status,
    encode_status,
    place_of_text,
    status_of_text,
    status_text,
)

GOLDEN = Path(__file__).parent / "golden"
PROXIES = [ProxyStatus("filter", 1.0, 38_000, 38_000, 0), ProxyStatus("aggregate", 0.75, 30_400, 20_000, 2_800)]
QUERY = QueryStatus("probe_rtt", "0123456789abcdef", PROXIES, 52_000.0, 51_250.5)
STATUS = Status(
    agent="a",
    sent_ns=2,
    policy="adaptive",
    state="adapt",
    epochs_in_state=3,
    epoch_s=1.0,
    budget_cores=0.5,
    budget_from="idle_share",
    cpu_cores=0.48,
    breaker="closed",
    sampled=1.0,
    queries=[QUERY],
)


def changed(**changes: object) -> Status:
    return msgspec.structs.replace(STATUS, **changes)


def as_map() -> dict[str, object]:
    whole: dict[str, object] = msgspec.msgpack.decode(encode_status(STATUS))
    return whole


def test_a_status_round_trips() -> None:
    assert decode_status(encode_status(STATUS)) == STATUS
    assert status_of_text(status_text(STATUS)) == STATUS


def test_the_bytes_of_version_1_are_pinned() -> None:
    pinned = bytes.fromhex("".join(line.partition("#")[0] for line in (GOLDEN / "status_v1.hex").open()))
    assert encode_status(STATUS) == pinned


def test_a_newer_agents_keys_are_skipped_wherever_they_stand() -> None:
    whole = as_map() | {"mood": ["fine", {"very": 1}]}
    (query,) = whole["queries"]  # type: ignore[misc]
    query["cores"] = 0.1
    query["proxies"][0]["crowded"] = 7
    assert decode_status(msgspec.msgpack.encode(whole)) == STATUS
    assert status_of_text(msgspec.json.encode(whole).decode()) == STATUS


def test_what_has_a_default_may_be_absent() -> None:
    whole = as_map()
    (query,) = whole["queries"]  # type: ignore[misc]
    del whole["left_out"], query["predicted_bytes_per_s"]
    wanted = changed(queries=[msgspec.structs.replace(QUERY, predicted_bytes_per_s=None)])
    assert decode_status(msgspec.msgpack.encode(whole)) == wanted


def test_an_address_for_probes_is_sent_where_there_is_one() -> None:
    found = changed(probes="10.0.0.1:7946", labels=Labels(rack="r1"))
    assert decode_status(encode_status(found)).probes == "10.0.0.1:7946"
    assert "probes" not in as_map()
    assert place_of_text(status_text(found)) == Place(Labels(rack="r1"), "10.0.0.1:7946")
    assert place_of_text(status_text(changed())) == Place()
    for odd in ("", "[]", '{"probes": 1}', '{"labels": null}'):
        with pytest.raises(CorruptFrameError):
            place_of_text(odd)


def test_labels_are_sent_where_there_are_some() -> None:
    labelled = changed(labels=Labels(rack="r12", dc="fra1"))
    assert decode_status(encode_status(labelled)) == labelled
    assert status_of_text(status_text(labelled)) == labelled
    whole = as_map() | {"labels": {"rack": "r12", "row": 7, "dc": "fra1"}}
    assert decode_status(msgspec.msgpack.encode(whole)) == labelled
    assert "labels" not in as_map()


@pytest.mark.parametrize(
    "change",
    [
        {"agent": None},
        {"agent": "a\x00b"},
        {"state": "x" * 257},
        {"sampled": 1.01},
        {"sampled": -0.5},
        {"cpu_cores": float("nan")},
        {"budget_cores": float("inf")},
        {"epochs_in_state": -1},
        {"epochs_in_state": 2**63},
        {"sent_ns": 2**63},
        {"sent_ns": "now"},
        {"left_out": -1},
        {"labels": {"rack": "r\n"}},
        {"labels": None},
        {"queries": None},
        {"queries": [{}]},
        {"queries": [msgspec.to_builtins(QUERY)] * (MAX_QUERIES + 1)},
        {"queries": [msgspec.to_builtins(QUERY) | {"proxies": [msgspec.to_builtins(PROXIES[0])] * 65}]},
        {"queries": [msgspec.to_builtins(QUERY) | {"wire_bytes_per_s": float("nan")}]},
        {"queries": [msgspec.to_builtins(QUERY) | {"proxies": [msgspec.to_builtins(PROXIES[0]) | {"share": 2.0}]}]},
    ],
    ids=str,
)
def test_what_breaks_a_bound_is_corrupt(change: dict[str, object]) -> None:
    with pytest.raises(CorruptFrameError):
        decode_status(msgspec.msgpack.encode(as_map() | change))


def test_a_status_larger_than_any_is_refused_unread_also_where_most_of_it_would_be_skipped() -> None:
    body = msgspec.msgpack.encode(as_map() | {"z": bytes(MAX_STATUS_BYTES)})
    with pytest.raises(CorruptFrameError, match="at most 65536"):
        decode_status(body)


def test_nothing_hostile_in_a_skipped_key_hurts() -> None:
    entry = msgspec.msgpack.encode(as_map())
    assert entry[0] == 0x80 | len(as_map())
    for depth in (10_000, MAX_STATUS_BYTES + 1):
        nested = bytes([entry[0] + 1]) + entry[1:] + msgspec.msgpack.encode("z") + b"\x91" * depth + b"\xc0"
        with pytest.raises(CorruptFrameError):
            decode_status(nested)


@given(st.data())
def test_a_status_that_is_cut_or_has_a_flipped_bit_is_a_status_or_corrupt(data: st.DataObject) -> None:
    whole = encode_status(STATUS)
    place = data.draw(st.integers(0, len(whole) * 8 - 1))
    flipped = bytearray(whole)
    flipped[place // 8] ^= 1 << place % 8
    for altered in (bytes(flipped), whole[: place // 8]):
        try:
            found = decode_status(altered)
        except CorruptFrameError:
            continue
        assert status_of_text(status_text(found)) == found


@given(st.binary(max_size=100))
def test_other_bytes_and_texts_are_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptFrameError):
        decode_status(data)
    with pytest.raises(CorruptFrameError):
        status_of_text(data.decode("latin-1"))


@given(st.integers(0, 2_000), st.integers(0, 64))
def test_queries_beyond_the_room_are_left_out_and_counted(queries: int, proxies: int) -> None:
    wide = msgspec.structs.replace(QUERY, query="q" * 200, proxies=PROXIES[:1] * proxies)
    body = encode_status(changed(queries=[wide] * queries, left_out=5))
    assert len(body) <= MAX_STATUS_BYTES
    found = decode_status(body)
    assert len(found.queries) + found.left_out == queries + 5
    assert found.left_out == 5 or len(found.queries) == MAX_QUERIES or len(body) > MAX_STATUS_BYTES // 2


def test_a_status_out_of_bounds_is_not_encoded() -> None:
    with pytest.raises(CorruptFrameError, match="cpu_cores"):
        encode_status(changed(cpu_cores=-0.1))
