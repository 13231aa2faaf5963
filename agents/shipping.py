"""What it takes to bring rows and groups to the transport, in bytes and CPU: encoding, the spool, the uplink.

Checkpoints ship in bursts, so what is gathered is charged by prediction when it is gathered; what a checkpoint really
takes is measured here and makes the next prediction. Which epoch it is charged to is the allowance's affair
(allowance.py).
The spool and the uplink cost per byte, and per checkpoint: the latter does not depend on what is shipped, so it
must not make draining look dear on an agent that ships little.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from agents.cost_line import ShippingLine
from agents.cost_model import Prices
from agents.group_estimates import Gathered

# What is usual, per item and per call; readings soon say better.
_ROW_S, _ROWS_S = 7e-8, 5e-4
_GROUP_S, _GROUPS_S = 2e-6, 1.5e-3
_STORED_BYTE_S, _SENT_BYTE_S, _BYTES_S = 2e-9, 4e-9, 1.5e-3
_ROW_BYTES: Final = 20.0
_GROUP_BYTES: Final = 60.0
# Fewer rows say little about bytes per row, since names and types stand in every frame.
ENOUGH_ROWS: Final = 512
# Samples and frames differ by no more than this, or something else is wrong.
_MOST_SCALED: Final = 4.0
# Trials tell a slope where one is so much larger than the other.
_MANY: Final = 4


@dataclass(frozen=True, slots=True)
class Trial:
    """Rows, or groups, that were encoded on trial."""

    rows: int
    size_bytes: int
    cpu_s: float


class Shipping:
    """The shipping of one agent."""

    def __init__(self, clock: Callable[[], float] = time.process_time) -> None:
        """`clock` reads the CPU seconds of the process."""
        self.clock = clock
        self.bytes_by_version: Counter[str] = Counter()
        self._encodings: dict[tuple[str, int], _Encoding] = {}
        self._gathered: dict[str, Gathered] = {}
        self._stored = ShippingLine(_STORED_BYTE_S, _BYTES_S)
        self._sent = ShippingLine(_SENT_BYTE_S, _BYTES_S)

    def encoded(self, version: str, cut: int, rows: int, size_bytes: int, cpu_s: float) -> None:
        """A checkpoint encoded rows drained at a cut, or as many groups for the cut behind the last row stage."""
        self.bytes_by_version[version] += size_bytes
        self._of(version, cut).add(rows, size_bytes, cpu_s)

    def encoded_groups(self, version: str, cut: int, gathered: Gathered, size_bytes: int, cpu_s: float) -> None:
        """As `encoded`, for a partial result: merged, in order and encoded."""
        before = self._gathered.get(version)
        self._gathered[version] = gathered if before is None else gathered.after(before)
        self.bytes_by_version[version] += size_bytes
        self._of(version, cut, groups=True).add(gathered.groups, size_bytes, cpu_s)

    def tried(self, version: str, cut: int, few: "Trial", many: "Trial", *, groups: bool = False) -> None:
        """Samples were encoded and thrown away; where checkpoints tell more, only the sample's size is noted."""
        found = self._of(version, cut, groups=groups)
        if many.rows:
            found.tried_each = many.size_bytes / many.rows
        if self.recent(version, cut):
            return
        found.on_trial = True
        if many.rows:
            found.bytes_each = found.tried_each
        if many.rows > _MANY * few.rows:
            found.cpu.tried(few.rows, few.cpu_s, many.rows, many.cpu_s)

    def stored(self, size_bytes: int, cpu_s: float) -> None:
        """A checkpoint with frames of so many bytes went into the spool."""
        self._count(self._stored, size_bytes, cpu_s)

    def sent(self, size_bytes: int, cpu_s: float) -> None:
        """So many bytes were taken from the spool to the transport; with 0 bytes it is no shipping."""
        self._count(self._sent, size_bytes, cpu_s)

    def unknown(self, version: str, cut: int) -> bool:
        """Whether nothing of that cut was ever encoded, not even on trial: what its rows are charged is a guess."""
        return (version, cut) not in self._encodings or self._encodings[version, cut].cpu.guessed

    def recent(self, version: str, cut: int) -> bool:
        """Whether checkpoints of the last epochs tell what this takes."""
        found = self._encodings.get((version, cut))
        return found is not None and found.rows >= found.enough

    def row_bytes(self, version: str, cut: int) -> float:
        """Encoded bytes of a row drained at the cut.

        Text repeats more in a whole frame than in a sample. What that is worth is seen at a cut that was both tried and
        drained at, and holds for its neighbours too: beside real bytes, those of a bare trial would look too many.
        """
        found = self._of(version, cut)
        return found.bytes_each * self._sample_to_frame(version, cut) if found.on_trial else found.bytes_each

    def row_s(self, version: str, cut: int) -> float:
        """CPU to encode, store and send a row drained at the cut."""
        return self._each_s(self._of(version, cut), self.row_bytes(version, cut))

    def group_bytes(self, version: str, cut: int) -> float:
        """Encoded bytes of a group; `cut` is the one behind the last row stage."""
        return self._of(version, cut, groups=True).bytes_each

    def group_s(self, version: str, cut: int) -> float:
        """CPU to merge, encode, store and send a group."""
        return self._each_s(self._of(version, cut, groups=True), self.group_bytes(version, cut))

    def prices(self, version: str, operators: int) -> Prices:
        """All of this for a query of so many operators."""
        cuts = range(operators)
        return Prices(
            tuple(self.row_bytes(version, cut) for cut in cuts),
            tuple(self.row_s(version, cut) for cut in cuts),
            self.group_bytes(version, operators),
            self.group_s(version, operators),
        )

    def gathered(self, version: str) -> Gathered | None:
        """What the last partial result of the query was made of."""
        return self._gathered.get(version)

    def forget(self) -> None:
        """An epoch is over: what was seen counts half from now on."""
        for found in self._encodings.values():
            found.forget()

    def keep(self, versions: Collection[str]) -> None:
        """Other versions run no longer."""
        self._encodings = {key: found for key, found in self._encodings.items() if key[0] in versions}
        self._gathered = {version: found for version, found in self._gathered.items() if version in versions}
        self.bytes_by_version = Counter({v: size for v, size in self.bytes_by_version.items() if v in versions})

    def _of(self, version: str, cut: int, *, groups: bool = False) -> "_Encoding":
        found = self._encodings.get((version, cut))
        if found is None:
            found = (
                _Encoding(1, ShippingLine(_GROUP_S, _GROUPS_S), _GROUP_BYTES, groups=True) if groups else _Encoding()
            )
            self._encodings[version, cut] = found
        return found

    def _each_s(self, encoding: "_Encoding", bytes_each: float) -> float:
        return encoding.cpu.slope_s + bytes_each * (self._stored.slope_s + self._sent.slope_s)

    def _sample_to_frame(self, version: str, cut: int) -> float:
        """Bytes of a row in frames by those in samples, at the nearest cut that tells both; else 1."""
        known = {
            at: one.bytes_each / one.tried_each
            for (of, at), one in self._encodings.items()
            if of == version and not one.groups and one.tried_each and not one.on_trial
        }
        if not known:
            return 1.0
        ratio = known[min(known, key=lambda at: (abs(at - cut), at))]
        return max(1 / _MOST_SCALED, min(ratio, _MOST_SCALED))

    def _count(self, line: ShippingLine, size_bytes: int, cpu_s: float) -> None:
        if size_bytes:
            line.add(size_bytes, cpu_s)


@dataclass(slots=True)
class _Encoding:
    """Rows of one cut, or groups, as they were encoded: older ones count less."""

    enough: int = ENOUGH_ROWS
    cpu: ShippingLine = field(default_factory=lambda: ShippingLine(_ROW_S, _ROWS_S))
    bytes_each: float = _ROW_BYTES
    groups: bool = False
    tried_each: float = 0.0  # what a sample took
    on_trial: bool = False  # bytes_each is no more than that
    rows: float = 0.0
    size_bytes: float = 0.0

    def add(self, rows: int, size_bytes: int, cpu_s: float) -> None:
        self.cpu.add(rows, cpu_s)
        if rows >= self.enough:
            self.rows += rows
            self.size_bytes += size_bytes
            self.bytes_each, self.on_trial = self.size_bytes / self.rows, False

    def forget(self) -> None:
        self.rows /= 2
        self.size_bytes /= 2
