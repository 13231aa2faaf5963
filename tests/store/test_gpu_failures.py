"""Why attempts failed: kept by attempt, listed newest first whatever is filtered, counted by kind."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from store.claims import GPU_FAILURES_PARTITION, GPU_TOPIC, Counts, advance, claim
from store.errors import GpuRowError
from store.gpu_failures import (
    FailureFilter,
    FailurePage,
    FailurePlace,
    FailureRow,
    drop_failure,
    failure_counts,
    failures_of,
    list_failures,
    put_failure,
)
from store.gpu_retention import forget_failures
from store.gpu_tables import gpu_progress
from tests.store.gpu_world import BAD_TEXTS, NOW_NS, failure, patient, plans, somebody_waits

WHOLE = failure(
    "train", 3, status="abstained", reason=None, category=None, guess="nccl_timeout", confidence=0.25,
    retry="other_node", action="drain it", node="n1", rank=7, user="ann", gpus=16.0, lost_gpu_s=57600.5,
    template="error <*>", diagnosis='{"é": "\\u0000"}', origin="agents", reported=False, synthetic=True,
)  # fmt: skip


def put(engine: sa.Engine, *rows: FailureRow) -> list[int]:
    with engine.begin() as connection:
        return [put_failure(connection, row) for row in rows]


def of_job(engine: sa.Engine, job: str = "train") -> list[FailureRow]:
    with engine.connect() as connection:
        return failures_of(connection, job)


def test_a_diagnosis_is_given_back_as_it_was_kept(engine: sa.Engine) -> None:
    ids = put(engine, WHOLE, failure("train", 1))
    assert of_job(engine) == [
        replace(failure("train", 1), id=ids[1], revision=1),
        replace(WHOLE, id=ids[0], revision=1),
    ]
    assert of_job(engine, "nobody") == []


def test_a_diagnosis_that_differs_anywhere_takes_the_place_of_the_one_before(engine: sa.Engine) -> None:
    other: dict[str, Any] = {
        "failed_ns": NOW_NS - 1, "status": "answered", "confidence": 0.5, "retry": "never", "node": None, "rank": None,
        "gpus": None, "lost_gpu_s": 1.0, "origin": "upload", "reported": True, "synthetic": False,
    }  # fmt: skip
    given = "job", "number", "found_ns", "id", "revision"
    for number, field in enumerate((each.name for each in fields(FailureRow) if each.name not in given), 1):
        before = replace(WHOLE, job=field, number=number)
        after = replace(before, **{field: other.get(field, "something else")}, found_ns=NOW_NS + 9)
        (key,) = put(engine, before)
        assert put(engine, replace(before, found_ns=NOW_NS + 5)) == [key]
        assert of_job(engine, field) == [replace(before, id=key, revision=1)], "found again: nothing new"
        assert put(engine, after, after) == [key] * 2
        assert of_job(engine, field) == [replace(after, id=key, revision=2)]


def test_what_all_of_a_log_says_does_not_give_way_to_what_agents_kept_of_it(engine: sa.Engine) -> None:
    (number,) = put(engine, failure(reason="xid", origin="agents"))
    uploads = [failure(reason="gpu_oom", origin="upload"), failure(reason="disk_full", origin="upload")]
    for revision, upload in enumerate(uploads, 2):
        assert put(engine, upload, failure(reason="xid", origin="agents")) == [number] * 2
        assert of_job(engine) == [replace(upload, id=number, revision=revision)]


def test_two_who_find_something_of_one_attempt_at_once_leave_one_row(engine: sa.Engine) -> None:
    def find(who: str) -> set[int]:
        return {put(engine, failure(user=f"{who} {n}"))[0] for n in range(5)}

    with ThreadPoolExecutor(2) as threads:
        one, other = threads.map(find, ["a", "b"])
    (row,) = of_job(engine)
    assert one == other == {row.id}
    assert row.revision == 10, "each differed from the one before it"


@pytest.mark.parametrize("another_upgraded_url", ["postgresql"], indirect=True)
def test_a_failure_is_not_seen_before_one_of_a_smaller_number_whatever_its_writer_takes(upgraded_url: str) -> None:
    engine = patient(upgraded_url)
    with ThreadPoolExecutor(1) as threads, engine.connect() as slow, engine.connect() as reader:
        first = put_failure(slow, failure("first"))
        writing = threads.submit(put, engine, failure("second"))
        while not somebody_waits(reader) and not writing.done():
            reader.exec_driver_sql("SELECT pg_sleep(0.02)")
        assert failures_of(reader, "second") == []
        slow.commit()
        (second,) = writing.result()
    assert first < second
    engine.dispose()


def test_a_failure_that_was_counted_and_taken_back_has_its_number_again_when_it_is_found_again(
    engine: sa.Engine,
) -> None:
    def take_back(job: str) -> None:
        with engine.begin() as connection:
            assert drop_failure(connection, job, 1, NOW_NS)

    counted, uncounted = put(engine, failure("counted"), failure("uncounted"))
    with engine.begin() as connection:
        held = claim(connection, GPU_TOPIC, GPU_FAILURES_PARTITION, "series")
        advance(connection, held, counted, Counts(), NOW_NS)
    take_back("counted")
    take_back("uncounted")
    assert put(engine, failure("counted", 2), failure("uncounted", 2)) == [uncounted + 1, uncounted + 2]
    assert put(engine, failure("counted"), failure("uncounted")) == [counted, uncounted + 3]
    take_back("counted")
    with engine.begin() as connection:
        assert forget_failures(connection, NOW_NS + 1) == 3
        assert not connection.execute(sa.select(gpu_progress)).all(), "what is noted is forgotten with the failures"
    assert put(engine, failure("counted")) == [uncounted + 4]


def test_names_from_logs_are_written_out_and_found_by_what_they_were(engine: sa.Engine) -> None:
    for number, bad in enumerate(BAD_TEXTS, 1):
        (key,) = put(
            engine, failure("train", number, node=bad, user=bad, template="\x00" * 40_000, action=f"ask {bad}")
        )
        with engine.connect() as connection:
            for where in (FailureFilter(node=bad), FailureFilter(user=bad)):
                (row,) = list_failures(connection, where, limit=9).rows
                assert row.id == key
            for where in (FailureFilter(job=bad), FailureFilter(reason=bad), FailureFilter(category=bad)):
                assert list_failures(connection, where, limit=9) == FailurePage((), None)
            assert failures_of(connection, bad) == []
        assert row.template == "\\0" * 8192
        with pytest.raises(GpuRowError, match=r"^job holds"):
            put(engine, failure(bad))


def test_what_cannot_be_kept_is_refused_by_name(engine: sa.Engine) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"job": ""}, r"^job holds '' \(0 characters\); want 1 to 256"),
        ({"number": 0}, r"^number is 0; want 1 to 65535"),
        ({"confidence": float("nan")}, r"^confidence is nan; want a number, 0 or more"),
        ({"lost_gpu_s": float("inf")}, r"^lost_gpu_s is inf"),
        ({"rank": 2**31}, r"^rank is 2147483648"),
        ({"failed_ns": -1}, r"^failed_ns is -1; want 0 to"),
        ({"reason": "x" * 129}, r"^reason holds 'x.*want 0 to 128"),
        ({"diagnosis": "\x00"}, r"^diagnosis holds .*without NUL"),
        ({"diagnosis": None}, r"^diagnosis is None; want a value"),
    ]
    for said, message in wrong:
        with pytest.raises(GpuRowError, match=message):
            put(engine, replace(failure(), **said))
    assert of_job(engine) == []


ROWS = [
    failure(
        f"job {n % 9}", n // 9 + 1, failed_ns=NOW_NS + n * 7 % 20, reason=("gpu_oom", "xid", None)[n % 3],
        category=("ai_engine", "infrastructure", None)[n % 3], status="abstained" if n % 3 == 2 else "answered",
        node=f"n{n % 4}", user=f"user {n % 2}", synthetic=n % 5 == 0, lost_gpu_s=None if n % 7 == 0 else float(n),
    )
    for n in range(40)
]  # fmt: skip
FILTERS: list[dict[str, Any]] = [
    {}, {"job": "job 3"}, {"reason": "xid"}, {"category": "ai_engine"}, {"user": "user 1"}, {"node": "n2"},
    {"status": "abstained"}, {"synthetic": True}, {"synthetic": False}, {"start_ns": NOW_NS + 5},
    {"end_ns": NOW_NS + 5}, {"node": "n2", "reason": "gpu_oom"}, {"node": "nowhere"},
    {"start_ns": NOW_NS + 5, "end_ns": NOW_NS + 9, "user": "user 0"},
]  # fmt: skip


def test_pages_hold_every_failure_once_newest_first_whatever_is_filtered(engine: sa.Engine) -> None:
    ids = put(engine, *ROWS)
    rows = [replace(row, id=number, revision=1) for row, number in zip(ROWS, ids, strict=True)]
    rows.sort(key=lambda row: (row.failed_ns, row.id), reverse=True)
    with engine.connect() as connection:
        for where in FILTERS:
            wanted = [row for row in rows if _fits(row, where)]
            for limit in (1, 7, 40, 41):
                page = list_failures(connection, FailureFilter(**where), limit=limit, with_diagnosis=True)
                found = list(page.rows)
                while page.after is not None:
                    assert len(page.rows) == limit
                    page = list_failures(
                        connection, FailureFilter(**where), limit=limit, after=page.after, with_diagnosis=True
                    )
                    found += page.rows
                assert found == wanted, where
        brief = list_failures(connection, FailureFilter(), limit=3)
    assert brief.rows == tuple(replace(row, diagnosis="") for row in rows[:3])
    assert brief.after == FailurePlace(rows[2].failed_ns, rows[2].id)


def _fits(row: FailureRow, where: dict[str, Any]) -> bool:
    start_ns, end_ns = where.get("start_ns", 0), where.get("end_ns", 2**63 - 1)
    same = all(getattr(row, name) == wanted for name, wanted in where.items() if not name.endswith("_ns"))
    return same and start_ns <= row.failed_ns < end_ns


def test_a_page_goes_on_where_the_last_one_ended_also_when_that_failure_is_gone(engine: sa.Engine) -> None:
    ids = put(engine, *ROWS)
    with engine.begin() as connection:
        page = list_failures(connection, FailureFilter(), limit=5)
        following = list_failures(connection, FailureFilter(), limit=5, after=page.after)
        connection.exec_driver_sql(f"DELETE FROM gpu_failures WHERE id = {page.rows[-1].id}")
        assert list_failures(connection, FailureFilter(), limit=5, after=page.after) == following
    assert len(ids) == 40


def test_counts_are_those_of_the_stretch_by_kind_with_what_was_lost(engine: sa.Engine) -> None:
    put(engine, *ROWS)
    lost: dict[Any, list[float]] = {}
    for row in ROWS:
        if NOW_NS + 3 <= row.failed_ns < NOW_NS + 11:
            lost.setdefault((row.category, row.reason, row.status, row.synthetic), []).append(row.lost_gpu_s or 0.0)
    with engine.connect() as connection:
        found = failure_counts(connection, NOW_NS + 3, NOW_NS + 11)
        assert failure_counts(connection, 0, NOW_NS) == []
    assert len(found) == len(lost) > 3
    counted = {(each.category, each.reason, each.status, each.synthetic): each for each in found}
    assert counted.keys() == lost.keys()
    for kind, values in lost.items():
        assert (counted[kind].failures, counted[kind].lost_gpu_s) == (len(values), sum(values))


def test_lists_are_read_in_their_order_along_an_index(engine: sa.Engine) -> None:
    along: dict[str, list[dict[str, Any]]] = {
        "gpu_failures_by_time": [{}, {"status": "abstained"}, {"start_ns": 5, "end_ns": 9}],
        "gpu_failures_by_reason": [{"reason": "xid"}, {"reason": "xid", "synthetic": False}],
        "gpu_failures_by_category": [{"category": "user"}],
        "gpu_failures_by_node": [{"node": "n1"}],
        "gpu_failures_by_user": [{"user": "ann"}],
    }
    asked = [(index, FailureFilter(**where)) for index, filters in along.items() for where in filters]
    with engine.begin() as connection:
        for (index, where), after in itertools.product(asked, (None, FailurePlace(NOW_NS, 5))):
            ask = partial(list_failures, connection, where, limit=9, after=after)
            (plan,) = plans(connection, "gpu_failures", ask)
            assert index in plan, plan
            assert "Sort" not in plan, plan
            assert "TEMP B-TREE" not in plan, plan


def test_nothing_is_counted_from_the_long_rows_of_the_table(engine: sa.Engine) -> None:
    put(engine, *ROWS)
    with engine.begin() as connection:
        (plan,) = plans(connection, "gpu_failures", lambda: failure_counts(connection, 0, NOW_NS))
        assert "gpu_failures_by_time" in plan, plan
        assert "Index Only Scan" in plan or "COVERING INDEX" in plan, plan
