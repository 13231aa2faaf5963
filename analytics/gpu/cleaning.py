"""Raw lines of a job's log as LogLines: decoded, unwrapped, without prefixes, cut to a bounded length.

Whole logs go line by line through `lines_of`; scanning.py cleans only lines that may matter, with the same function.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from analytics.gpu.cleaning_blocks import Block, blocks_of
from analytics.gpu.cleaning_prefixes import Told, time_ns, without_prefixes
from analytics.gpu.log_lines import LogLine, Source

#: Bytes of a line that are looked at.
LONGEST_LINE: Final = 8 << 10


@dataclass(frozen=True, slots=True)
class Origin:
    """What is known of a log beforehand; lines that say something else are believed.

    Attributes:
        file: the name to show, and nothing more than that.
        source: None to guess it line by line; what gives no hint is `stderr`.
    """

    file: str
    source: Source | None = None
    rank: int | None = None
    node: str | None = None


_JOURNAL_NAMES: Final = {
    "message": "MESSAGE",
    "host": "_HOSTNAME",
    "at": "__REALTIME_TIMESTAMP",
    "transport": "_TRANSPORT",
    "tag": "SYSLOG_IDENTIFIER",
}


class _Docker(msgspec.Struct, frozen=True):
    """A line as Docker's json-file driver writes it."""

    log: str
    stream: str = ""
    time: str = ""


class _Journal(msgspec.Struct, frozen=True, rename=_JOURNAL_NAMES):
    """An entry of `journalctl -o json`."""

    message: str
    host: str | None = None
    at: str = ""
    transport: str = ""
    tag: str = ""


_DOCKER: Final = msgspec.json.Decoder(_Docker)
_JOURNAL: Final = msgspec.json.Decoder(_Journal)


def lines_of(chunks: Iterable[bytes], origin: Origin) -> Iterator[LogLine]:
    """All lines of a log, one after the other; a carriage return parts a line into several of one number."""
    for block in blocks_of(chunks):
        yield from lines_of_block(block, origin)


def lines_of_block(block: Block, origin: Origin) -> Iterator[LogLine]:
    """All lines of a block; what a long line repeats of the block before is left out."""
    number = block.first_line
    for raw in block.data[block.continued :].split(b"\n"):
        for piece in raw.split(b"\r"):
            if piece and not piece.isspace():
                yield clean_line(piece, origin, number)
        number += 1


def clean_line(raw: bytes, origin: Origin, number: int) -> LogLine:
    """One line of bytes without its end, colours and NULs."""
    told = _unwrapped(raw) if raw.startswith((b"{", b" {")) else None
    if told is None:
        told = Told(_decoded(raw))
    inner = without_prefixes(told.text)
    return LogLine(
        source=inner.source or told.source or origin.source or "stderr",
        file=origin.file,
        number=number,
        text=inner.text.rstrip(),
        rank=_first(inner.rank, told.rank, origin.rank),
        node=inner.node or told.node or origin.node,
        time_ns=_first(inner.time_ns, told.time_ns),
    )


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def _decoded(raw: bytes) -> str:
    """The start of a line, in UTF-8, and where it is not that, in Latin-1: every byte is some character there."""
    start = raw[:LONGEST_LINE]
    try:
        return start.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(raw) > LONGEST_LINE and error.start >= LONGEST_LINE - 3:  # the cut went through a character
            return start[: error.start].decode("utf-8")
        return start.decode("latin-1")


def _unwrapped(raw: bytes) -> Told | None:
    """What stands inside a line of JSON that a log daemon wrote; None where it is no such line."""
    if b'"log"' in raw[:4096]:
        try:
            entry = _DOCKER.decode(raw)
        except msgspec.MsgspecError:
            return None
        stream: Source = "stdout" if entry.stream == "stdout" else "stderr"
        return Told(entry.log[:LONGEST_LINE].rstrip("\n"), stream, None, None, time_ns(entry.time))
    if b'"MESSAGE"' in raw:
        try:
            found = _JOURNAL.decode(raw)
        except msgspec.MsgspecError:
            return None
        source: Source | None = "kernel" if found.transport == "kernel" or found.tag == "kernel" else None
        at = int(found.at) * 1_000 if found.at.isdigit() else None
        return Told(found.message[:LONGEST_LINE], source, None, found.host, at)
    return None
