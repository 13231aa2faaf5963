"""From lines of the kernel's log to Xid events: what NVIDIA's driver reports of a GPU, and of an NVSwitch (SXid).

An event may run over several lines: those that the driver writes behind it belong to it until another begins. What an
Xid means, and what to do about it, is not decided here. Pure: lines in, events out.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from agents.sources.gpu_fields import pci_address

MESSAGE_LENGTH: Final = 1000
DETAILS_LENGTH: Final = 4000
_MOST_UUIDS: Final = 1024
_EVENT = re.compile(
    r"(?:NVRM: (?:GPU at \S+ )?Xid|nvidia-nvswitch\d+: (?P<switch>S)Xid) "
    r"\((?P<pci>[^)]{1,40})\): (?P<xid>\d{1,6})(?:, (?P<rest>.*)|\Z)",
    re.DOTALL | re.ASCII,
)
_PROCESS = re.compile(
    r"pid='?(?P<pid>\d{1,10}|<unknown>)'?(?:, |\Z)(?:name=(?P<name>.*?)(?:, |\Z))?", re.DOTALL | re.ASCII
)
_GPU_AT = re.compile(r"NVRM: GPU at (?P<pci>\S{1,40}): (?P<uuid>GPU-[0-9A-Za-z-]{8,60})")
# Lines that say which board it is, not what happened to it.
_BOARD = re.compile(r"NVRM: GPU (at|Board Serial Number)\b")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One message of the kernel.

    Attributes:
        ts_ns: when it was written.
        text: without time and level.
        place: where it begins, in the words of whoever read it.
        follows: it goes on with the message before it.
    """

    ts_ns: int
    text: str
    place: bytes
    follows: bool = False


@dataclass(slots=True)
class XidEvent:
    """One event; `pid` and `process` are None where the driver does not know them."""

    ts_ns: int
    kind: str
    xid: int
    pci: str
    uuid: str | None
    pid: int | None
    process: str | None
    message: str
    place: bytes
    details: list[str] = field(default_factory=list)

    def add(self, text: str) -> bool:
        """Take a further line; whether there was room for it."""
        if sum(map(len, self.details)) + len(text) > DETAILS_LENGTH:
            return False
        self.details.append(text)
        return True


class XidAssembler:
    """Puts lines together to events, in their order.

    Attributes:
        held: the event whose next lines may still come.
        not_understood: lines that name an Xid and are written in no known way.
    """

    def __init__(self) -> None:
        self.held: XidEvent | None = None
        self.not_understood = 0
        self._uuids: dict[str, str] = {}

    def take(self, line: LogLine) -> XidEvent | None:
        """Take a line; returns the event that it shows to be complete."""
        text = _printable(line.text)
        found = _EVENT.match(text)
        if found is None and line.follows and self.held is not None:
            self.held.add(text)
            return None
        if found is None:
            self._note(text)
            return None
        event = self._event(found, line)
        if event is None:
            self.not_understood += 1
            return None
        before, self.held = self.held, event
        return before

    def flush(self) -> XidEvent | None:
        """What is held, as it stands."""
        event, self.held = self.held, None
        return event

    def _note(self, text: str) -> None:
        """A line of the driver's that is no event: about the one before it, or who a GPU is."""
        found = _GPU_AT.match(text)
        if found is not None:
            pci = pci_address(found["pci"])
            if pci is not None and len(self._uuids) < _MOST_UUIDS:
                self._uuids[pci] = found["uuid"]
        elif text.startswith("NVRM: ") and not _BOARD.match(text):
            if "Xid (" in text:
                self.not_understood += 1
            elif self.held is not None:
                self.held.add(text.removeprefix("NVRM: ").rstrip())

    def _event(self, found: re.Match[str], line: LogLine) -> XidEvent | None:
        pci = pci_address(found["pci"])
        if pci is None:
            return None
        rest = found["rest"] or ""
        pid = process = None
        if found["switch"] is None and (named := _PROCESS.match(rest)) is not None:
            rest = rest[named.end() :]
            pid = None if named["pid"].startswith("<") else int(named["pid"])
            process = None if named["name"] in (None, "", "<unknown>") else named["name"][:64]
        return XidEvent(
            ts_ns=line.ts_ns,
            kind="xid" if found["switch"] is None else "sxid",
            xid=int(found["xid"]),
            pci=pci,
            uuid=self._uuids.get(pci),
            pid=pid,
            process=process,
            message=rest.strip()[:MESSAGE_LENGTH],
            place=line.place,
        )


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else " " for sign in text[: 2 * DETAILS_LENGTH])
