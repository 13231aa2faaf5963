"""One query's run: whatever its proxies are told, the answer is that of one pass and every record's fate is counted."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.frames import frames_of
from agents.held_groups import bytes_of, rows_with_room
from agents.proxies import Proxies, up_to
from agents.query_run import QueryDelta, QueryRun
from agents.shares import ProxyCounts
from pipeline.chain import Chain
from pipeline.errors import SchemaError
from pipeline.partial import Partial
from tests.agents.world import CHAIN, assert_same_answer, truth
from tests.fleet import HOSTS, probe_records
from tests.pipeline.probes import TABLES, chain_of, compiled, records
from tests.pipeline.test_law import assert_same, batches, queries

OPERATORS = CHAIN.row_stages + 1
SHARE = st.one_of(st.sampled_from([0.0, 1.0, 0.5]), st.floats(0, 1))


def merged(delta: QueryDelta) -> Partial:
    """What a collector makes of a delta."""
    chain = delta.chain
    parts = [*delta.partials, Partial.empty(chain.plan)]
    parts += [chain.finish(rows, after=cut) for cut, batches in delta.drained.items() for rows in batches]
    return Partial.merge(parts).sorted()


def state(run: QueryRun) -> list[object]:
    """Everything that a batch may change."""
    delta = run._delta
    return [
        list(delta.partials),
        {cut: list(batches) for cut, batches in delta.drained.items()},
        delta.manifest.windows(),
        delta.held_bytes,
        list(run.proxies._credits),
        list(run.proxies._fallback_credits),
        ProxyCounts(*(list(part) for part in (run.proxies.counts.reached, run.proxies.counts.local))
                    , list(run.proxies.counts.overflowed), run.proxies.counts.crowded),
    ]  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_any_shares_overflow_memory_and_batching_give_the_result_of_one_pass(data: st.DataObject) -> None:
    chain = Chain(compiled(data.draw(queries(), label="query")), TABLES)
    rows = data.draw(batches(), label="records")
    run = QueryRun(chain, 0)
    shares = st.lists(SHARE, min_size=run.operators, max_size=run.operators).map(tuple)
    starts = sorted(data.draw(st.lists(st.integers(0, rows.height), max_size=5), label="splits"))
    deltas = []
    for first, last in zip([0, *starts], [*starts, rows.height], strict=True):
        run.proxies.shares, run.proxies.fallback = data.draw(shares), data.draw(shares)
        most_bytes = data.draw(st.sampled_from([float("inf"), 0.0, 500.0, 3000.0]), label="memory")
        run.run(rows.slice(first, last - first), overflow=data.draw(st.booleans()), most_bytes=most_bytes)
        if data.draw(st.booleans(), label="checkpoint"):
            deltas.append(run.take())
    deltas.append(run.take())
    got = Partial.merge([merged(delta) for delta in deltas]).sorted()
    assert_same(chain, got, chain.finish(chain.prepare(rows), 0).sorted(), chain.prepare(rows))
    assert all(delta.manifest.conserved() for delta in deltas)
    assert sum(one.n_in for delta in deltas for one in delta.manifest.windows().values()) == rows.height


@given(
    batches=st.lists(st.tuples(st.integers(0, 5000), SHARE), min_size=1, max_size=60),
)
def test_over_many_batches_a_proxy_sends_on_what_its_shares_ask_for_within_one_row(
    batches: list[tuple[int, float]],
) -> None:
    proxies = Proxies((0.0,))
    wanted = 0.0
    for rows, share in batches:
        proxies.shares = (share,)
        passage = proxies.begin()
        local = passage.through(1, rows)
        assert 0 <= local <= rows
        passage.keep()
        wanted += share * rows
        assert abs(proxies.counts.local[0] - wanted) <= 1


def test_tiny_batches_do_not_starve_a_small_share() -> None:
    proxies = Proxies((0.01,))
    for _ in range(1000):
        passage = proxies.begin()
        passage.through(1, 3)
        passage.keep()
    assert proxies.counts.reached == [3000]
    assert proxies.counts.local == [30]


def test_what_the_shares_would_have_taken_beyond_the_fallback_counts_as_overflow() -> None:
    run = QueryRun(CHAIN, 0)
    run.proxies.shares, run.proxies.fallback = (1.0, 1.0, 1.0, 0.5), (1.0, 0.25, 1.0, 1.0)
    run.run(probe_records(1000, 3), overflow=True)
    counts = run.proxies.take_counts()
    kept = counts.reached[1]
    assert counts.reached == [1000, kept, counts.reached[2], counts.reached[2]]
    assert counts.local == [1000, round(kept / 4), counts.reached[2], counts.reached[3]]
    assert counts.overflowed == [0, kept - round(kept / 4), 0, 0]
    assert run.proxies.take_counts() == ProxyCounts.zeros(OPERATORS)


@pytest.mark.parametrize("stage", range(1, OPERATORS + 1))
def test_a_batch_that_fails_in_a_stage_leaves_nothing_behind(stage: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = Chain(CHAIN.plan, {"hosts": HOSTS})
    run = QueryRun(chain, 0)
    run.proxies.shares, run.proxies.fallback = (0.7,) * OPERATORS, (0.3,) * OPERATORS
    run.run(probe_records(301, 1))
    before = state(run)
    apply = chain.local

    def broken(i: int, rows: pl.DataFrame) -> pl.DataFrame:
        if i == stage:
            raise SchemaError("broken")
        return apply(i, rows)

    monkeypatch.setattr(chain, "local", broken)
    monkeypatch.setattr(chain, "aggregate", lambda _: broken(OPERATORS, pl.DataFrame()) and Chain.aggregate(chain, _))
    for overflow in (False, True):
        with pytest.raises(SchemaError):
            run.run(probe_records(200, 2), overflow=overflow)
    assert str(state(run)) == str(before)


def test_groups_that_cannot_be_merged_with_those_held_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    run = QueryRun(CHAIN, OPERATORS)
    for seed in range(7):
        run.run(probe_records(50, seed))
    before = state(run)

    def too_many(_: object) -> Partial:
        raise SchemaError("more than 2**62 values")

    monkeypatch.setattr(Partial, "merge", too_many)
    with pytest.raises(SchemaError):
        run.run(probe_records(50, 8))
    assert str(state(run)) == str(before)


def test_records_of_keys_held_go_on_aggregating_and_those_of_others_are_drained_at_the_last_proxy() -> None:
    chain = chain_of("SELECT src, sketch(rtt_us) AS rtt_us FROM probes GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), src")
    run = QueryRun(chain, chain.row_stages + 1)
    run.run(records(src=["a", None, "b"] * 40, rtt_us=list(range(120))))
    full_bytes = run.partial_bytes
    more = records(src=["a", "", "c", "d"] * 30, rtt_us=list(range(120)))
    run.run(more, most_bytes=full_bytes)
    counts = run.proxies.take_counts()
    assert counts.crowded == 60
    assert counts.local[-1] == 180
    assert counts.reached[-1] == 240
    delta = run.take()
    assert {cut: sorted(pl.concat(rows)["src"].unique()) for cut, rows in delta.drained.items()} == {
        chain.row_stages: ["c", "d"]
    }
    assert sorted(Partial.merge(delta.partials).keys["src"]) == ["", "a", "b"]
    assert delta.manifest.conserved()


def test_all_rows_that_are_to_be_shipped_are_told_those_without_room_too() -> None:
    chain = chain_of("SELECT src, sketch(rtt_us) AS rtt_us FROM probes GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), src")
    run = QueryRun(chain, chain.row_stages + 1)
    run.run(records(src=["a"] * 40, rtt_us=list(range(40))))
    run.proxies.shares = (*up_to(run.operators - 1, run.operators - 1), 0.5)
    full_bytes = run.partial_bytes
    new = records(src=["c"] * 80, rtt_us=list(range(80)))
    more = run.run(new, most_bytes=full_bytes)
    assert {cut: rows for cut, rows in more.items() if rows} == {chain.row_stages: 80}
    assert sum(rows.height for rows in run.take().drained[chain.row_stages]) == 80


def test_a_bound_on_memory_holds_whatever_comes() -> None:
    chain = chain_of("SELECT src, sketch(rtt_us) AS rtt_us FROM probes GROUP BY TUMBLE(ts, INTERVAL '1' HOUR), src")
    run = QueryRun(chain, chain.row_stages + 1)
    random = np.random.default_rng(1)
    most_bytes = 200_000
    for _ in range(30):
        keys = random.integers(0, 4000, 1000)
        run.run(
            records(src=[f"host-{key}" for key in keys], rtt_us=random.integers(1, 4, 1000).tolist()),
            most_bytes=most_bytes,
        )
        assert run.partial_bytes <= 1.1 * most_bytes
    assert run.partial_bytes > 0.7 * most_bytes
    counts = run.proxies.take_counts()
    assert 0 < counts.crowded < counts.reached[-1]
    assert counts.local[-1] > counts.reached[-1] / 10


def test_the_bytes_of_a_partial_are_those_of_its_arrays() -> None:
    chain = chain_of(
        "SELECT src, sketch(rtt_us) AS rtt_us, count(*) AS n_total, avg(load) AS load_ratio FROM probes "
        "GROUP BY TUMBLE(ts, INTERVAL '1' HOUR), src"
    )
    rows = records(src=["a", "b", "a"], rtt_us=[1, 2, 10**6], load=[1.0, 2.0, None])
    partial = chain.finish(chain.prepare(rows), 0)
    cells, groups = 3, 2
    sketches = (groups + 1) * 8 + cells * (4 + 8) + groups * (8 + 8 + 8 + 16)
    keys = groups * (8 + 8) + rows["src"].head(groups).estimated_size()
    assert bytes_of(partial) == keys + sketches + groups * 8 + groups * (16 + 8)
    wide = chain.finish(chain.prepare(records(src=["a"] * 5000, rtt_us=[2**k for k in range(50)] * 100)), 0)
    assert bytes_of(wide) > 50 * 12


@pytest.mark.parametrize(
    ("label", "held", "new"),
    [
        (pl.Series("v", ["", "x", None, "y"]), ["", "x"], [3]),
        (pl.Series("v", ["", "x", None, "y"], dtype=pl.Enum(["", "x", "y"])), ["", "x"], [3]),
        (pl.Series("v", [0.0, -0.0, float("nan"), None, 1e300]), ["0.0", "NaN"], [1, 3, 4]),
        (pl.Series("v", [True, None, False]), ["true"], [1, 2]),
        (pl.Series("v", [5, None, -(2**63)]), ["5", ""], [2]),
    ],
)
def test_a_key_is_known_by_the_text_of_its_labels(label: pl.Series, held: list[str], new: list[int]) -> None:
    kind = {pl.Boolean: "ok", pl.Int64: "rtt_us", pl.Float64: "load"}.get(type(label.dtype), "src")
    chain = chain_of(
        f"SELECT {kind} AS v, count(*) AS n_total FROM probes GROUP BY TUMBLE(ts, INTERVAL '1' HOUR), {kind}"
    )
    keys = pl.DataFrame({"window": [0] * len(held), "rows": [1] * len(held), "v": held}, strict=False)
    keys = keys.with_columns(pl.col("v").cast(pl.String))
    rows = pl.DataFrame({"ts": [0] * len(label), "v": label})
    partial = Partial(chain.plan, keys, {})
    fits = rows_with_room(rows, chain.plan, [partial], 0)
    assert np.flatnonzero(~fits).tolist() == new
    assert rows_with_room(rows, chain.plan, [partial], 1).sum() == fits.sum() + 1
    other_window = rows.with_columns(ts=pl.lit(3_600 * 10**9))
    assert not rows_with_room(other_window, chain.plan, [partial], 0).any()
    assert rows_with_room(other_window, chain.plan, [], 99).all()


def test_shares_of_zero_and_one_cut_no_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    sliced: list[str] = []
    for name in ("slice", "head"):
        real = getattr(pl.DataFrame, name)
        monkeypatch.setattr(
            pl.DataFrame, name, lambda self, *args, name=name, real=real: (sliced.append(name), real(self, *args))[1]
        )
    rows = probe_records(100, 1, windows=1)
    everything = QueryRun(CHAIN, OPERATORS)
    everything.run(rows)
    assert "slice" not in sliced
    nothing = QueryRun(CHAIN, 0)
    nothing.run(rows)
    ((kept,),) = nothing.take().drained.values()
    assert kept.height == 100
    assert_same_answer(merged(everything.take()).to_frame(), truth(rows))


def test_few_rows_drained_of_many_do_not_keep_the_batch_in_memory() -> None:
    records = probe_records(1000, 1)
    for share, shared in ((0.99, False), (0.01, True)):
        run = QueryRun(CHAIN, 0)
        run.proxies.shares = (share, *up_to(0, OPERATORS - 1))
        run.run(records)
        drained, _ = run.take().drained.values()
        assert drained[0].height == round((1 - share) * 1000)
        place = _address(drained[0]) - _address(records)
        assert (0 <= place < 8 * 1000) == shared


def test_rows_sampled_out_are_in_the_manifest() -> None:
    run = QueryRun(CHAIN, 0)
    rows = probe_records(100, 1)
    run.sample_out(rows.head(40))
    run.run(rows.slice(40))
    assert run.proxies.counts.sampled_out == 40
    delta = run.take()
    assert delta.manifest.conserved()
    assert sum(window.n_sampled_out for window in delta.manifest.windows().values()) == 40
    assert sum(window.n_in for window in delta.manifest.windows().values()) == 100
    assert [frame.kind for frame in frames_of(delta, 1)] == ["drained", "manifest"]


def _address(rows: pl.DataFrame) -> int:
    return int(rows["ts"].to_numpy().__array_interface__["data"][0])
