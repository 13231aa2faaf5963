"""Table 5: memory of the collector per open window and key, between two flushes.

Measured in a process of its own as growth of its resident memory, so that nothing that any library holds is left out.
"""

import ctypes
import gc
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import psutil

from agents.frames import frames_of
from agents.query_run import QueryDelta
from benchmarks.collector.fleet import NOW_NS, Body, probe_plan, records, sent, sketches_of
from benchmarks.collector.goals import MEMORY, SMALL_MEMORY
from benchmarks.collector.sizing import Sizing
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard
from collector.pending import Pending
from pipeline.chain import Chain
from pipeline.partial import Partial
from quantiles._kernels.choice import use_kernels
from wire.columns import unpack_ragged
from wire.frame import decode_frame

LOG_SPREAD = 0.5  # as wide as round trips in a data centre: 90 % lie within a factor of 2.3 of the median
PARTS = 4  # frames that each key comes in
GROUPS = 2_000
SMALL_VALUES, MANY_VALUES = (1, 10, 100), (1_000, 10_000)
COLUMNS = [
    Column("values", "values a key"), Column("keys", "open keys"), Column("cells", "cells a key", 1),
    Column("encoded", "encoded bytes a key", 0), Column("memory", "bytes of memory a key", 0),
    Column("ratio", "memory / encoded", 2),
]  # fmt: skip


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """Few and many values per key; each target takes the worst."""
    table = Table("memory", "5. Memory per open window and key at the collector", COLUMNS)
    table.notes = [
        f"Lognormal values, sigma {LOG_SPREAD}; every key comes in {PARTS} frames, label texts included.",
        "Growth of the resident memory of a fresh process over all frames' additions, freed memory given back first.",
        "Encoded: the bytes of the key's merged sketch as a page holds it.",
    ]
    ratios: dict[int, float] = {}
    small: dict[int, float] = {}
    for values in (SMALL_VALUES[-1], MANY_VALUES[0]) if size.quick else (*SMALL_VALUES, *MANY_VALUES):
        keys = max(2_000, min(size.memory_keys, size.memory_keys * 2_000 // values))
        frames, encoded, cells = _frames(keys, values)
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as child:
            grown = child.submit(_growth, frames, keys).result()
        per_key = grown / keys
        table.rows.append({
            "values": values, "keys": keys, "cells": cells, "encoded": encoded, "memory": per_key,
            "ratio": per_key / encoded,
        })  # fmt: skip
        (ratios if values in MANY_VALUES else small)[values] = per_key / encoded if values in MANY_VALUES else per_key
    board.score(MEMORY, max(ratios.values()), f"worst of {_listed(ratios)} values a key; memory / encoded bytes")
    board.score(SMALL_MEMORY, max(small.values()), f"worst of {_listed(small)} values a key")
    return [table]


def _listed(found: dict[int, float]) -> str:
    return ", ".join(f"{values:,}" for values in found)


def _frames(keys: int, values: int) -> tuple[list[bytes], float, float]:
    """Frames that hold all keys PARTS times (or once, when there is one value); encoded bytes and cells per key."""
    rng, plan = np.random.default_rng([5, keys, values]), probe_plan()
    chain = Chain(plan, {})
    bodies: list[Body] = []
    merged: list[Partial] = []
    parts = min(PARTS, values)
    for first in range(0, keys, GROUPS):
        block = np.arange(first, min(keys, first + GROUPS))
        found: list[Partial] = []
        for part in range(parts):
            share = values // parts + (part < values % parts)
            rows = records(rng, block, keys, share, LOG_SPREAD)
            found.append(chain.finish(chain.prepare(rows), after=0))
            bodies += [Body(one, one.rows) for one in frames_of(QueryDelta(chain, partials=[found[-1]]), NOW_NS)]
        merged.append(Partial.merge(found))
    columns = [sketches_of(one) for one in merged]
    encoded = sum(len(column.to_bodies()[0]) for column in columns)
    # Agents come in turns: what belongs to one key does not come together.
    order = rng.permutation(len(bodies)).tolist()
    frames = [frame for frame, _ in sent([bodies[place] for place in order], agents=1)]
    return frames, encoded / keys, sum(len(column.cells) for column in columns) / keys


def _growth(frames: Sequence[bytes], keys: int) -> int:
    """Bytes by which this process grows when it takes the frames in; runs in a child."""
    use_kernels("numba")
    plan = probe_plan()
    schema = Partial.schema(plan)

    def fill(some: Sequence[bytes]) -> Pending:
        pending = Pending()
        for payload in some:
            partial = Partial.from_columns(plan, unpack_ragged(decode_frame(payload).body, schema))
            pending.add_partial(plan.version, partial)
        return pending

    groups = sum(len(one) for one in fill(frames[:40]).partials().values())  # compiles, loads, warms the allocator
    before = _resident()
    pending = fill(frames)
    after = _resident()
    found = sum(len(one) for one in pending.partials().values())
    assert found == keys, f"{found} groups pending, wanted {keys} ({groups} while warming up)"
    return after - before


def _resident() -> int:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(psutil.Process().memory_info().rss)
