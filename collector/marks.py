"""The mark: which frames of one incarnation have been taken in, however they arrive.

An incarnation numbers its frames 1, 2, 3, … on one partition. The mark is the highest number seen; numbers below it
that have not been seen are open gaps, at most MAX_GAPS of them. A frame above the mark or inside a gap is new, any
other is a duplicate. A gap that stays open longer than any spool may hold a frame is closed as lost.
"""

import msgspec

from store.claims import MarkRow
from wire.errors import CorruptFrameError

MAX_GAPS = 64


class Gap(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Frames low..high are missing; they were made between from_ns and to_ns. Seen to be missing at opened_ns."""

    low: int
    high: int
    from_ns: int
    to_ns: int
    opened_ns: int


_gaps_decoder = msgspec.msgpack.Decoder(list[Gap], strict=True)


class Mark:
    """One incarnation's mark and gaps; changed in memory, stored by the flush."""

    def __init__(self, agent: str, incarnation: str, started_ns: int) -> None:
        """The mark of an incarnation that nothing has been seen of."""
        self.agent = agent
        self.incarnation = incarnation
        self.sequence = 0
        self.created_ns = started_ns
        self.updated_ns = started_ns
        self.gaps: list[Gap] = []

    @classmethod
    def from_row(cls, row: MarkRow) -> "Mark":
        """The mark as it was last flushed."""
        mark = cls(row.agent, row.incarnation, row.mark_created_ns)
        mark.sequence = row.mark
        mark.updated_ns = row.updated_ns
        try:
            mark.gaps = _gaps_decoder.decode(row.gaps)
        except msgspec.MsgspecError as error:
            raise CorruptFrameError(f"stored gaps of {row.agent} {row.incarnation} do not hold: {error}") from error
        return mark

    def row(self) -> MarkRow:
        """The mark as the flush stores it."""
        return MarkRow(
            self.agent,
            self.incarnation,
            self.sequence,
            self.created_ns,
            msgspec.msgpack.encode(self.gaps),
            self.updated_ns,
        )

    def accept(self, sequence: int, created_ns: int, now_ns: int) -> bool:
        """Whether a frame is new; if so it counts as taken in from here on."""
        self.updated_ns = max(self.updated_ns, now_ns)
        if sequence > self.sequence:
            if sequence > self.sequence + 1:
                self.gaps.append(Gap(self.sequence + 1, sequence - 1, self.created_ns, created_ns, now_ns))
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

    def close_gaps(self, opened_before_ns: int) -> list[Gap]:
        """Give up gaps opened before that time, and the oldest beyond MAX_GAPS; returns the lost ones."""
        self.gaps.sort(key=lambda gap: gap.opened_ns)
        surplus = max(0, len(self.gaps) - MAX_GAPS)
        lost = [gap for place, gap in enumerate(self.gaps) if place < surplus or gap.opened_ns < opened_before_ns]
        self.gaps = sorted((gap for gap in self.gaps if gap not in lost), key=lambda gap: gap.low)
        return lost
