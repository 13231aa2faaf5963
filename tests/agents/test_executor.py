"""The executor: any cuts and any batching give one answer, and every record's fate is counted."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import executor as executor_module
from agents.executor import Executor
from agents.proxies import up_to
from agents.query_run import QueryRun
from agents.sources.source import Batch, Lost
from pipeline.partial import Partial
from tests.agents.world import CHAIN, PLAN, assert_same_answer, truth
from tests.fleet import START_NS, TABLES, WINDOW_NS, probe_plan, probe_records

AGGREGATE = CHAIN.row_stages + 1


def answer(run: QueryRun) -> tuple[pl.DataFrame, list[int]]:
    """What a collector makes of the run's delta, and (in, filtered, local, drained, dropped) over all windows."""
    delta = run.take()
    parts = [*delta.partials, Partial.empty(PLAN)]
    parts += [run.chain.finish(rows, after=cut) for cut, batches in delta.drained.items() for rows in batches]
    assert delta.manifest.conserved()
    windows = delta.manifest.windows().values()
    fates = [
        sum(window.n_in for window in windows),
        sum(window.n_filtered for window in windows),
        sum(window.n_local for window in windows),
        sum(sum(window.n_drained) for window in windows),
        sum(sum(window.n_dropped.values()) for window in windows),
    ]
    return Partial.merge(parts).sorted().to_frame(), fates


@settings(max_examples=30)
@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=14),
    cuts=st.lists(st.integers(0, AGGREGATE), min_size=14, max_size=14),
    seed=st.integers(0, 99),
)
def test_any_cuts_and_batching_give_the_answer_of_one_pass(sizes: list[int], cuts: list[int], seed: int) -> None:
    records = probe_records(sum(sizes), seed)
    run = QueryRun(CHAIN, 0)
    start = 0
    for size, cut in zip(sizes, cuts, strict=False):
        run.proxies.shares = up_to(cut, AGGREGATE)
        run.run(records.slice(start, size))
        start += size
    got, fates = answer(run)
    assert_same_answer(got, truth(records))
    assert fates[0] == records.height
    assert answer(run)[1] == [0, 0, 0, 0, 0]


def test_small_batches_wait_and_run_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    real = QueryRun.run
    monkeypatch.setattr(
        QueryRun, "run", lambda self, batch, **how: (sizes.append(batch.height), real(self, batch, **how))[1]
    )
    monkeypatch.setattr(executor_module, "WAITING_ROWS", 100)
    executor = Executor([PLAN], TABLES, "h", "all-src")
    records = probe_records(250, 3)
    for start in range(0, 250, 25):
        executor.add(Batch("probes", records.slice(start, 25)))
    assert sizes == [100, 100]
    (delta,) = executor.take()
    assert sizes == [100, 100, 50]
    assert_same_answer(Partial.merge(delta.partials).sorted().to_frame(), truth(records))


def test_the_host_is_added_where_it_is_missing_and_kept_where_it_is_given() -> None:
    plan = probe_plan("SELECT host, count(*) AS probes_total FROM probes GROUP BY TUMBLE(ts, INTERVAL '1' HOUR), host")
    executor = Executor([plan], TABLES, "this-host", "all-src")
    records = probe_records(4, 1)
    executor.add(Batch("probes", records.drop("host")))
    executor.add(Batch("probes", records.with_columns(host=pl.Series(["other", None, "other", None]))))
    (delta,) = executor.take()
    keys = Partial.merge(delta.partials).sorted().keys.group_by("host").agg(pl.col("rows").sum()).sort("host")
    assert keys.rows() == [("other", 2), ("this-host", 6)]


def test_the_labels_are_added_where_a_query_reads_them_and_the_rows_have_none() -> None:
    plan = probe_plan(
        "SELECT rack, dc, count(*) AS n_total FROM probes GROUP BY TUMBLE(ts, INTERVAL '1' HOUR), rack, dc"
    )
    executor = Executor([plan], TABLES, "h", "all-sp", labels={"rack": "r1", "tor": "t1", "dc": "d1"})
    records = probe_records(4, 1)
    executor.add(Batch("probes", records))
    executor.add(Batch("probes", records.with_columns(dc=pl.Series(["own", None, "own", None]))))
    executor.labels = {"rack": "r2"}
    executor.add(Batch("probes", records))
    (delta,) = executor.take()
    rows = pl.concat(delta.drained[0])
    assert rows.columns == ["ts", "dc", "rack"]
    assert rows.group_by("rack", "dc").len().sort("rack", "dc", nulls_last=True).rows() == [
        ("r1", "d1", 4), ("r1", "own", 2), ("r1", None, 2), ("r2", "", 4),
    ]  # fmt: skip


def test_lost_samples_and_dropped_batches_are_in_the_manifest_by_reason() -> None:
    again = probe_plan("SELECT count(*) AS n_total FROM probes GROUP BY TUMBLE(ts, INTERVAL '1' HOUR)", name="again")
    executor = Executor([PLAN, again], TABLES, "h", "all-src")
    records = probe_records(10, 1, windows=1)
    lost = (Lost(START_NS + 3, 7, "pipe_full"), Lost(START_NS + WINDOW_NS, 2, "overrun"))
    executor.add(Batch("probes", records, lost))
    executor.drop(Batch("probes", records, (Lost(START_NS, 4, "pipe_full"),)), "spool_full")
    executor.add(Batch("unasked", records, lost))
    delta, _ = executor.take()
    windows = delta.manifest.windows()
    assert delta.manifest.conserved()
    assert windows[START_NS].n_dropped == {"pipe_full": 11, "spool_full": 10}
    assert windows[START_NS].n_in == 31
    assert windows[START_NS + WINDOW_NS].n_dropped == {"overrun": 2}
    assert executor.dropped == {"pipe_full": 11, "overrun": 2, "spool_full": 10}


def test_a_query_that_fails_on_a_batch_gives_it_up_counted_and_others_go_on() -> None:
    counts = probe_plan("SELECT count(*) AS n_total FROM probes GROUP BY TUMBLE(ts, INTERVAL '1' HOUR)", name="counts")
    executor = Executor([PLAN, counts], TABLES, "h", "all-src")
    executor.add(Batch("probes", probe_records(20, 1).with_columns(load=pl.lit("heavy"))))
    broken, fine = executor.take()
    assert broken.manifest.conserved()
    assert broken.partials == []
    assert sum(window.n_dropped["query_failed"] for window in broken.manifest.windows().values()) == 20
    assert executor.dropped == {"query_failed": 20}
    assert sum(Partial.merge(fine.partials).record_counts().values()) == 20


def test_a_query_that_fails_in_a_way_nobody_thought_of_takes_no_other_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = probe_plan("SELECT count(*) AS n_total FROM probes GROUP BY TUMBLE(ts, INTERVAL '1' HOUR)", name="counts")
    executor = Executor([PLAN, counts], TABLES, "h", "all-src")
    monkeypatch.setattr(executor.runs[0].chain, "aggregate", lambda _: 1 // 0)
    executor.add(Batch("probes", probe_records(20, 1)))
    broken, fine = executor.take()
    assert sum(sum(window.n_dropped.values()) for window in broken.manifest.windows().values()) == 20
    assert sum(Partial.merge(fine.partials).record_counts().values()) == 20
