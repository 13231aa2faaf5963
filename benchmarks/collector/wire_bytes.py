"""Table: what narrowing the columns of a frame saves beside Arrow IPC with a compressor alone, in bytes and CPU.

The bodies are what agents send: partial results of many and of few values a group, and probes' rows as they were
read, with names or with codes. All sides pack the same Polars frames and give equal ones back.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import fmean

import lz4.frame
import numpy as np
import polars as pl
import zstandard

from benchmarks.collector.fleet import SPREADS, START_NS, WINDOW_NS, partial_load, probe_plan
from benchmarks.collector.goals import WIRE_BYTES, WIRE_CPU
from benchmarks.collector.sizing import Sizing
from benchmarks.rounds import Candidate, Rounds, interleaved
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard
from pipeline.partial import Partial
from pipeline.ragged import Columns
from wire.columns import pack_columns, unpack_columns, unpack_ragged

OURS, ZSTD = "narrowed", "Arrow IPC, zstd"
_LEAST_S = 0.05
COLUMNS = [
    Column("body", "body"), Column("rows", "rows"), Column("way", "way"), Column("bytes", "bytes", 0),
    Column("bytes_ratio", "bytes / zstd's", 2), Column("pack", "pack ms", 3), Column("pack_ratio", "pack / zstd's", 2),
    Column("unpack", "unpack ms", 3), Column("unpack_ratio", "unpack / zstd's", 2),
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Body:
    """What is packed: a frame, or groups in memory, from which each way makes what it packs."""

    frame: pl.DataFrame
    partial: Partial | None = None

    def as_frame(self) -> pl.DataFrame:
        """As Arrow wants it."""
        return self.frame if self.partial is None else self.partial.to_frame()

    def as_columns(self) -> pl.DataFrame | Columns:
        """As our wire wants it."""
        return self.frame if self.partial is None else self.partial.to_columns()


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to pack, and back up to what the collector's operators start from."""

    pack: Callable[[_Body], bytes]
    unpack: Callable[[bytes, _Body], object]
    frame: Callable[[bytes, _Body], pl.DataFrame]


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """All bodies, all ways. The targets take the mean of the bodies' ratios: bytes, and CPU of packing."""
    table = Table("wire_bytes", "9. Bytes and CPU of frame bodies", COLUMNS)
    table.notes = [
        "CPU of one core, the median of rounds in turns. zstd at its default level 3; narrowed columns use level 1.",
        "Partial results are packed from, and unpacked to, groups in memory; rows from and to Polars' columns.",
    ]
    ways = _ways()
    ratios: list[tuple[float, float]] = []
    for name, body in _bodies(size).items():
        packed = {way: one.pack(body) for way, one in ways.items()}
        for way, one in ways.items():
            assert one.frame(packed[way], body).equals(body.frame), f"{way} does not give {name} back"
        packing = _timed(size, {way: partial(one.pack, body) for way, one in ways.items()})
        unpacking = _timed(size, {way: partial(one.unpack, packed[way], body) for way, one in ways.items()})
        for way in ways:
            bytes_ratio, pack_ratio = len(packed[way]) / len(packed[ZSTD]), _share(packing, way)
            table.rows.append({
                "body": name, "rows": body.frame.height, "way": way, "bytes": len(packed[way]),
                "bytes_ratio": bytes_ratio,
                "pack": 1e3 * packing.time_s(way).median, "pack_ratio": pack_ratio,
                "unpack": 1e3 * unpacking.time_s(way).median, "unpack_ratio": _share(unpacking, way),
            })  # fmt: skip
            if way == OURS:
                ratios.append((bytes_ratio, pack_ratio))
    for target, found in zip((WIRE_BYTES, WIRE_CPU), zip(*ratios, strict=True), strict=True):
        told = ", ".join(f"{ratio:.2f}" for ratio in found)
        board.score(target, fmean(found), f"mean of {told}, in the order of the table")
    return [table]


