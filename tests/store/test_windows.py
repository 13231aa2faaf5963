"""Merged reads: selection by label, alignment, steps and versions, and the same answer however data was flushed."""

import numpy as np
import polars as pl
import pytest
import sqlalchemy as sa

from pipeline.chain import Chain
from pipeline.plan import Plan
from store.claims import claim
from store.errors import CorruptPageError, SelectionError, UnknownLabelError
from store.flush import Flush, write_flush
from store.label_matchers import Matcher
from store.registry import load_versions, register_queries
from store.series import SeriesIds
from store.windows import Answer, Selection, merged
from tests.fleet import START_NS, TABLES, WINDOW_NS, probe_plan

SQL = """SELECT src, host, count(*) AS probes_total, sum(rtt_us) AS rtt_sum_us
FROM probes GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), src, host"""


def store_rows(engine: sa.Engine, plan: Plan, rows: list[tuple[int, str, str, int]], partition: int = 0) -> None:
    """Flush rows (window, src, host, rtt_us) as one partition's additions."""
    with engine.begin() as connection:
        register_queries(connection, [plan], START_NS)
        held = claim(connection, "t", partition, "me")
        versions = load_versions(connection)
    frame = pl.DataFrame(
        {
            "ts": [START_NS + window * WINDOW_NS + 5 for window, *_ in rows],
            "host": [host for _, _, host, _ in rows],
            "src": [src for _, src, _, _ in rows],
            "rtt_us": [rtt for *_, rtt in rows],
            "load": [0.0] * len(rows),
            "err": [0] * len(rows),
        }
    )
    chain = Chain(plan, TABLES)
    partial = chain.finish(chain.prepare(frame), after=0)
    write_flush(engine, held, Flush(held.next_offset, 0, partials={plan.version: partial}), versions, SeriesIds())


def ask(engine: sa.Engine, metric: str = "probes_total", **selection: object) -> Answer:
    whole = {"start_ns": START_NS, "end_ns": START_NS + 6 * WINDOW_NS} | selection
    with engine.connect() as connection:
        return merged(connection, Selection(metric, **whole))  # type: ignore[arg-type]


def values(answer: Answer) -> list[tuple[object, ...]]:
    return [
        (*group.labels.values(), (group.start_ns - START_NS) / WINDOW_NS, group.state.answers()[0])
        for group in answer.groups
    ]


@pytest.fixture
def filled(engine: sa.Engine) -> sa.Engine:
    """Three windows of two sources on two hosts, from two partitions in three flushes."""
    plan = probe_plan(SQL)
    store_rows(engine, plan, [(0, "a", "h1", 1), (0, "a", "h2", 2), (1, "b", "h1", 4)])
    store_rows(engine, plan, [(0, "a", "h1", 8), (4, "a", "", 16)], partition=1)
    store_rows(engine, plan, [(0, "a", "h1", 32)])
    return engine


def test_everything_is_one_group_without_by(filled: sa.Engine) -> None:
    assert values(ask(filled)) == [(0.0, 6)]
    assert values(ask(filled, "rtt_sum_us")) == [(0.0, 63)]


def test_groups_come_by_label_then_time_and_only_where_there_is_data(filled: sa.Engine) -> None:
    assert values(ask(filled, by=("src",), step_ns=WINDOW_NS)) == [("a", 0.0, 4), ("a", 4.0, 1), ("b", 1.0, 1)]
    assert values(ask(filled, by=("host", "src"))) == [
        ("", "a", 0.0, 1),
        ("h1", "a", 0.0, 3),
        ("h1", "b", 0.0, 1),
        ("h2", "a", 0.0, 1),
    ]


def test_matchers_pick_series_and_an_empty_value_means_no_such_label(filled: sa.Engine) -> None:
    assert values(ask(filled, where=(Matcher("host", "h1"),))) == [(0.0, 4)]
    assert values(ask(filled, where=(Matcher("host", "h1"), Matcher("src", "b")))) == [(0.0, 1)]
    assert values(ask(filled, where=(Matcher("host", ""),))) == [(0.0, 1)]
    assert values(ask(filled, where=(Matcher("host", "h9"),))) == []


def test_a_range_is_widened_to_whole_windows(filled: sa.Engine) -> None:
    inside = ask(filled, start_ns=START_NS + 1, end_ns=START_NS + 2)
    assert (inside.start_ns, inside.end_ns, values(inside)) == (START_NS, START_NS + WINDOW_NS, [(0.0, 4)])
    assert values(ask(filled, start_ns=START_NS + WINDOW_NS, end_ns=START_NS + 4 * WINDOW_NS)) == [(1.0, 1)]


def test_steps_lie_on_multiples_of_the_step(filled: sa.Engine) -> None:
    answer = ask(filled, start_ns=START_NS + 3 * WINDOW_NS, step_ns=2 * WINDOW_NS)
    assert answer.start_ns % (2 * WINDOW_NS) == 0
    assert [(group.end_ns - group.start_ns) for group in answer.groups] == [2 * WINDOW_NS]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step_ns": WINDOW_NS // 2}, "no multiple of the window of probes_total, which is 10 s; ask for step=10s"),
        ({"step_ns": 0}, "step 0 s"),
        ({"end_ns": START_NS}, "is not before end"),
    ],
)
def test_a_selection_that_makes_no_sense_is_refused(filled: sa.Engine, change: dict[str, int], message: str) -> None:
    with pytest.raises(SelectionError, match=message):
        ask(filled, **change)


