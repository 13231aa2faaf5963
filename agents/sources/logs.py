"""The source `logs`: lines of files that match globs, taken apart into rows, each exactly once across restarts.

A poll looks at the files, takes about a block of what is new from all of them together, and parses it at once. Its
position names each file with the offset behind the last record that became rows, so a restart goes on there, with a
file that was rotated meanwhile first. It is complete up to a poll that found nothing unread.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl

from agents.errors import SourceError
from agents.sources.bad_input import BadInput
from agents.sources.configs import LogsConfig
from agents.sources.logs_file import LogFile, Place
from agents.sources.logs_following import Following
from agents.sources.logs_lines import Ints, Records, broken_in, is_text, lines_of
from agents.sources.logs_pattern import Parsed
from agents.sources.logs_patterns import FILE_COLUMN, PLACE_COLUMN, of_the_file, pattern_of, stream_of
from agents.sources.source import NOTHING_NS, Batch
from pipeline.schema import HOST_COLUMN, TIME_COLUMN, Schema, polars_schema

# What fits a core's cache while it is parsed; measured by benchmarks/sources/logs.py.
BLOCK_BYTES: Final = 2**20
LOOK_S: Final = 1.0
#: A record of several lines is over when its file has not grown for so long.
RECORD_WAIT_S: Final = 2.0
# A file that has not grown for so long is looked at only as often as for new files.
_QUIET_S: Final = 10.0
# Looking for files may take this part of a core.
_LOOKING_SHARE: Final = 0.01
_AHEAD_NS: Final = 3600 * 10**9
_OLDEST_NS: Final = 400 * 86_400 * 10**9
_EVENTS: Final = (
    "records", "malformed", "bad_values", "bad_utf8", "time_off", "too_old", "too_long", "no_start",
    "rotated", "truncated", "copies", "gone",
)  # fmt: skip


class Position(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """All files that are known, and the globs that gave them."""

    patterns: tuple[str, ...]
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class _Piece:
    """Whole lines of one file, of which the first begins at the byte `start`.

    `ended` is set where the last line has no end in the file: how many bytes there are. `cut_off` says that the line
    behind them is too long to be read.
    """

    file: LogFile
    data: bytes
    start: int
    at_end: bool
    ended: int | None = None
    cut_off: bool = False


class LogsSource:
    """One entry of the configuration: some files, one pattern, one stream."""

    replayable: Final = True
    finished: Final = False
    lag_rows: Final = None

    def __init__(
        self,
        entry: LogsConfig,
        schema: Schema,
        *,
        clock_s: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
        cpu_s: Callable[[], float] = time.process_time,
    ) -> None:
        """`schema` holds the columns that queries read.

        Raises:
            SourceError: the pattern gives no such column.
        """
        self._stream = stream_of(entry)
        self.name = f"logs:{self._stream}:{Path(entry.paths[0]).absolute()}"
        self._entry = entry
        self._schema = schema
        columns = {name: kind for name, kind in schema.items() if name not in (TIME_COLUMN, HOST_COLUMN)}
        self._types = polars_schema({TIME_COLUMN: "int64"} | columns)
        own = of_the_file(entry, columns)
        self._pattern = pattern_of(entry, {name: kind for name, kind in columns.items() if name not in own})
        self._wants_file, self._wants_place = FILE_COLUMN in own, PLACE_COLUMN in own
        # A line without a time, where others have one, belongs to the line before it.
        self._follows = entry.pattern == "regex" and bool(entry.time_column)
        self._clock_s, self._clock_ns, self._cpu_s = clock_s, clock_ns, cpu_s
        self._following = Following(entry.paths, entry.begin, entry.max_files)
        self._bad = BadInput(self.name, clock_s)
        self._records = 0
        self._next_look_s = 0.0
        self._turn = 0
        self._looked = False
        self._reached_ns = NOTHING_NS

    @property
    def streams(self) -> Mapping[str, Schema]:
        """The one stream."""
        return {self._stream: self._schema}

    @property
    def lag_bytes(self) -> int:
        """What the files had beyond what was read, when they were last looked at; but for lines being written."""
        return sum(one.unread for one in self._following.files)

    def open(self, position: bytes | None) -> None:
        """Find the files and go where each was left.

        Raises:
            SourceError: the position cannot be read.
        """
        stored = None if position is None else self._decoded(position)
        places = () if stored is None else stored.places
        now_s = self._clock_s()
        self._following.start(places, None if stored is None else stored.patterns, now_s)
        self._next_look_s = now_s + LOOK_S

    def poll(self) -> list[Batch]:
        """About a block of records of all files together."""
        now_s = self._clock_s()
        looks = now_s >= self._next_look_s
        if looks:
            before_s = self._cpu_s()
            self._following.look(now_s)
            self._next_look_s = now_s + max(LOOK_S, (self._cpu_s() - before_s) / _LOOKING_SHARE)
        pieces = self._pieces(now_s, looks=looks)
        if looks:
            pieces += self._last_lines(now_s)
        batches = self._batches(pieces, now_s) if pieces else []
        lost = self._following.losses.take()
        if lost:
            batches.append(Batch(self._stream, pl.DataFrame(schema=self._types), lost))
        self._looked = looks
        return batches

    def position(self) -> bytes | None:
        """Behind the records handed out."""
        return msgspec.msgpack.encode(Position(self._entry.paths, tuple(self._following.places())))

    def measured_to_ns(self, polled_ns: int) -> int:
        """The poll, where it left nothing unread; else what all files that are behind have reached."""
        reached = [one.last_ns for one in self._following.files if one.unread]
        if not reached:
            if self._looked:  # else a file may be there that nobody has seen
                self._reached_ns = polled_ns
        elif None not in reached:
            self._reached_ns = min(polled_ns, *(one for one in reached if one is not None))
        return self._reached_ns

    def counters(self) -> Mapping[str, int]:
        """Records given, what was left out by reason, and what happened to files."""
        found = dict.fromkeys(_EVENTS, 0)
        found["records"] = self._records
        found.update(self._bad.counts)
        found.update(self._following.counts)
        return found

    def missing(self) -> Mapping[str, str]:
        """Files that cannot be read, or are too many, or that there are none."""
        return self._following.states

    def close(self) -> None:
        """Let go of the files."""
        self._following.close()

    def _decoded(self, position: bytes) -> Position:
        try:
            return msgspec.msgpack.decode(position, type=Position, strict=True)
        except msgspec.MsgspecError as error:
            raise SourceError(f"{self.name}: the stored position cannot be read: {error}; remove the spool") from error

    def _pieces(self, now_s: float, *, looks: bool) -> list[_Piece]:
        """Whole lines from where each file was left, about a block in all; every file has its turn."""
        files = self._following.files
        pieces: list[_Piece] = []
        room = BLOCK_BYTES
        turns = files[self._turn % len(files) :] + files[: self._turn % len(files)] if files else []
        for one in turns:
            quiet = not one.unread and now_s - one.still_since_s > _QUIET_S
            try:
                if (looks or not quiet) and not one.look(now_s):
                    self._following.truncated(one, now_s)
            except OSError as error:
                self._following.failed(one, error)
        for one in turns:
            if one in files and room > 0 and self._may_be_read(one, now_s):
                try:
                    piece = self._whole_lines(one, room)
                except OSError as error:
                    self._following.failed(one, error)
                    continue
                if piece.data:
                    pieces.append(piece)
                    room -= len(piece.data)
                    self._turn = files.index(one) + 1
        return pieces

    def _may_be_read(self, one: LogFile, now_s: float) -> bool:
        """Whether there is something new, a record has waited long enough, and what was before this file is read."""
        one.after = tuple(before for before in one.after if before in self._following.files and before.unread)
        if one.after:
            return False
        waited = bool(self._entry.record_start) and one.pending > 0 and now_s - one.still_since_s >= RECORD_WAIT_S
        return one.unread > 0 or waited

    def _whole_lines(self, one: LogFile, room: int) -> _Piece:
        """The next lines; of one that is too long nothing is kept, however much of it is still to come."""
        longest = self._entry.max_line_bytes
        data = one.read(max(room, 2 * longest + 2))
        if one.skipping and data:
            end = data.find(b"\n") + 1
            one.skipping = end == 0
            one.take(data[:end] if end else data)
            data = data[end:] if end else b""
        cut = data.rfind(b"\n") + 1
        if not cut and len(data) > longest:
            self._bad.add("too_long", data)
            one.skipping = True
            one.take(data)
            data = b""
        at_end = one.offset + len(data) >= one.size
        one.pending = len(data) - cut if at_end else 0
        return _Piece(one, data[:cut], one.offset, at_end, cut_off=len(data) - cut > longest)

    def _last_lines(self, now_s: float) -> list[_Piece]:
        """What no line end will ever follow, since the files are gone."""
        pieces = []
        for one in self._following.finish(now_s):
            try:
                data = one.read(one.pending)
            except OSError as error:
                self._following.failed(one, error)
                continue
            pieces.append(_Piece(one, data + b"\n", one.offset, at_end=True, ended=len(data)))
        return pieces

    def _batches(self, pieces: list[_Piece], now_s: float) -> list[Batch]:
        data = pieces[0].data if len(pieces) == 1 else b"".join(piece.data for piece in pieces)
        begins = np.cumsum([0, *(len(piece.data) for piece in pieces)])
        records = lines_of(data)
        if self._entry.record_start:
            records = self._joined(records, pieces, begins, now_s)
        else:
            for piece in pieces:
                _settle(piece, len(piece.data), piece.file.pending)
        records = self._short_enough(records)
        if not len(records):
            return []
        now_ns = self._clock_ns()
        if not is_text(data):
            broken = broken_in(records)
            self._bad.add("bad_utf8", records.example(broken[0]) if broken else b"", len(broken))
        parsed = self._pattern.parse(records, now_ns)
        self._note(records, parsed)
        kept = records.of(parsed.fitting) if parsed.rows.height < len(records) else records
        which = np.searchsorted(begins, kept.starts, "right") - 1
        parsed_rows = parsed.rows
        if self._wants_place:
            before = np.array([piece.start for piece in pieces], np.int64) - begins[:-1]
            parsed_rows = parsed_rows.with_columns(pl.Series(PLACE_COLUMN, kept.starts + before[which]))
        rows, which = self._timed(parsed_rows, which, now_ns)
        for place, piece in enumerate(pieces):
            times = rows[TIME_COLUMN] if len(pieces) == 1 else rows[TIME_COLUMN].filter(pl.Series(which == place))
            if times.len():
                piece.file.last_ns = int(times.max())  # type: ignore[arg-type]  # int64 without NULL
        if self._wants_file:
            paths = pl.Series([piece.file.path for piece in pieces])
            rows = rows.with_columns(paths[which].alias(FILE_COLUMN))
        self._records += rows.height
        return [Batch(self._stream, rows.select(list(self._types)).cast(self._types))] if rows.height else []  # type: ignore[arg-type]

    def _joined(self, lines: Records, pieces: list[_Piece], begins: Ints, now_s: float) -> Records:
        """Records of several lines; the last one of a file is left where it is until the next begins.

        A line that is too long ends the record before it, whether it was read to its end or not.
        """
        if not len(lines):
            for piece in pieces:
                _settle(piece, len(piece.data), piece.file.pending)
            return lines
        opens = lines.texts.str.contains(self._entry.record_start).to_numpy()
        which = np.searchsorted(begins, lines.starts, "right") - 1
        long = lines.ends - lines.starts > self._entry.max_line_bytes
        behind_long = np.append(False, long[:-1])
        first = np.flatnonzero(opens | long | behind_long | np.diff(which, prepend=-1).astype(np.bool_))
        last = np.append(first[1:], len(lines)) - 1
        records = Records(lines.data, lines.starts[first], lines.ends[last])
        # Lines that are too long are left out, and counted, with the records that are.
        kept = opens[first] | long[first]
        self._bad.add("no_start", lines.example(int(first[~kept][0])) if not kept.all() else b"",
                      int((last - first + 1)[~kept].sum()))  # fmt: skip
        which, long = which[first], long[first]
        for number, piece in enumerate(pieces):
            place = int(np.searchsorted(which, number, "right")) - 1
            done = len(piece.data)
            if place >= 0 and which[place] == number and kept[place] and not long[place]:
                waiting = int(begins[number + 1] - records.starts[place])
                over = piece.ended is not None or piece.cut_off or (
                    piece.at_end and now_s - piece.file.still_since_s >= RECORD_WAIT_S
                )  # fmt: skip
                if not over and waiting <= self._entry.max_line_bytes:
                    kept[place] = False
                    done -= waiting
            rest = piece.file.pending if piece.ended is None else 0
            _settle(piece, done, (rest + len(piece.data) - done) if piece.at_end else 0)
        return records.of(kept)

    def _short_enough(self, records: Records) -> Records:
        long = records.ends - records.starts > self._entry.max_line_bytes
        if not long.any():
            return records
        self._bad.add("too_long", records.example(int(np.argmax(long))), int(long.sum()))
        return records.of(~long)

    def _note(self, records: Records, parsed: Parsed) -> None:
        """Count what did not fit the pattern."""
        misfits = len(records) - parsed.rows.height
        if misfits:
            self._bad.add("malformed", records.example(int(np.argmin(parsed.fitting))), misfits)
        for column, count in parsed.bad_values.items():
            self._bad.add("bad_values", f"column {column}", count)

    def _timed(self, rows: pl.DataFrame, which: Ints, now_ns: int) -> tuple[pl.DataFrame, Ints]:
        """Every row with a time: that of reading where it has none, or one that is ahead of the clock."""
        times = rows[TIME_COLUMN]
        if not rows.height or (not times.null_count() and self._is_usual(times, now_ns)):
            return rows, which
        ahead = (times > now_ns + _AHEAD_NS).fill_null(value=False)
        self._bad.add("time_off", count=int(ahead.sum()))
        times = pl.select(pl.when(ahead).then(now_ns).otherwise(times).alias(TIME_COLUMN)).to_series()
        if self._follows:
            times = _after_others(times, which)
        old = (times < now_ns - _OLDEST_NS).fill_null(value=False)
        self._bad.add("too_old", count=int(old.sum()))
        return rows.with_columns(times.fill_null(now_ns)).filter(~old), which[~old.to_numpy()]

    def _is_usual(self, times: pl.Series, now_ns: int) -> bool:
        low, high = int(times.min()), int(times.max())  # type: ignore[arg-type]  # int64 without NULL
        return low >= now_ns - _OLDEST_NS and high <= now_ns + _AHEAD_NS


def _after_others(times: pl.Series, which: Ints) -> pl.Series:
    """Where a time is NULL that of the row before in its file, before the first one that of the row behind."""
    filled = pl.col(times.name).forward_fill().backward_fill().over(pl.Series(which))
    return pl.DataFrame([times]).select(filled).to_series()


def _settle(piece: _Piece, done: int, pending: int) -> None:
    """So many bytes of the piece are done with; so many behind them were seen."""
    if piece.ended is not None:
        done, pending = piece.ended, 0
    piece.file.take(piece.data[:done])
    piece.file.pending = pending