def _share(found: Rounds, way: str) -> float:
    return 1 / found.speedup(way, ZSTD).median


def _timed(size: Sizing, runs: Mapping[str, Callable[[], object]]) -> Rounds:
    candidates = {way: Candidate(lambda _, run=run: run()) for way, run in runs.items()}  # type: ignore[misc]
    return interleaved(candidates, 2 * size.rounds + 1, 0.0 if size.quick else _LEAST_S)


def _bodies(size: Sizing) -> dict[str, _Body]:
    groups = 200 if size.quick else 1_000
    found = {f"partial, {values} values a group": _partial(groups, values) for values in (3, 100, 1_000)}
    rows = size.drained_rows // 3
    return found | {
        "probes with names": _Body(_probes(rows, named=True)),
        "probes with codes": _Body(_probes(rows, named=False)),
    }


def _partial(groups: int, values: int) -> _Body:
    plan = probe_plan(", count(*) AS probes_total")
    load = partial_load(plan, keys=10 * groups, groups=groups, frames=1, values=values, spread=SPREADS[46])
    return _Body(load.truth.to_frame(), load.truth)


def _probes(rows: int, *, named: bool) -> pl.DataFrame:
    """Probes of one server to 4,000 others in a window, in order of time, as a source reads them."""
    rng = np.random.default_rng([7, rows])
    peers = rng.integers(0, 4_000, rows)
    times = np.sort(START_NS + rng.integers(0, WINDOW_NS, rows))
    rtt, err = (
        np.rint(800 * np.exp(rng.standard_normal(rows))).astype(np.int64),
        (rng.random(rows) < 0.14).astype(np.int64),
    )
    names = pl.Series([f"10.{peer // 256}.{peer % 256}.{peer * 7 % 256}" for peer in range(4_000)])
    ends: dict[str, object] = {"src": pl.Series(["10.1.2.3"]).new_from_index(0, rows), "dst": names.gather(peers)}
    if not named:
        ends = {"src": np.full(rows, 259), "dst": peers}
    return pl.DataFrame({"ts": times, **ends, "rtt_us": rtt, "err": err})


def _ways() -> dict[str, _Way]:
    compressors: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
        ZSTD: (zstandard.ZstdCompressor(level=3).compress, zstandard.ZstdDecompressor().decompress),
        "Arrow IPC, lz4": (lz4.frame.compress, lz4.frame.decompress),
        "Arrow IPC": (bytes, bytes),
    }
    ways = {OURS: _Way(lambda body: pack_columns(body.as_columns()), _ours_unpacked, _ours_as_frame)}
    return ways | {
        way: _Way(partial(_arrow, compress), partial(_arrow_unpacked, decompress), partial(_arrow_as_frame, decompress))
        for way, (compress, decompress) in compressors.items()
    }


def _ours_unpacked(packed: bytes, body: _Body) -> object:
    if body.partial is None:
        return _ours_as_frame(packed, body)
    return Partial.from_columns(body.partial.plan, unpack_ragged(packed, dict(body.frame.schema)))


def _ours_as_frame(packed: bytes, body: _Body) -> pl.DataFrame:
    return unpack_columns(packed, dict(body.frame.schema))


def _arrow(compress: Callable[[bytes], bytes], body: _Body) -> bytes:
    sink = io.BytesIO()
    body.as_frame().write_ipc_stream(sink, compat_level=pl.CompatLevel.oldest())
    return compress(sink.getvalue())


def _arrow_unpacked(decompress: Callable[[bytes], bytes], packed: bytes, body: _Body) -> object:
    frame = _arrow_as_frame(decompress, packed, body)
    return frame if body.partial is None else Partial.from_frame(body.partial.plan, frame)


def _arrow_as_frame(decompress: Callable[[bytes], bytes], packed: bytes, body: _Body) -> pl.DataFrame:
    del body
    return pl.read_ipc_stream(io.BytesIO(decompress(packed)))
