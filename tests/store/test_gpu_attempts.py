"""Attempts, report by report: late, twice, in parts, from many at once; and readers of changes, who miss none."""

import itertools
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from store import gpu_attempts
from store.connect import open_engine
from store.errors import GpuRowError
from store.gpu_attempts import (
    OUTCOMES,
    RUNNING,
    AttemptRow,
    attempts_between,
    attempts_of,
    changed_attempts,
    check_attempt,
    merged,
    put_attempts,
)
from tests.store.gpu_world import BAD_TEXTS, HOUR_NS, NOW_NS, patient, plans, report, somebody_waits


def put(engine: sa.Engine, *rows: AttemptRow) -> int:
    with engine.begin() as connection:
        return put_attempts(connection, rows)


def one(engine: sa.Engine, job: str = "train") -> AttemptRow:
    with engine.connect() as connection:
        (row,) = attempts_of(connection, [job])[job]
    return row


WHOLE = report(
    "train", 2, user="ann", queue="prod", nodes=("n1", "ñ2"), gpus=16.5, submitted_ns=NOW_NS, start_ns=NOW_NS + 1,
    end_ns=NOW_NS + 2, outcome="failed", exit_code=-1, signal=9, synthetic=True, reported_ns=NOW_NS + 3,
)  # fmt: skip


def test_an_attempt_is_given_back_as_it_was_told(engine: sa.Engine) -> None:
    assert put(engine, WHOLE, report("other", 1)) == 2
    with engine.connect() as connection:
        found = attempts_of(connection, ["train", "nobody", "other", "train"])
    (row,) = found["train"]
    assert replace(row, id=0, changed=0) == WHOLE
    assert replace(found["other"][0], id=0, changed=0) == report("other", 1)
    assert found.keys() == {"train", "other"}


def test_attempts_of_many_jobs_come_by_number_whatever_is_asked_at_once(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_attempts, "_AT_ONCE", 2)
    rows = [report(f"job {n}", number, user=f"{n} {number}") for n in range(5) for number in (10, 2, n + 3)]
    assert put(engine, *rows) == 15
    assert put(engine, *rows) == 0
    assert put(engine, *(replace(row, gpus=1.0) for row in rows[::2])) == 8
    with engine.connect() as connection:
        found = attempts_of(connection, [f"job {n}" for n in range(6)])
    assert {job: [row.number for row in of_job] for job, of_job in found.items()} == {
        f"job {n}": [2, n + 3, 10] for n in range(5)
    }
    assert all(row.user == f"{job[4:]} {row.number}" for job, of_job in found.items() for row in of_job)


def test_reports_in_parts_make_one_attempt_and_what_they_do_not_say_stays(engine: sa.Engine) -> None:
    assert put(engine, report(user="ann", nodes=("n1",), gpus=8.0, submitted_ns=NOW_NS)) == 1
    assert put(engine, report(start_ns=NOW_NS + 5, queue="prod", reported_ns=NOW_NS + 6)) == 1
    assert put(engine, report(outcome="failed", end_ns=NOW_NS + 9, exit_code=1, reported_ns=NOW_NS + 10)) == 1
    row = one(engine)
    assert (row.user, row.queue, row.nodes, row.gpus) == ("ann", "prod", ("n1",), 8.0)
    assert (row.submitted_ns, row.start_ns, row.end_ns) == (NOW_NS, NOW_NS + 5, NOW_NS + 9)
    assert (row.outcome, row.exit_code, row.signal, row.reported_ns) == ("failed", 1, None, NOW_NS + 10)


def test_a_later_report_overrides_but_running_never_how_it_ended() -> None:
    row = merged(
        report(outcome="failed", gpus=8.0, nodes=("n1", "n2")), report(outcome=RUNNING, gpus=0.0, nodes=("n3",))
    )
    assert (row.outcome, row.gpus, row.nodes) == ("failed", 0.0, ("n3",))
    assert merged(row, report(outcome="preempted")).outcome == "preempted"


def test_what_was_once_made_up_stays_so() -> None:
    assert merged(report(synthetic=True), report(outcome="passed", synthetic=False)).synthetic
    assert merged(report(synthetic=False), report(synthetic=True)).synthetic


def test_a_report_that_says_nothing_new_writes_nothing(engine: sa.Engine) -> None:
    put(engine, WHOLE)
    before = one(engine)
    assert put(engine, replace(WHOLE, reported_ns=NOW_NS + HOUR_NS), report("train", 2)) == 0
    assert put(engine) == 0
    assert one(engine) == before


