"""The status: what an agent's runtime decided and why, for people to look at; nothing that is computed depends on it.

Sent every few seconds and with each change of state, beside the heartbeats. The newest of an agent counts.
Therefore it is read more tolerantly than anything else on the wire: keys that a reader does not know are skipped, so
that newer agents fill no older collector's dead letters, and a key added later must have a default. What is known is
bounded: a status that breaks a bound is corrupt, and `encode_status` makes none.
"""

from typing import Annotated, Final

import msgspec

from wire.errors import CorruptFrameError
from wire.frame import NOT_MSGPACK, PRINTABLE, Int64, Name, Share

MAX_STATUS_BYTES: Final = 2**16
MAX_QUERIES: Final = 512
MAX_PROXIES: Final = 64

# Finite by their bounds: NaN is within none.
Amount = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Number = Annotated[float, msgspec.Meta(ge=0, le=1e15)]
# An operator's kind and the name of what it reads, which may take 256 itself.
Operator = Annotated[str, msgspec.Meta(max_length=300, pattern=PRINTABLE)]


class ProxyStatus(msgspec.Struct, frozen=True):
    """One control proxy: the operator behind it ("filter", "join hosts", "project", "aggregate"), its share p, and the
    records of the last epoch: reached it, sent on, drained because the allowance was used up."""

    operator: Operator
    share: Share
    reached: Amount
    local: Amount
    overflowed: Amount


class QueryStatus(msgspec.Struct, frozen=True):
    """One query version that runs on the agent. Bytes are of the last epochs; predicted: None if unprofiled."""

    query: Name
    version: Name
    proxies: Annotated[list[ProxyStatus], msgspec.Meta(max_length=MAX_PROXIES)]
    wire_bytes_per_s: Number
    predicted_bytes_per_s: Number | None = None


class Labels(msgspec.Struct, frozen=True):
    """Where the agent stands, by its configuration; "" is not said."""

    rack: Name = ""
    tor: Name = ""
    dc: Name = ""


class Status(msgspec.Struct, frozen=True):
    """One agent at `sent_ns`. CPU in cores: seconds per second, over the last ten epochs.

    `budget_from` is "cores", "idle_share" or "cgroup_share"; `breaker` is "closed", "cheapest" or "sampling".
    `left_out` counts queries that run and are not in `queries`, because a status has room for so many only.
    `probes` is the HOST:PORT at which other agents may probe it.
    An agent without labels or such an address sends none: its status has the bytes that it had before there were any.
    """

    agent: Name
    sent_ns: Int64
    policy: Name
    state: Name
    epochs_in_state: Amount
    epoch_s: Number
    budget_cores: Number
    budget_from: Name
    cpu_cores: Number
    breaker: Name
    sampled: Share
    queries: Annotated[list[QueryStatus], msgspec.Meta(max_length=MAX_QUERIES)]
    left_out: Amount = 0
    labels: Labels | msgspec.UnsetType = msgspec.UNSET
    probes: Name | msgspec.UnsetType = msgspec.UNSET


class Place(msgspec.Struct, frozen=True):
    """The part of a status that says where an agent stands and is found; the rest is not even read."""

    labels: Labels = Labels()
    probes: Name = ""


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(Status, strict=True)
_text_encoder = msgspec.json.Encoder(order="deterministic")
_text_decoder = msgspec.json.Decoder(Status, strict=True)
_place_decoder = msgspec.json.Decoder(Place, strict=True)


def encode_status(status: Status) -> bytes:
    """Deterministic bytes for a frame of kind "status", with as many of the first queries as there is room for.

    Raises:
        CorruptFrameError: a number or name is out of its bounds; no reader would take it.
    """
    shown, whole = status.queries[:MAX_QUERIES], status.left_out + len(status.queries)
    body = _encoder.encode(msgspec.structs.replace(status, queries=shown, left_out=whole - len(shown)))
    while len(body) > MAX_STATUS_BYTES and shown:
        shown = shown[: min(len(shown) - 1, len(shown) * MAX_STATUS_BYTES // len(body))]
        body = _encoder.encode(msgspec.structs.replace(status, queries=shown, left_out=whole - len(shown)))
    decode_status(body)
    return body


def decode_status(body: bytes) -> Status:
    """The status in a frame's body; anything else is a CorruptFrameError."""
    if len(body) > MAX_STATUS_BYTES:
        raise CorruptFrameError(f"a status of {len(body)} bytes; at most {MAX_STATUS_BYTES}")
    try:
        return _decoder.decode(body)
    except NOT_MSGPACK as error:
        raise CorruptFrameError(f"not a status: {error}") from error


def status_text(status: Status) -> str:
    """The status as JSON, which a database keeps."""
    return _text_encoder.encode(status).decode()


def status_of_text(text: str) -> Status:
    """The status that `status_text` wrote, perhaps in another release; anything else is a CorruptFrameError."""
    try:
        return _text_decoder.decode(text)
    except NOT_MSGPACK as error:
        raise CorruptFrameError(f"not the text of a status: {error}") from error


def place_of_text(text: str) -> Place:
    """As `status_of_text`, of much less: for lists of the whole fleet."""
    try:
        return _place_decoder.decode(text)
    except NOT_MSGPACK as error:
        raise CorruptFrameError(f"not the text of a status: {error}") from error
