"""Deltas as frames: every frame fits the wire, and a row that cannot is counted."""

import random

import numpy as np
import polars as pl
import pytest

from agents import frames as frames_module
from agents.frames import frames_of, moved, pieces
from agents.query_run import QueryRun
from agents.waiting import SpoolFrame
from pipeline.chain import Chain
from pipeline.manifest import MANIFEST_SCHEMA, Manifest
from pipeline.partial import Partial
from pipeline.schema import polars_schema
from tests.agents.world import CHAIN, PLAN, assert_same_answer, truth
from tests.fleet import TABLES, probe_plan, probe_records
from tests.pipeline.probes import TUMBLE, compiled, histograms, records
from wire.columns import unpack_columns

AGGREGATE = CHAIN.row_stages + 1


def frames_after(rows: pl.DataFrame, cut: int, chain: Chain = CHAIN) -> list[SpoolFrame]:
    run = QueryRun(chain, cut)
    run.run(rows)
    return frames_of(run.take(), 77)


def manifest_of(frames: list[SpoolFrame]) -> Manifest:
    bodies = [frame.body for frame in frames if frame.kind == "manifest"]
    return Manifest.merge(Manifest.from_frame(unpack_columns(body, MANIFEST_SCHEMA)) for body in bodies)


@pytest.mark.parametrize("cut", range(AGGREGATE + 1))
def test_rows_are_split_so_that_every_frame_fits(cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames_module, "MAX_BODY_BYTES", 16_000)
    monkeypatch.setattr(frames_module, "_PIECE_BYTES", 60_000)
    records = probe_records(6_000, 5, windows=40)
    frames = frames_after(records, cut)
    assert len(frames) > 2
    assert all(len(frame.body) <= 16_000 for frame in frames)
    assert all(frame.kind == "manifest" for frame in frames[-1:])
    parts = []
    for frame in frames[:-1]:
        if frame.kind == "partial":
            parts.append(Partial.from_frame(PLAN, unpack_columns(frame.body, Partial.schema(PLAN))))
            assert frame.cut == len(PLAN.stages)
        elif frame.kind == "drained":
            rows = unpack_columns(frame.body, polars_schema(CHAIN.schema_at(cut)))
            parts.append(CHAIN.finish(rows, after=cut))
            assert frame.cut == cut
            windows = rows["ts"] // PLAN.window_ns * PLAN.window_ns
            assert (frame.window_first_ns, frame.window_last_ns) == (windows.min(), windows.max())
    assert_same_answer(Partial.merge(parts).sorted().to_frame(), truth(records))
    assert manifest_of(frames).conserved()


def test_rows_that_compress_well_share_fewer_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames_module, "MAX_BODY_BYTES", 16_000)
    monkeypatch.setattr(frames_module, "_PIECE_BYTES", 60_000)
    times = pl.Series("ts", range(0, 8 * 20_000, 8))
    rows = pl.DataFrame([times, pl.Series("src", ["10.0.0.1"]).new_from_index(0, 20_000)])
    found = list(pieces(rows.to_dict()))
    sizes = [len(one.integers("ts")) for one in found]
    assert sum(sizes) == 20_000
    assert sizes[0] <= 60_000 / rows.estimated_size() * 20_000 < sizes[1] <= frames_module._MOST_PIECES * sizes[0] * 1.1
    assert [value for one in found for value in one.integers("ts")] == times.to_list()


