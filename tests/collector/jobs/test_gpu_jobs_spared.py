"""What one job, one page, one file of rules or one missing library does to the work: no other job pays for it."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from collector import own_metrics
from collector.jobs import gpu_diagnosing, gpu_rules
from pipeline.sql import compile_query
from store.errors import GpuRowError
from store.gpu_failures import FailureRow
from store.registry import register_queries
from store.tables import pages
from tests.collector.jobs.gpu_world import (
    HOUR_NS,
    LINES,
    LOG_SQL,
    MINUTE_NS,
    NOW,
    OUT_OF_MEMORY,
    S_NS,
    GpuWorld,
    attempt,
    lines,
)


def counted(reason: str) -> float:
    return own_metrics.gpu_failures.labels(reason)._value.get()


def test_a_job_that_cannot_be_looked_into_is_set_aside_and_the_others_are(
    quick_gpu_world: GpuWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = quick_gpu_world
    world.take(row for job in ("j1", "j2", "j3") for row in lines(job, OUT_OF_MEMORY))
    world.report(*(attempt(job) for job in ("j1", "j2", "j3")))
    rounds = world.rounds()
    look = gpu_diagnosing.failure_row
    tried: list[str] = []

    def odd(job: str, *rest: Any) -> Any:
        tried.append(job)
        if job == "j2":
            raise ZeroDivisionError("of our making")
        return look(job, *rest)

    before = counted("fault")
    monkeypatch.setattr(gpu_diagnosing, "failure_row", odd)
    assert not rounds.tick(NOW)
    assert counted("fault") == before + 1
    assert "of our making" in caplog.text
    assert "job j2" in caplog.text
    assert [world.reasons(job) for job in ("j1", "j2", "j3")] == [{1: "gpu_oom"}, {}, {1: "gpu_oom"}]
    tried.clear()
    assert rounds.tick(NOW + S_NS), "it is tried again later, and keeps no round from being whole until then"
    assert tried == []
    assert not rounds.tick(NOW + 61 * S_NS)
    monkeypatch.undo()
    assert rounds.tick(NOW + 62 * S_NS)
    assert world.reasons("j2") == {}
    world.report(attempt("j2", exit_code=1))
    assert rounds.tick(NOW + 63 * S_NS), "something new, and it is tried at once"
    assert world.reasons("j2") == {1: "gpu_oom"}


def test_a_row_that_cannot_be_kept_costs_only_its_own_job_its_reason(
    quick_gpu_world: GpuWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = quick_gpu_world
    world.report(*(attempt(job) for job in ("j1", "j2", "j3")))
    put = gpu_diagnosing.put_failure

    def refused(connection: sa.Connection, row: FailureRow) -> int:
        if row.job == "j2":
            raise GpuRowError("a diagnosis of 5000000 characters")
        return put(connection, row)

    monkeypatch.setattr(gpu_diagnosing, "put_failure", refused)
    rounds = world.rounds()
    assert not rounds.tick(NOW)
    assert [len(world.failures(job)) for job in ("j1", "j2", "j3")] == [1, 0, 1]
    waiting = [json.loads(row[3]) for row in world.table("gpu_progress") if row[0] == "gpu jobs waiting"]
    assert [(one["job"], one["tries"]) for one in waiting] == [("j2", 1)]


def test_a_damaged_page_costs_only_the_jobs_on_it_their_reasons(quick_gpu_world: GpuWorld) -> None:
    world = quick_gpu_world
    world.take(lines("j1", OUT_OF_MEMORY))
    world.take(lines("j2", OUT_OF_MEMORY, NOW - 40 * MINUTE_NS))
    later = {"end_ns": NOW - 40 * MINUTE_NS, "reported_ns": NOW - 39 * MINUTE_NS}
    world.report(attempt("j1"), attempt("j2", **later), attempt("no-lines"))
    with world.engine.begin() as connection:
        metric = connection.execute(sa.text("SELECT id FROM metrics WHERE name = 'job_log_first_lines'")).scalar_one()
        mine = pages.c.metric_id == metric, pages.c.window_ns > NOW - 50 * MINUTE_NS
        connection.execute(sa.update(pages).where(*mine).values(data=b"damaged"))
    before = counted("damaged")
    assert not world.rounds().tick(NOW)
    assert [world.reasons(job) for job in ("j1", "j2", "no-lines")] == [{1: "gpu_oom"}, {}, {1: None}]
    assert counted("damaged") == before + 1


def test_a_row_that_cannot_be_read_is_told_and_costs_the_others_nothing(
    quick_gpu_world: GpuWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world = quick_gpu_world
    names = "j1", "nodes damaged", "waits damaged", "diagnosis damaged"
    world.take(row for job in names for row in lines(job, OUT_OF_MEMORY))
    world.report(attempt("j1"), attempt("nodes damaged", nodes=("n2",)), attempt("diagnosis damaged", nodes=("n3",)))
    damage = (
        "UPDATE gpu_attempts SET nodes = '[\"n2' WHERE job = 'nodes damaged'",
        "UPDATE gpu_progress SET body = '{\"job' WHERE body LIKE '%waits damaged%'",
        "UPDATE gpu_failures SET diagnosis = '[1, ' WHERE job = 'diagnosis damaged'",
        "UPDATE gpu_nodes SET body = 'null' WHERE node = 'n1'",
    )
    before = counted("damaged")
    rounds = world.rounds()
    with world.engine.begin() as connection:
        connection.execute(sa.text(damage[0]))
    assert rounds.tick(NOW - 50 * MINUTE_NS), "nobody reports the third, whose log is not quiet yet"
    assert [world.reasons(job) for job in names] == [{1: "gpu_oom"}, {1: "gpu_oom"}, {}, {1: "gpu_oom"}]
    with world.engine.begin() as connection:
        assert [connection.execute(sa.text(one)).rowcount for one in damage[1:]] == [1, 1, 1]
    world.report(attempt("diagnosis damaged", nodes=("n3",), exit_code=1))
    assert rounds.tick(NOW)
    assert rounds.tick(NOW + HOUR_NS)
    assert [world.reasons(job) for job in names] == [{1: "gpu_oom"}] * 4
    (anew,) = world.failures("diagnosis damaged")
    assert json.loads(anew.diagnosis)["reason"] == "gpu_oom"
    assert not [row for row in world.table("gpu_progress") if row[0] == "gpu jobs waiting"]
    assert {row[0] for row in world.table("gpu_nodes")} == {"n1", "n3"}
    told = [record.message for record in caplog.records if "is damaged" in record.message]
    assert counted("damaged") == before + len(told)
    for what in ("attempt 1 of 'nodes damaged'", "job that waits, ", "failure ", "node 'n1'"):
        assert any(f"row={what}" in one for one in told), what
    world.report(attempt("nodes damaged", nodes=("n4",)))
    assert rounds.tick(NOW + 2 * HOUR_NS)
    assert {row[0] for row in world.table("gpu_nodes")} == {"n1", "n3", "n4"}, "another report sets it right"


def test_a_part_of_a_round_that_fails_keeps_the_others_from_nothing(
    quick_gpu_world: GpuWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = quick_gpu_world
    world.report(attempt("j1"), attempt("j2", nodes=("n2",)))

    def fails(*_: Any) -> int:
        raise ZeroDivisionError("of our making")

    monkeypatch.setattr("collector.jobs.gpu_jobs.learn", fails)
    rounds = world.rounds()
    assert not rounds.tick(NOW)
    assert {row[0] for row in world.table("gpu_nodes")} == {"n1", "n2"}
    assert rounds.lag_s() < 3600, "behind since there was something to do"


def test_without_the_libraries_nothing_is_looked_into_and_the_lease_is_left_to_others(
    quick_gpu_world: GpuWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = quick_gpu_world
    world.report(attempt("j1"))
    poor, rich = world.rounds("poor"), world.rounds("rich")
    monkeypatch.setattr(gpu_rules, "LIBRARIES", ("re2", "no_such_library"))
    before = counted("library")
    wakes = iter([False, False, False, True])

    class Stop:
        def wait(self, _: float) -> bool:
            return next(wakes)

    poor.run(Stop())  # type: ignore[arg-type]
    assert counted("library") == before + 2, "the first wake finds out that there is something to do"
    told = [record.message for record in caplog.records if "no_such_library" in record.message]
    assert len(told) == 1
    assert "tailwatch[collector]" in told[0]
    assert world.failures("j1") == []
    assert world.table("gpu_progress", "value", "updated_ns") == [("gpu due", 0, None)], "the lag tells of it"
    monkeypatch.undo()
    assert rich.tick(NOW)
    assert [row.number for row in world.failures("j1")] == [1]


def test_a_query_that_cannot_be_read_is_told_once_and_reports_go_on(
    quick_gpu_world: GpuWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world = quick_gpu_world
    nameless = LOG_SQL.replace("SELECT job, ", "SELECT ").replace("'10' SECOND), job, ", "'10' SECOND), ")
    with world.engine.begin() as connection:
        for table in ("metrics", "validity", "versions"):
            known = "SELECT id FROM queries WHERE name = 'job_logs'"
            connection.execute(sa.text(f"DELETE FROM {table} WHERE query_id IN ({known})"))
        register_queries(connection, [compile_query("job_logs", nameless, {"job_logs": LINES}, {})], 0)
    world.report(attempt("j1"))
    rounds = world.rounds()
    with caplog.at_level(logging.WARNING):
        rounds.tick(NOW)
        rounds.tick(NOW + S_NS)
    assert [row.status for row in world.failures("j1")] == ["abstained"]
    assert len([record for record in caplog.records if "want a label job" in record.message]) == 1


def test_rules_of_a_site_that_cannot_be_used_leave_the_shipped_ones(
    quick_gpu_world: GpuWorld, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = quick_gpu_world
    path = tmp_path / "rules.yaml"
    path.write_text("signatures: [{id: x}]")
    world.take([*lines("j1", OUT_OF_MEMORY), *lines("j2", ("Error: the flux capacitor is empty",))])
    world.report(attempt("j1"), attempt("j2"))
    rounds = world.rounds(rules_path=str(path))
    before = counted("rules")
    assert rounds.tick(NOW)
    assert counted("rules") == before + 1
    assert str(path) in caplog.text
    assert [world.reasons(job)[1] for job in ("j1", "j2")] == ["gpu_oom", None]
    path.write_text(
        "signatures:\n"
        "  - {id: flux, reason: host_hw, role: root, pattern: 'flux capacitor is empty', weight: 95,\n"
        "     examples: ['Error: the flux capacitor is empty']}\n"
    )
    world.report(attempt("j2", exit_code=3))
    assert rounds.tick(NOW + S_NS)
    assert counted("rules") == before + 1
    (found,) = world.failures("j2")
    assert (found.reason, found.revision) == ("host_hw", 2)


def test_a_job_whose_name_is_too_long_is_left_out_and_said(
    quick_gpu_world: GpuWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world = quick_gpu_world
    world.take([*lines("x" * 300, OUT_OF_MEMORY), *lines("j1", OUT_OF_MEMORY)])
    before = counted("data")
    assert world.rounds().tick(NOW)
    assert world.reasons("j1") == {1: "gpu_oom"}
    assert len(world.table("gpu_failures")) == 1
    assert counted("data") > before
    assert "of 300 characters" in caplog.text


def test_a_job_that_fails_from_its_first_round_on_is_behind_in_every_collector(
    quick_gpu_world: GpuWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = quick_gpu_world
    world.report(attempt("j1"))
    working, idle = world.rounds("a"), world.rounds("b", enabled=False)

    def fails(*_: Any) -> None:
        raise sa.exc.OperationalError("SELECT", {}, Exception("no answer"))

    monkeypatch.setattr(working._logs, "take_in", fails)
    assert not working.tick(NOW)
    assert not working.tick(NOW + 5 * HOUR_NS)
    assert idle.look(NOW + 5 * HOUR_NS)
    for one in (working, idle):
        assert 5 * 3600 <= one.lag_s() < 5.5 * 3600
    monkeypatch.undo()
    assert working.tick(NOW + 5 * HOUR_NS)
    assert working.lag_s() < 3600