def test_reports_of_one_attempt_in_one_request_count_in_their_order(engine: sa.Engine) -> None:
    rows = [report(outcome="failed", exit_code=1), report(outcome="killed"), report("other"), report(gpus=1.0)]
    assert put(engine, *rows) == 2
    row = one(engine)
    assert (row.outcome, row.exit_code, row.gpus) == ("killed", 1, 1.0)
    assert put(engine, *rows) == 1, "the first one says `failed` again, and then the second one takes that back"


_parts = st.builds(
    report,
    user=st.sampled_from(["", "ann", "bob"]),
    nodes=st.sampled_from([(), ("n1",), ("n1", "n2")]),
    gpus=st.sampled_from([None, 0.0, 8.0]),
    end_ns=st.sampled_from([None, NOW_NS]),
    outcome=st.sampled_from(OUTCOMES),
    synthetic=st.booleans(),
)


@given(before=_parts, told=_parts)
def test_a_report_twice_is_a_report_once_and_nothing_known_is_ever_lost(before: AttemptRow, told: AttemptRow) -> None:
    after = merged(before, told)
    assert merged(after, told) is after
    for name in ("user", "nodes", "gpus", "end_ns"):
        assert getattr(after, name) in (getattr(told, name), getattr(before, name))
        assert getattr(after, name) not in (None, "", ()) or getattr(before, name) in (None, "", ())
    assert after.outcome == (before.outcome if told.outcome == RUNNING else told.outcome)


def test_texts_that_a_database_would_choke_on_are_refused_by_name(engine: sa.Engine) -> None:
    for field, bad in itertools.product(["job", "user", "queue", "nodes"], BAD_TEXTS):
        row = replace(report(), **{field: (bad,) if field == "nodes" else bad})
        with pytest.raises(GpuRowError, match=rf"^{field} holds '.*; want . to 256, without NUL or lone surrogates"):
            put(engine, report("good"), row)
        with engine.connect() as connection:
            assert attempts_of(connection, ["good", bad]) == {}, "all or nothing, and asking for it is no error"


def test_what_nobody_can_mean_is_refused() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"job": ""}, r"job holds '' \(0 characters\); want 1 to 256"),
        ({"nodes": ("n1", "")}, "nodes holds ''"),
        ({"nodes": ("n",) * 65_537}, "nodes has 65537 names; want at most 65536"),
        ({"number": 0}, "number is 0; want 1 to 65535"),
        ({"number": 65_536}, "number is 65536"),
        ({"outcome": "done"}, "outcome is 'done'; want passed, failed"),
        ({"gpus": float("nan")}, "gpus is nan; want a number, 0 or more"),
        ({"gpus": -1.0}, r"gpus is -1\.0"),
        ({"exit_code": 2**31}, "exit_code is 2147483648"),
        ({"end_ns": 2**63}, "end_ns is 9223372036854775808"),
        ({"start_ns": -1}, "start_ns is -1; want 0 to"),
    ]
    for told, said in wrong:
        with pytest.raises(GpuRowError, match=said):
            check_attempt(replace(report(), **told))


def test_the_ends_of_every_range_can_be_kept(engine: sa.Engine) -> None:
    row = report(
        "ä" * 256, 65_535, user="\u0001" * 256, queue="'; DROP TABLE gpu_attempts; --", nodes=("ü" * 256, "%\\?"),
        gpus=0.25, submitted_ns=0, end_ns=2**63 - 1, outcome="node_failure", exit_code=2**31 - 1, signal=-(2**31),
    )  # fmt: skip
    put(engine, row)
    assert replace(one(engine, row.job), id=0, changed=0) == row


def test_changes_come_in_their_order_each_attempt_once_and_again_when_it_changes(engine: sa.Engine) -> None:
    put(engine, *(report("train", number) for number in (3, 1, 2)))
    put(engine, report("train", 1, outcome="failed"), report("other"))
    with engine.connect() as connection:
        everything = changed_attempts(connection, 0, 100)
        pages = [changed_attempts(connection, 0, 3)]
        while pages[-1]:
            pages.append(changed_attempts(connection, pages[-1][-1].changed, 3))
    assert [(row.job, row.number) for row in everything] == [("train", 2), ("train", 3), ("other", 1), ("train", 1)]
    assert list(itertools.chain(*pages)) == everything
    assert len({row.changed for row in everything}) == 4