def test_an_unknown_label_names_the_nearest(filled: sa.Engine) -> None:
    with pytest.raises(UnknownLabelError, match="did you mean 'host'"):
        ask(filled, by=("hots",))
    with pytest.raises(UnknownLabelError, match="label of probes_total 'rack'"):
        ask(filled, where=(Matcher("rack", "7"),))


def test_the_version_of_an_answer_grows_with_every_change_of_what_it_read(filled: sa.Engine) -> None:
    before = ask(filled).newest_version
    assert ask(filled).newest_version == before
    store_rows(filled, probe_plan(SQL), [(0, "a", "h1", 1)])
    assert ask(filled).newest_version > before


def test_windows_answer_from_the_version_valid_at_their_start(filled: sa.Engine) -> None:
    changed = probe_plan(SQL.replace("FROM probes", "FROM probes WHERE err = 0"))
    with filled.begin() as connection:
        register_queries(connection, [changed], START_NS + WINDOW_NS)
    store_rows(filled, changed, [(0, "a", "h1", 100), (4, "c", "h1", 100)])
    assert values(ask(filled, "rtt_sum_us", by=("src",), step_ns=WINDOW_NS)) == [("a", 0.0, 43), ("c", 4.0, 100)]


def test_many_series_fill_many_pages_and_come_back_whole(engine: sa.Engine) -> None:
    plan = probe_plan(SQL)
    rows = [(n % 3, f"s{n}", "h", n) for n in range(300)]
    store_rows(engine, plan, rows[:200])
    store_rows(engine, plan, rows[100:])
    answer = ask(engine, "rtt_sum_us", by=("src",))
    expected = {f"s{n}": n * (2 if 100 <= n < 200 else 1) for n in range(300)}
    assert {group.labels["src"]: group.state.answers()[0] for group in answer.groups} == expected


def test_a_damaged_page_is_an_error_not_an_answer(filled: sa.Engine) -> None:
    with filled.begin() as connection:
        connection.execute(sa.text("UPDATE pages SET data = :data"), {"data": b"\x01\x01\x00\x03\x00\x00\x00xyz"})
    with pytest.raises(CorruptPageError, match="no count state"):
        ask(filled)


def test_ids_survive_a_rolled_back_transaction(engine: sa.Engine) -> None:
    ids = SeriesIds()
    with engine.begin() as connection:
        register_queries(connection, [probe_plan(SQL)], 0)
    labels = pl.DataFrame({"src": ["x", "y", "x"], "host": ["1", "1", "1"]})
    with engine.connect() as connection:
        ids.resolve(connection, 1, labels, 3)
        connection.rollback()
    ids.rolled_back()
    with engine.begin() as connection:
        ids.resolve(connection, 1, labels[1:2], 1)
        found = ids.resolve(connection, 1, labels, 3)
    ids.committed()
    assert found[0] == found[2] != found[1]
    with engine.connect() as connection:
        assert np.array_equal(ids.resolve(connection, 1, labels, 3), found)


def test_labels_met_in_a_committed_transaction_cost_no_text_again(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = SeriesIds()
    with engine.begin() as connection:
        register_queries(connection, [probe_plan(SQL)], 0)
    labels = pl.DataFrame({"src": ["x", "y"], "host": ["1", "1"]})
    with engine.begin() as connection:
        ids.resolve(connection, 1, labels[:1], 1)
        ids.rolled_back()  # as if that transaction had failed: nothing of it may be remembered
        found = ids.resolve(connection, 1, labels[1:], 1)
    ids.committed()
    monkeypatch.setattr("store.series.label_text", lambda _: pytest.fail("a text was made"))
    with engine.connect() as connection:
        assert ids.resolve(connection, 1, labels[1:], 1) == found
        with pytest.raises(pytest.fail.Exception, match="a text was made"):
            ids.resolve(connection, 1, labels, 2)


def test_a_late_record_reads_only_the_windows_it_touches(engine: sa.Engine) -> None:
    plan = probe_plan(SQL)
    store_rows(engine, plan, [(window, "a", "h", 1) for window in range(40)])
    read: list[str] = []
    sa.event.listen(
        engine, "before_cursor_execute", lambda *call: read.append(repr(call[3])) if "FROM pages" in call[2] else None
    )
    store_rows(engine, plan, [(0, "a", "h", 1), (39, "a", "h", 1)])
    assert read
    assert all(str(START_NS + 20 * WINDOW_NS) not in parameters for parameters in read)


def test_labels_longer_than_an_index_takes_are_stored(engine: sa.Engine) -> None:
    plan = probe_plan(SQL)
    store_rows(engine, plan, [(0, "x" * 10_000, "h", 1), (0, "x" * 9_999, "h", 2)])
    assert [len(group.labels["src"]) for group in ask(engine, by=("src",)).groups] == [9_999, 10_000]
