"""The mark: which frames of one incarnation have been taken in, however they arrive.

An incarnation numbers its frames 1, 2, 3, … on one partition. The mark is the highest number seen; numbers below it
that have not been seen are open gaps, at most MAX_GAPS of them. A frame above the mark or inside a gap is new, any
other is a duplicate. A gap that stays open for 10 s is missed: it lowers coverage until it is filled. One that
stays open longer than any spool may hold a frame is closed as lost.
"""

import msgspec

from store.claims import MarkRow
from wire.errors import CorruptFrameError

MAX_GAPS = 64


class Gap(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Frames low..high are missing, seen to be so at opened_ns.

    What they hold was measured between from_ns, the checkpoint before the frame below the gap, and to_ns, the one
    that made the frame above it. `missed` says that coverage knows.
    """

    low: int
    high: int
    from_ns: int
    to_ns: int
    opened_ns: int
    missed: bool = False

    @property
    def stretch(self) -> tuple[int, int]:
        """Where its records were measured; never empty."""
        return self.from_ns, max(self.to_ns, self.from_ns + 1)


class _Stored(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    checkpoint_before_ns: int
    gaps: list[Gap]


_decoder = msgspec.msgpack.Decoder(_Stored, strict=True)


class Mark:
    """One incarnation's mark and gaps; changed in memory, stored by the flush."""

    def __init__(self, agent: str, incarnation: str, started_ns: int) -> None:
        """The mark of an incarnation that nothing has been seen of."""
        self.agent = agent
        self.incarnation = incarnation
        self.sequence = 0
        self.created_ns = started_ns
        self.checkpoint_before_ns = started_ns
        self.updated_ns = started_ns
        self.gaps: list[Gap] = []

    @classmethod
    def from_row(cls, row: MarkRow) -> "Mark":
        """The mark as it was last flushed."""
        mark = cls(row.agent, row.incarnation, row.mark_created_ns)
        mark.sequence = row.mark
        mark.updated_ns = row.updated_ns
        try:
            stored = _decoder.decode(row.gaps)
        except msgspec.MsgspecError as error:
            raise CorruptFrameError(f"stored gaps of {row.agent} {row.incarnation} do not hold: {error}") from error
        mark.checkpoint_before_ns, mark.gaps = stored.checkpoint_before_ns, stored.gaps
        return mark

    def row(self) -> MarkRow:
        """The mark as the flush stores it."""
        return MarkRow(
            self.agent,
            self.incarnation,
            self.sequence,
            self.created_ns,
            msgspec.msgpack.encode(_Stored(self.checkpoint_before_ns, self.gaps)),
            self.updated_ns,
        )

    def accept(self, sequence: int, created_ns: int, now_ns: int) -> bool:
        """Whether a frame is new; if so it counts as taken in from here on."""
        self.updated_ns = max(self.updated_ns, now_ns)
        if sequence > self.sequence:
            if sequence > self.sequence + 1:
                self.gaps.append(Gap(self.sequence + 1, sequence - 1, self.checkpoint_before_ns, created_ns, now_ns))
            if created_ns > self.created_ns:
                self.checkpoint_before_ns = self.created_ns
            self.sequence, self.created_ns = sequence, created_ns
            return True
        for place, gap in enumerate(self.gaps):
            if gap.low <= sequence <= gap.high:
                rest = ((gap.low, sequence - 1), (sequence + 1, gap.high))
                self.gaps[place : place + 1] = [
                    msgspec.structs.replace(gap, low=low, high=high) for low, high in rest if low <= high
                ]
                return True
        return False

    def miss_gaps(self, opened_before_ns: int) -> list[Gap]:
        """Gaps opened before that time which were not returned before."""
        missed = [gap for gap in self.gaps if gap.opened_ns < opened_before_ns and not gap.missed]
        self.gaps = [msgspec.structs.replace(gap, missed=True) if gap in missed else gap for gap in self.gaps]
        return missed

    def stretches_missed(self) -> set[tuple[int, int]]:
        """Stretches that coverage has been told of and that are still not whole."""
        return {gap.stretch for gap in self.gaps if gap.missed}

    def begin_at(self, sequence: int) -> None:
        """Take everything below `sequence` as seen: whether it was, nobody remembers."""
        self.sequence = sequence - 1

    def close_gaps(self, opened_before_ns: int) -> list[Gap]:
        """Give up gaps opened before that time, and the oldest beyond MAX_GAPS; returns the lost ones."""
        self.gaps.sort(key=lambda gap: gap.opened_ns)
        surplus = max(0, len(self.gaps) - MAX_GAPS)
        lost = [gap for place, gap in enumerate(self.gaps) if place < surplus or gap.opened_ns < opened_before_ns]
        self.gaps = sorted((gap for gap in self.gaps if gap not in lost), key=lambda gap: gap.low)
        return lost