@pytest.mark.parametrize("another_upgraded_url", ["postgresql"], indirect=True)
def test_a_larger_number_waits_for_the_end_of_the_transaction_that_has_a_smaller_one(upgraded_url: str) -> None:
    engine = patient(upgraded_url)
    with ThreadPoolExecutor(1) as threads, engine.connect() as slow, engine.connect() as reader:
        put_attempts(slow, [report("first")])
        writing = threads.submit(put, engine, report("second"))
        while not somebody_waits(reader) and not writing.done():
            reader.exec_driver_sql("SELECT pg_sleep(0.02)")
        assert changed_attempts(reader, 0, 10) == [], "the second one is not to be seen before the first"
        slow.commit()
        writing.result()
    with engine.connect() as connection:
        assert [row.job for row in changed_attempts(connection, 0, 10)] == ["first", "second"]
    engine.dispose()


def test_a_follower_of_changes_ends_with_the_newest_of_all_whoever_writes_meanwhile(upgraded_url: str) -> None:
    engine = patient(upgraded_url)
    reading = open_engine(upgraded_url, read_only=True)
    done = threading.Event()

    def write(seed: int) -> None:
        chance = random.Random(seed)
        for step in range(12):
            rows = [
                report(f"job {chance.randrange(8)}", chance.randrange(1, 4), user=f"{seed} {step} {i}")
                for i in range(chance.randrange(1, 9))
            ]
            with engine.begin() as connection:
                put_attempts(connection, rows)

    def follow() -> dict[tuple[str, int], AttemptRow]:
        seen: dict[tuple[str, int], AttemptRow] = {}
        after = 0
        while True:
            last = done.is_set()
            with reading.connect() as connection:
                rows = changed_attempts(connection, after, 5)
            seen |= {(row.job, row.number): row for row in rows}
            if rows:
                after = rows[-1].changed
            elif last:
                return seen

    with ThreadPoolExecutor(4) as threads:
        following = threads.submit(follow)
        for writing in [threads.submit(write, seed) for seed in range(3)]:
            writing.result()
        done.set()
        seen = following.result()
    with engine.connect() as connection:
        found = attempts_of(connection, [f"job {n}" for n in range(8)])
    assert seen == {(row.job, row.number): row for rows in found.values() for row in rows}
    engine.dispose()
    reading.dispose()


def test_attempts_between_are_those_whose_latest_known_time_is_there(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_attempts, "_READ_AT_ONCE", 2)
    times = {"submitted_ns": 10, "start_ns": 20, "end_ns": 30}
    rows = [report(f"up to {name}", **dict(list(times.items())[:n])) for n, name in enumerate(["none", *times])]
    put(engine, *rows, *(report("same", number, end_ns=30) for number in range(1, 6)))
    with engine.connect() as connection:

        def jobs(start_ns: int, end_ns: int) -> list[str]:
            return [row.job for row in attempts_between(connection, start_ns, end_ns)]

        assert jobs(0, 31)[:2] == ["up to submitted_ns", "up to start_ns"]
        assert sorted(jobs(0, 31)[2:]) == ["same"] * 5 + ["up to end_ns"]
        assert (jobs(10, 20), jobs(20, 30)) == (["up to submitted_ns"], ["up to start_ns"])
        assert jobs(31, NOW_NS) == []
        assert jobs(NOW_NS, NOW_NS + 1) == ["up to none"], "nothing but a report is known of it"
    put(engine, report("up to none", end_ns=15))
    with engine.connect() as connection:
        assert jobs(10, 20) == ["up to submitted_ns", "up to none"]


def test_ten_million_attempts_would_be_read_along_indexes(engine: sa.Engine) -> None:
    put(engine, *(report(f"job {n}", 1, end_ns=n) for n in range(50)))
    with engine.begin() as connection:
        asked = {
            "gpu_attempts_by_job": lambda: attempts_of(connection, ["job 1", "job 2"]),
            "gpu_attempts_by_change": lambda: changed_attempts(connection, 10, 5),
            "gpu_attempts_by_time": lambda: list(attempts_between(connection, 10, 20)),
        }
        for index, ask in asked.items():
            (plan,) = plans(connection, "gpu_attempts", ask)
            assert index in plan, plan
            assert "SCAN gpu_attempts" not in plan, plan
            assert "TEMP B-TREE" not in plan, plan
        for plan in plans(connection, "gpu_attempts", lambda: put_attempts(connection, [report("job 1", 1, gpus=1.0)])):
            assert "gpu_attempts_by_job" in plan, plan
