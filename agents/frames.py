"""From what a query gathered to frames that fit the wire, and the corrections when something cannot be sent.

Order matters: partials and drained rows stand before the manifest that counts them, so that as long as one of them
was not handed over, neither was its manifest, and the manifest can still say that the rows were dropped.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from agents.group_estimates import Gathered
from agents.query_run import QueryDelta
from agents.row_bytes import row_bytes
from agents.shipping import Shipping
from agents.waiting import SpoolFrame
from pipeline.grouping import window_starts
from pipeline.manifest import MANIFEST_SCHEMA, Manifest, drained, dropped
from pipeline.partial import Partial
from pipeline.plan import Plan
from pipeline.ragged import Columns, Ragged, plain
from pipeline.schema import TIME_COLUMN
from pipeline.state import IntArray
from wire.columns import pack_columns, unpacked_bytes
from wire.errors import FrameTooLargeError
from wire.frame import MAX_FRAME_BYTES, MAX_HEADER_BYTES, Kind
from wire.heartbeat import Heartbeat, encode_heartbeat
from wire.status import Status, encode_status

log = logging.getLogger(__name__)

MAX_BODY_BYTES: Final = MAX_FRAME_BYTES - MAX_HEADER_BYTES - 64
# Compression at least halves rows as they usually are; what does not fit then is halved again. Further pieces are
# larger where narrowing makes much less of the rows, up to so many times, and to fill so much of a frame. Before
# compression they stay as large: beyond a processor's caches, long texts take a third longer to unpack.
_PIECE_BYTES: Final = 2 * MAX_BODY_BYTES
_MOST_PIECES: Final = 4
_FILLED: Final = 0.8
TOO_LARGE: Final = "too_large"


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows, by column, and their bytes; no bytes when a single row is too large for a frame."""

    rows: Columns
    body: bytes | None

    def integers(self, name: str) -> IntArray:
        """A column as int64 without NULL."""
        return plain(self.rows, name).to_numpy()


def frames_of(delta: QueryDelta, created_ns: int, shipping: Shipping | None = None) -> list[SpoolFrame]:
    """All frames of one query's delta; empty when nothing came in. `shipping` is told what they took."""
    plan, manifest = delta.chain.plan, delta.manifest
    shipping = shipping or Shipping()
    sampled = manifest.sampled
    frames: list[SpoolFrame] = []
    if delta.partials:
        begun_s = shipping.clock()
        merged = Partial.merge(delta.partials).sorted()
        for piece in pieces(merged.to_columns()):
            windows = piece.integers("window")
            if piece.body is None:
                manifest = _too_large(manifest, "local", {int(windows[0]): int(piece.integers("rows")[0])}, plan)
            else:
                frames.append(partial_frame(plan, windows, piece.body, created_ns, sampled))
        gathered = Gathered(len(merged), int(merged.keys["rows"].sum()))
        size_bytes = sum(len(frame.body) for frame in frames)
        shipping.encoded_groups(plan.version, len(plan.stages), gathered, size_bytes, shipping.clock() - begun_s)
    for cut, batches in sorted(delta.drained.items()):
        begun_s, before = shipping.clock(), len(frames)
        rows = pl.concat(batches)  # labels of static tables are codes: they are packed as such
        for piece in pieces(rows.to_dict()):
            times = piece.integers(TIME_COLUMN)
            windows = window_starts(np.array([times.min(), times.max()]), plan.window_ns)
            if piece.body is None:
                manifest = _too_large(manifest, drained(cut), {int(windows[0]): 1}, plan)
            else:
                frames.append(_frame("drained", plan, cut, windows, len(times), created_ns, piece.body, sampled))
        size_bytes = sum(len(frame.body) for frame in frames[before:])
        shipping.encoded(plan.version, cut, rows.height, size_bytes, shipping.clock() - begun_s)
    return frames + manifest_frames(plan, manifest, created_ns)


def partial_frame(plan: Plan, windows: IntArray, body: bytes, created_ns: int, sampled: float) -> SpoolFrame:
    """A frame of partial results, one window per group; `body` is their columns packed."""
    return _frame("partial", plan, len(plan.stages), windows, len(windows), created_ns, body, sampled)


