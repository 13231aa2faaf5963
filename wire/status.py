"""The status: what an agent's runtime decided and why, for people to look at; nothing that is computed depends on it.

Sent every few seconds and with each change of state, beside the heartbeats. The newest of an agent counts.
"""

import msgspec

from wire.errors import CorruptFrameError
from wire.frame import Int64, Name


class ProxyStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One control proxy: the operator behind it ("filter", "join hosts", "project", "aggregate"), its share p, and the
    records of the last epoch: reached it, sent on, drained because the allowance was used up."""

    operator: Name
    share: float
    reached: Int64
    local: Int64
    overflowed: Int64


class QueryStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One query version that runs on the agent. Bytes are of the last epochs; predicted: None if unprofiled."""

    query: Name
    version: Name
    proxies: list[ProxyStatus]
    wire_bytes_per_s: float
    predicted_bytes_per_s: float | None = None


class Status(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One agent at `sent_ns`. CPU in cores: seconds per second, over the last ten epochs.

    `budget_from` is "cores", "idle_share" or "cgroup_share"; `breaker` is "closed", "cheapest" or "sampling".
    """

    agent: Name
    sent_ns: Int64
    policy: Name
    state: Name
    epochs_in_state: Int64
    epoch_s: float
    budget_cores: float
    budget_from: Name
    cpu_cores: float
    breaker: Name
    sampled: float
    queries: list[QueryStatus]


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(Status, strict=True)


def encode_status(status: Status) -> bytes:
    """Deterministic bytes for a frame of kind "status"."""
    return _encoder.encode(status)


def decode_status(body: bytes) -> Status:
    """The status in a frame's body; anything else is a CorruptFrameError."""
    try:
        return _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise CorruptFrameError(f"not a status: {error}") from error