def test_after_a_piece_that_had_to_be_halved_the_next_ones_are_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames_module, "MAX_BODY_BYTES", 4_000)
    monkeypatch.setattr(frames_module, "_PIECE_BYTES", 60_000)
    noise = random.Random(5)
    rows = {"n": pl.Series("n", [noise.getrandbits(62) for _ in range(20_000)])}
    found = list(pieces(rows))
    assert [value for one in found for value in one.integers("n")] == rows["n"].to_list()
    assert all(len(one.body) <= 4_000 for one in found if one.body is not None)
    assert len({len(one.integers("n")) for one in found[len(found) // 2 :]}) <= 4


def test_labels_of_static_tables_are_sent_as_the_codes_that_they_are() -> None:
    records = probe_records(3_000, 4)
    cut = CHAIN.row_stages
    run = QueryRun(CHAIN, cut)
    run.run(records)
    (delta,) = (run.take(),)
    gathered = pl.concat(delta.drained[cut])
    assert any(isinstance(dtype, pl.Enum) for dtype in gathered.dtypes)
    drained = [frame for frame in frames_of(delta, 77) if frame.kind == "drained"]
    schema = polars_schema(CHAIN.schema_at(cut))
    sent = pl.concat([unpack_columns(frame.body, schema) for frame in drained])
    assert sent.equals(CHAIN.plain(cut, gathered), null_equal=True)


@pytest.mark.parametrize("cut", range(3))
def test_sketches_and_weights_travel_with_drained_rows(cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames_module, "MAX_BODY_BYTES", 16_000)
    monkeypatch.setattr(frames_module, "_PIECE_BYTES", 60_000)
    sql = f"SELECT src, sketch(dist) AS d_us, sketch(load, err) AS w_us FROM probes WHERE err < 9 {TUMBLE}, src"
    chain = Chain(compiled(sql), {})
    random = np.random.default_rng(1)
    dist = histograms([random.integers(1, 300, 40).tolist() for _ in range(2_000)], scale=3)
    dist[::7] = [None] * len(dist[::7])
    rows = records(
        dist=dist, src=random.choice(["a", "b"], 2_000).tolist(), load=random.random(2_000).tolist(),
        err=random.integers(-1, 10, 2_000).tolist(),
    )  # fmt: skip
    parts = [Partial.empty(chain.plan)]
    frames = frames_after(rows, cut, chain)
    for frame in frames:
        if frame.kind == "drained":
            arrived = unpack_columns(frame.body, polars_schema(chain.schema_at(cut)))
            parts.append(chain.finish(arrived, after=cut))
    assert len(parts) > 3
    found, wanted = Partial.merge(parts).sorted(), chain.finish(chain.prepare(rows), 0).sorted()
    assert found.keys.equals(wanted.keys)
    for name in ("d_us", "w_us"):
        mine, theirs = (one.states[name].column for one in (found, wanted))  # type: ignore[attr-defined]
        assert mine.cells.tolist() == theirs.cells.tolist()
        assert mine.counts.tolist() == theirs.counts.tolist()
        assert mine.maxima.tolist() == theirs.maxima.tolist()
        assert np.allclose(mine.sums.values(), theirs.sums.values(), rtol=1e-12)


def test_nothing_in_gives_nothing_out() -> None:
    assert frames_of(QueryRun(CHAIN, 0).take(), 1) == []
    assert frames_after(probe_records(0, 1), 0) == []


@pytest.mark.parametrize("cut", [0, 1])
def test_a_row_larger_than_a_frame_is_counted_as_dropped(cut: int) -> None:
    plan = probe_plan("SELECT src, count(*) AS probes_total FROM probes GROUP BY TUMBLE(ts, INTERVAL '1' HOUR), src")
    chain = Chain(plan, TABLES)
    noise = "".join(random.Random(1).choices([chr(code) for code in range(33, 2_000)], k=1_200_000))
    records = probe_records(3, 1).with_columns(src=pl.Series(["a", noise, "b"]))
    frames = frames_after(records, chain.row_stages + 1 if cut else 0, chain)
    manifest = manifest_of(frames)
    assert manifest.conserved()
    (window,) = manifest.windows().values()
    assert (window.n_in, window.n_dropped) == (3, {"too_large": 1})


def test_rows_are_split_so_that_a_collector_can_unpack_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wire.columns.MAX_UNPACKED_BYTES", 30_000)
    long = ["a" * 500, "b" * 500, "c" * 40_000]
    records = probe_records(601, 2).with_columns(src=pl.Series([*long[:2] * 300, long[2]]))
    *frames, last = frames_after(records, 0)
    rows = [unpack_columns(frame.body, polars_schema(CHAIN.schema_at(0))) for frame in frames]
    assert pl.concat(rows)["src"].to_list() == long[:2] * 300
    manifest = manifest_of([last])
    assert manifest.conserved()
    windows = manifest.windows().values()
    assert sum(sum(window.n_drained) for window in windows) == 600
    assert sum(window.n_dropped.get("too_large", 0) for window in windows) == 1


def test_moving_counts_gives_back_what_was_not_there() -> None:
    manifest = Manifest()
    manifest.add_counts("in", {0: 5, 10: 5})
    manifest.add_counts("drained.0", {0: 5, 10: 5})
    changed, missing = moved(manifest, "drained.0", "dropped.spool_full", {0: 3, 10: 9, 20: 1})
    assert missing == {10: 4, 20: 1}
    assert changed.conserved()
    assert {start: window.n_dropped["spool_full"] for start, window in changed.windows().items()} == {0: 3, 10: 5}
    assert changed.windows()[0].n_drained == [2]
    assert manifest.windows()[0].n_drained == [5]