def manifest_frames(plan: Plan, manifest: Manifest, created_ns: int) -> list[SpoolFrame]:
    """The manifest as frames, none when it is empty."""
    frames: list[SpoolFrame] = []
    for piece in pieces(manifest.to_frame().to_dict()):
        if piece.body is not None:  # a row of a manifest has a few bytes
            windows = piece.integers("window")
            frames.append(_frame("manifest", plan, 0, windows, len(windows), created_ns, piece.body, manifest.sampled))
    return frames


def heartbeat_frame(heartbeat: Heartbeat) -> SpoolFrame:
    """What the agent says of itself."""
    return SpoolFrame("heartbeat", "", "", 0, 0, 0, heartbeat.sent_ns, 0, encode_heartbeat(heartbeat))


def status_frame(status: Status) -> SpoolFrame:
    """What the agent's runtime decided; CorruptFrameError where that is no status that a collector would take."""
    return SpoolFrame("status", "", "", 0, 0, 0, status.sent_ns, 0, encode_status(status))


def pieces(rows: Columns) -> Iterator[Piece]:
    """The rows in their order, cut so that each piece fits into a frame.

    The bodies so far tell how many rows the next one may have: the more, the less names and distinct texts weigh.
    """
    height, at = _height(rows), 0
    most = max(1, _MOST_PIECES * _PIECE_BYTES * height // max(1, _held(rows)))
    length = max(1, most // _MOST_PIECES)
    while at < height:
        parts = -(-(height - at) // length)
        taken = -(-(height - at) // parts)
        found = list(_halved(_sliced(rows, at, taken) if taken < height else rows))
        yield from found
        at += taken
        length = max(1, min(most, _next_length(found, taken)))


def _next_length(found: list[Piece], rows: int) -> int:
    """How many rows the next piece may have, by what became of the last ones."""
    bodies = [one.body for one in found if one.body is not None]
    if len(found) > 1 or not bodies:
        return rows // len(found)
    full, wide = _FILLED * MAX_BODY_BYTES / len(bodies[0]), _PIECE_BYTES / unpacked_bytes(bodies[0])
    return int(rows * min(full, wide))


def moved(manifest: Manifest, source: str, target: str, counts: dict[int, int]) -> tuple[Manifest, dict[int, int]]:
    """The manifest with up to counts[window] records taken from item `source` and given to item `target`.

    Returns the new manifest, and the counts it did not hold.
    """
    missing = dict(counts)
    held: list[tuple[int, str, int]] = []
    for window, item, rows in manifest.to_frame().iter_rows():
        take = min(rows, missing.get(window, 0)) if item == source else 0
        if take:
            missing[window] -= take
            held.append((window, target, take))
        if rows > take:
            held.append((window, item, rows - take))
    changed = Manifest.from_frame(pl.DataFrame(held, schema=MANIFEST_SCHEMA, orient="row"))
    return changed, {window: count for window, count in missing.items() if count}


def _too_large(manifest: Manifest, item: str, counts: dict[int, int], plan: Plan) -> Manifest:
    log.warning("a single row exceeds a frame query=%s item=%s limit_bytes=%d", plan.query, item, MAX_BODY_BYTES)
    return moved(manifest, item, dropped(TOO_LARGE), counts)[0]


def _halved(rows: Columns) -> Iterator[Piece]:
    body, height = _body(rows), _height(rows)
    if body is not None or height == 1:
        yield Piece(rows, body)
    else:
        middle = height // 2
        yield from _halved(_sliced(rows, 0, middle))
        yield from _halved(_sliced(rows, middle, height - middle))


def _body(rows: Columns) -> bytes | None:
    """None where a frame does not take them, or a collector would refuse to unpack them."""
    try:
        body = pack_columns(rows)
    except FrameTooLargeError:
        return None
    return body if len(body) <= MAX_BODY_BYTES else None


def _height(rows: Columns) -> int:
    return len(next(iter(rows.values()), ()))


def _held(rows: Columns) -> int:
    return sum(one.nbytes if isinstance(one, Ragged) else row_bytes(one) for one in rows.values())


def _sliced(rows: Columns, start: int, length: int) -> Columns:
    return {name: column.slice(start, length) for name, column in rows.items()}


def _frame(
    kind: Kind, plan: Plan, cut: int, windows: IntArray, rows: int, created_ns: int, body: bytes, sampled: float
) -> SpoolFrame:
    first, last = int(windows.min()), int(windows.max())
    return SpoolFrame(kind, plan.query, plan.version, cut, first, last, created_ns, rows, body, sampled)
