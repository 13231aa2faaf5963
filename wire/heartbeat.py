"""The heartbeat: what an agent says of itself with every checkpoint.

It carries, per query, how far the agent's answer is complete (the watermark) and which stretch is in doubt after an
unclean end. The collector derives coverage from it; a heartbeat is also sent when there was no data.
"""

import msgspec

from wire.errors import CorruptFrameError
from wire.frame import NOT_MSGPACK, Int64, Name

FINISHED_NS = 2**63 - 1


class QueryProgress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far one query of one agent is complete, in event time (ns UTC).

    Every record in [first_ns, watermark_ns) that the agent will ever see has been checkpointed, except within
    the interrupted range, where records of a source that cannot be replayed may be missing, or those of a replayed file
    that had been read before the query came.
    A finished replay has the watermark FINISHED_NS.
    """

    query: Name
    version: Name
    first_ns: Int64
    watermark_ns: Int64
    replayable: bool
    finished: bool = False
    interrupted_from_ns: Int64 | None = None
    interrupted_to_ns: Int64 | None = None


class Heartbeat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One agent's word at `sent_ns`. `counters` are cumulative since the agent's start and named as its metrics.

    `previous_incarnation` is the incarnation before this one in this spool, empty where there is none, and
    `previous_sequence` the highest sequence that this spool knows to have handed over for it, or still holds a frame
    for. A collector that has seen a higher one knows that the spool was restored from an older disk.
    """

    agent: Name
    host: Name
    machine_id: Name
    started_ns: Int64
    sent_ns: Int64
    clean: bool
    queries: list[QueryProgress]
    counters: dict[Name, Int64]
    previous_incarnation: Name = ""
    previous_sequence: Int64 = 0


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(Heartbeat, strict=True)


def encode_heartbeat(heartbeat: Heartbeat) -> bytes:
    """Deterministic bytes for a frame of kind "heartbeat"."""
    return _encoder.encode(heartbeat)


def decode_heartbeat(body: bytes) -> Heartbeat:
    """The heartbeat in a frame's body; anything else is a CorruptFrameError."""
    try:
        return _decoder.decode(body)
    except NOT_MSGPACK as error:
        raise CorruptFrameError(f"not a heartbeat: {error}") from error
