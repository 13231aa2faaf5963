"""Raw lines of a job's log as LogLines: decoded, unwrapped, without prefixes, cut to a bounded length.

Whole logs go line by line through `lines_of`; scanning.py cleans only lines that may matter, with the same function.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from analytics.gpu.cleaning_blocks import Block, blocks_of
from analytics.gpu.cleaning_prefixes import Told, without_prefixes
from analytics.gpu.log_lines import LogLine, Source

#: Bytes of a line that are looked at.
LONGEST_LINE: Final = 8 << 10
#: A line that begins so may be an entry of JSON.
JSON_STARTS: Final = (b"{", b" {")


@dataclass(frozen=True, slots=True)
class Origin:
    """What is known of a log beforehand; lines that say something else are believed.

    Attributes:
        file: the name to show, and nothing more than that.
        source: None to guess it line by line; what gives no hint is `stderr`.
        year: of days that name none, as syslog's; None leaves such lines without a time.
    """

    file: str
    source: Source | None = None
    rank: int | None = None
    node: str | None = None
    year: int | None = None


_ENTRY_NAMES: Final = {
    "journal": "MESSAGE",
    "journal_host": "_HOSTNAME",
    "journal_time": "__REALTIME_TIMESTAMP",
    "journal_transport": "_TRANSPORT",
    "elastic_time": "@timestamp",
}


class _Entry(msgspec.Struct, frozen=True, rename=_ENTRY_NAMES):
    """A line of JSON: Docker's json-file driver, `journalctl -o json`, loggers; whatever else it holds is left out."""

    log: Any = None
    journal: Any = None
    message: Any = None
    msg: Any = None
    stream: Any = None
    time: Any = None
    timestamp: Any = None
    elastic_time: Any = None
    journal_time: Any = None
    journal_host: Any = None
    journal_transport: Any = None
    hostname: Any = None
    rank: Any = None


_ENTRY: Final = msgspec.json.Decoder(_Entry)
_CARRIAGE_RETURNS: Final = re.compile(r"\r\n?")
_MICROSECONDS: Final = re.compile("[0-9]{1,16}")
_MOST_RANKS: Final = 1_000_000
# What would move a terminal's cursor or turn text round; a tab and a line feed within an entry of JSON stay.
_CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def lines_of(chunks: Iterable[bytes], origin: Origin) -> Iterator[LogLine]:
    """All lines of a log, one after the other; a carriage return parts a line into several of one number."""
    for block in blocks_of(chunks):
        yield from lines_of_block(block, origin)


def lines_of_block(block: Block, origin: Origin) -> Iterator[LogLine]:
    """All lines of a block; what a long line repeats of the block before is left out."""
    for number, piece in _pieces(block):
        yield clean_line(piece, origin, number)


def last_lines_of_block(block: Block, origin: Origin, count: int) -> list[LogLine]:
    """The last `count` of them; only these are cleaned, for a progress bar may be a hundred thousand."""
    last = deque(_pieces(block), maxlen=count)
    return [clean_line(piece, origin, number) for number, piece in last]


def _pieces(block: Block) -> Iterator[tuple[int, bytes]]:
    number = block.first_line
    for raw in block.data[block.continued :].split(b"\n"):
        for piece in raw.split(b"\r"):
            if piece and not piece.isspace():
                yield number, piece
        number += 1


def clean_line(raw: bytes, origin: Origin, number: int) -> LogLine:
    """One line of bytes without its end, colours and other controls; line feeds stay within an entry of JSON."""
    return line_told(told_by(raw, origin), origin, number)


def told_by(raw: bytes, origin: Origin) -> Told:
    """What a line says, as its LogLine has it, but for its time, which only costs where someone asks for it."""
    entry = _unwrapped(raw) if raw.startswith(JSON_STARTS) else None
    told = without_prefixes(_decoded(raw) if entry is None else entry.text, origin.year)
    text = told.text.rstrip()
    told.text = text if text.isprintable() else _CONTROLS.sub("", text)
    if entry is not None:
        told.source = told.source or entry.source
        told.rank = entry.rank if told.rank is None else told.rank
        told.node = told.node or entry.node
        told.entry_stamp, told.entry_ns = entry.entry_stamp, entry.entry_ns
    told.source = told.source or origin.source or "stderr"
    return told


def line_told(told: Told, origin: Origin, number: int) -> LogLine:
    """The line that says so."""
    return LogLine(
        source=told.source or "stderr",
        file=origin.file,
        number=number,
        text=told.text,
        rank=origin.rank if told.rank is None else told.rank,
        node=told.node or origin.node,
        time_ns=told.time_ns(),
    )


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
    """What stands inside a line of JSON that says a text; None where it is no such line."""
    try:
        entry = _ENTRY.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    text = next((each for each in (entry.log, entry.journal, entry.message, entry.msg) if isinstance(each, str)), None)
    if text is None:
        return None
    stamps = (entry.time, entry.timestamp, entry.elastic_time)
    stamp = next((each for each in stamps if isinstance(each, str)), None)
    return Told(
        text=_CARRIAGE_RETURNS.sub("\n", text[:LONGEST_LINE]).strip("\n"),
        source=_source_of(entry),
        rank=entry.rank if type(entry.rank) is int and 0 <= entry.rank < _MOST_RANKS else None,
        node=next((each for each in (entry.journal_host, entry.hostname) if isinstance(each, str)), None),
        entry_stamp=stamp,
        entry_ns=_time_of_journal(entry.journal_time),
    )


def _source_of(entry: _Entry) -> Source | None:
    if entry.journal_transport == "kernel":
        return "kernel"
    return "stdout" if entry.stream == "stdout" else "stderr" if entry.stream == "stderr" else None


def _time_of_journal(microseconds: object) -> int | None:
    told = isinstance(microseconds, str) and _MICROSECONDS.fullmatch(microseconds)
    return int(microseconds) * 1_000 if told and isinstance(microseconds, str) else None
