"""What a transport does: keep frames durably, in order per partition, and give them back from any offset.

Two sides, each small enough to be met by Kafka and by a file on one machine. A publisher accepts payloads under a
token of the caller's and later reports which tokens are durable; a subscriber hands out records of the partitions
it was given, from where the caller wants to begin. Offsets count up by one per record and partition.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Record:
    """One stored payload and its place."""

    partition: int
    offset: int
    payload: bytes


AssignmentCallback = Callable[[frozenset[int]], None]


class Publisher(Protocol):
    """The sending side, used by one thread."""

    def partitions(self) -> int:
        """How many partitions there are, numbered from 0."""

    def publish(self, partition: int, token: int, payload: bytes) -> None:
        """Hand over one payload; it is durable only once `acknowledged` has returned its token.

        Raises:
            TransportFullError: the transport's limit is reached; this payload was not taken.
            TransportError: the transport is out of reach; this payload was not taken.
        """

    def acknowledged(self, timeout_s: float) -> list[int]:
        """Tokens that became durable, waiting at most `timeout_s` while some are still outstanding.

        Raises:
            TransportError: what was outstanding is not known to be durable; publish it again.
        """

    def close(self) -> None:
        """Let go of the transport; what is not acknowledged may or may not be stored."""


class Subscriber(Protocol):
    """The receiving side, used by one thread; the callbacks run inside `poll`."""

    def subscribe(self, on_assign: AssignmentCallback, on_revoke: AssignmentCallback) -> None:
        """Take part in sharing the partitions; each change is told before any record of it is handed out.

        `on_assign` must `seek` every new partition. `on_revoke` is called while the partitions are still ours
        where the transport can tell in time; what it leaves behind is fenced by the database anyway.
        """

    def assigned(self) -> frozenset[int]:
        """The partitions this subscriber holds now."""

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        """The next records of all assigned, unpaused partitions, in order per partition; [] after `timeout_s`.

        Raises:
            OffsetOutOfRangeError: a partition no longer holds the wanted offset; `seek` elsewhere.
            TransportError: the transport is out of reach.
        """

    def seek(self, partition: int, offset: int) -> None:
        """Continue `partition` at `offset`."""

    def log_id(self) -> str:
        """Which log this is, at most 64 characters: another one of the same name has another; empty if unknown.

        Offsets mean something within one log only.
        """

    def pause(self, partitions: frozenset[int]) -> None:
        """Hand out nothing of these partitions until `resume`; their place is kept."""

    def resume(self, partitions: frozenset[int]) -> None:
        """Undo `pause`."""

    def committed(self, partition: int, next_offset: int) -> None:
        """Advice that records below `next_offset` are in the database; a transport may drop or display them."""

    def ends(self) -> Mapping[int, int]:
        """The offset after the last record of each assigned partition, as far as it is known.

        What records read have told; of a paused partition, a few seconds old at most while the transport answers.
        """

    def close(self) -> None:
        """Leave; the partitions go to others."""
