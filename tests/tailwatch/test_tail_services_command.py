"""`tailwatch tail services` against a stand-in API that answers as the API does."""

import json
from typing import Any

import pytest

from analytics.tail.comparison import Figure
from analytics.tail.forecast_documents import forecast_document
from analytics.tail.forecast_gates import Gate
from analytics.tail.policies import Sequential
from analytics.tail.what_if import Forecast, Latencies
from tailwatch import tail_runs
from tailwatch.cli import main
from tests.tailwatch.stand_in import StandIn

HERE = "/api/v1/services/web%2Fsearch"
NAME = "web/search"
TPC = {"kind": "tpc", "table": {"metric": "threads_and_queue", "width": 4.0, "targets_ms": [40.0, 80.0], "full": True}}
SETTINGS: dict[str, Any] = {
    "percentile": 0.99, "target_ms": 80.0, "fan_out": 1, "window_days": 28, "threads": 12, "workers": None,
    "max_degree": 6, "class_edges_ms": None, "policy": {"kind": "predictive", "degree": 3, "long_ms": 80.0},
    "explore_share": 0.01,
}  # fmt: skip
OBJECTIVE = {"service": NAME, **SETTINGS, "version": 3, "changed": "2026-11-22T07:00:00Z", "changed_by": "ana"}
TABLE: dict[str, Any] = {
    "version": 2, "state": "draft", "created": "2026-11-22T07:00:00.5Z", "policy": TPC, "note": "",
    "evidence": {"gain_p99_pct": {"value": 18.4, "low": 12.0, "high": 24.0}},
}  # fmt: skip
FIGURE = Figure(90.0, 85.0, 95.0)
TOLD = Latencies(Figure(12.0, None, None), {0.99: FIGURE})
HOLDS = Gate("calibration", True, 0.01, 0.1, "within 1 %")
FORECAST = Forecast(True, (), (HOLDS,), TOLD, TOLD, TOLD, Figure(18.4, 12.0, 24.0), Figure(-1.0, -2.0, 0.0), (), 40_000)
RUN: dict[str, Any] = {
    "id": "r1", "service": NAME, "kind": "what_if", "state": "done", "progress": 1.0, "progress_text": "",
    "error": None, "request": {"candidate": {"kind": "fixed", "degree": 2}, "fan_out": 1}, "href": f"{HERE}/runs/r1",
    "notes": [], "answer": forecast_document(FORECAST, Sequential()),
}  # fmt: skip


def said(api: StandIn, capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main(["tail", "services", *words, "--url", api.url]) == code
    return capsys.readouterr().out


def test_services_are_listed_page_by_page(api: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    one = {"service": NAME, "synthetic": False, "percentile": 0.99, "target_ms": 80.0, "latest": "2026-11-22T07:00:10Z"}
    other = {**one, "service": "demo", "synthetic": True, "target_ms": None, "latest": None}
    api.put("/api/v1/services", {"services": [one, other], "next_cursor": None})
    assert said(api, capsys).splitlines() == [
        "service           promise           newest request",
        "web/search        p99 within 80 ms  2026-11-22T07:00:10Z",
        "demo (synthetic)  none              -",
    ]
    assert json.loads(said(api, capsys, "--output", "json")) == {"services": [one, other]}
    api.put("/api/v1/services", {"services": [], "next_cursor": None})
    assert "docs/how-to/tail-latency.md" in said(api, capsys)


def test_an_objective_is_shown_and_what_is_given_is_set_in_place_of_the_version_that_was_seen(
    api: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    api.put(f"{HERE}/objective", OBJECTIVE)
    shown = said(api, capsys, "objective", NAME)
    assert "p99 within 80 ms, over 28 days" in shown
    assert "predictive d=3 from 80 ms" in shown
    assert api.replaced == []
    said(api, capsys, "objective", NAME, "--target-ms", "60", "--class-edges", "30,80", "--policy", "adaptive")
    changed = {"target_ms": 60.0, "class_edges_ms": [30.0, 80.0], "policy": {"kind": "adaptive"}}
    assert api.replaced == [(f"{HERE}/objective", '"3"', SETTINGS | changed)]


def test_the_first_word_on_a_service_makes_it_and_a_look_at_an_unknown_one_does_not(
    api: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    api.put(f"{HERE}/objective", {"detail": "nobody has heard of it", "status": 404}, 404)
    assert main(["tail", "services", "objective", NAME, "--url", api.url]) == 1
    assert "nobody has heard of it" in capsys.readouterr().err
    assert main(["tail", "services", "objective", NAME, "--threads", "4", "--url", api.url]) == 1
    assert api.replaced == [(f"{HERE}/objective", '"0"', {"threads": 4})]


def test_alerts_that_fire_are_told_with_their_cause(api: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    alert = {
        "service": NAME, "name": "tail_burn", "severity": "page", "firing": True, "since": "2026-11-22T07:00:10.5Z",
        "cause": "queueing", "text": "20 times as many slow requests",
    }  # fmt: skip
    for path in ("/api/v1/alerts/services", f"{HERE}/alerts"):
        api.put(path, {"alerts": [alert], "next_cursor": None})
    assert "tail_burn  page  2026-11-22T07:00:10Z  queueing  20 times as many" in said(api, capsys, "alerts")
    said(api, capsys, "alerts", NAME, "--all")
    assert api.asked[-2:] == [("/api/v1/alerts/services", [("firing", "true")]), (f"{HERE}/alerts", [])]
    api.put("/api/v1/alerts/services", {"alerts": [], "next_cursor": None})
    assert said(api, capsys, "alerts") == "nothing fires\n"


def test_what_alerts_did_is_told_the_newest_first(api: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    began = {
        "id": 3, "name": "tail_burn", "severity": "page", "firing": True, "changed": "2026-11-22T07:00:10.5Z",
        "cause": "queueing", "text": "20 times as many slow requests",
    }  # fmt: skip
    ended = {**began, "id": 4, "firing": False, "changed": "2026-11-22T08:00:00Z", "cause": None, "text": "kept again"}
    api.put(f"{HERE}/alerts/history", {"changes": [ended, began], "next_cursor": None})
    assert [line.split(maxsplit=4) for line in said(api, capsys, "alert-history", NAME).splitlines()[1:]] == [
        ["2026-11-22T08:00:00Z", "tail_burn", "ended", "-", "kept again"],
        ["2026-11-22T07:00:10Z", "tail_burn", "page", "queueing", "20 times as many slow requests"],
    ]
    assert api.asked[-1] == (f"{HERE}/alerts/history", [("start", "-7d"), ("end", "now")])
    api.put(f"{HERE}/alerts/history", {"changes": [], "next_cursor": None})
    assert said(api, capsys, "alert-history", NAME, "--start", "-1h").startswith("no alert began")


def test_runs_are_listed_and_one_that_nobody_wants_any_more_is_cancelled(
    api: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {"asked": "2026-11-22T07:00:10.5Z", "asked_by": "ana"}
    running = {**RUN, **told, "state": "running", "progress": 0.4, "progress_text": "replaying"}
    failed = {**RUN, **told, "id": "r0", "state": "failed", "error": "too few"}
    api.put(f"{HERE}/runs", {"runs": [running, failed], "next_cursor": None})
    assert [line.split() for line in said(api, capsys, "runs", NAME).splitlines()[1:]] == [
        ["r1", "what-if", "running,", "40%", "2026-11-22T07:00:10Z", "ana", "replaying"],
        ["r0", "what-if", "failed", "2026-11-22T07:00:10Z", "ana", "too", "few"],
    ]
    api.put(f"{HERE}/runs/r1", {**running, "state": "cancelled", "progress_text": ""})
    assert said(api, capsys, "cancel", NAME, "r1") == f"run r1 of {NAME} is cancelled\n"
    assert api.deleted == [(f"{HERE}/runs/r1", [])]
    api.put(f"{HERE}/runs/r0", {"detail": "run r0 is failed already; there is nothing to cancel", "status": 409}, 409)
    assert main(["tail", "services", "cancel", NAME, "r0", "--url", api.url]) == 1
    assert "nothing to cancel" in capsys.readouterr().err
    api.put(f"{HERE}/runs", {"runs": [], "next_cursor": None})
    assert said(api, capsys, "runs", NAME) == "nothing was asked yet\n"


def test_a_question_is_asked_waited_for_and_its_forecast_printed(
    api: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    api.put(f"{HERE}/what-if", {**RUN, "state": "waiting", "answer": None, "new": True})
    api.put(f"{HERE}/runs/r1", RUN)
    shown = said(api, capsys, "what-if", NAME, "--candidate", "fixed:2", "--load-multiplier", "1.2", "--start", "-1d")
    assert "now: sequential\ncandidate: fixed d=2\n" in shown
    assert "p99 shorter by 18.4 % (12.0 to 24.0)" in shown
    assert "\nmean shorter by 1.0 % (0.0 to 2.0)" in shown, "a mean that falls is no longer one"
    question = {"start": "-1d", "end": "now", "candidate": {"kind": "fixed", "degree": 2}, "load_multiplier": 1.2}
    assert api.posted == [(f"{HERE}/what-if", question)]
    refused = Forecast(False, ("too few",), (Gate("requests", False, 3.0, 100.0, "too few"),))
    answer = forecast_document(refused, None)
    api.put(f"{HERE}/runs/r1", {**RUN, "state": "refused", "answer": answer, "error": "too few"})
    shown = said(api, capsys, "what-if", NAME, "--table", "2", code=1)
    assert "now: degrees as recorded\n" in shown
    assert "no forecast:\n- too few" in shown
    failed = {**RUN, "state": "failed", "answer": None, "error": "the collector died"}
    api.put(f"{HERE}/runs/r1", failed)
    assert said(api, capsys, "what-if", NAME, "--table", "2", code=1) == "failed: the collector died\n"
    waiting = said(api, capsys, "what-if", NAME, "--table", "2", "--no-wait")
    assert waiting == f"run r1 is waiting; GET {HERE}/runs/r1 says how far it is\n"


def test_searches_and_learnings_say_what_was_kept(api: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    api.put(f"{HERE}/target-tables/search", {**RUN, "state": "waiting"})
    api.put(f"{HERE}/speedup-profile/learn", {**RUN, "state": "waiting"})
    found = {"table": TPC, "table_version": 2, "forecast": forecast_document(FORECAST, Sequential())}
    api.put(f"{HERE}/runs/r1", {**RUN, "kind": "search", "answer": found, "notes": ["synthetic"]})
    shown = said(api, capsys, "search", NAME, "--note", "x")
    assert shown.startswith("note: synthetic\nnow: sequential\ncandidate: tpc, ")
    assert "candidate: tpc, targets by threads_and_queue in steps of 4: 40, 80 ms; a correction gives the la" in shown
    assert "\nkept as table 2, a draft: " in shown
    api.put(f"{HERE}/runs/r1", {**RUN, "kind": "learn", "answer": {"profile_version": 4, "requests": 40_000}})
    assert said(api, capsys, "learn", NAME) == "speed-ups 4 are learned from 40,000 requests\n"


def test_a_run_is_looked_at_until_it_has_ended(api: StandIn) -> None:
    api.put("/run", {**RUN, "state": "running"})
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            api.put("/run", RUN)

    assert tail_runs.ended_run(api.url, "/run", wait)["state"] == "done"
    assert (len(waited), len(api.asked)) == (3, 4)


def test_tables_are_listed_put_in_use_in_place_of_the_one_seen_and_taken_back(
    api: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    api.put(f"{HERE}/target-tables", {"active": 1, "tables": [TABLE], "next_cursor": None})
    assert "2  draft  2026-11-22T07:00:00Z          18.4 %  tpc, targets by" in said(api, capsys, "tables", NAME)
    api.put(f"{HERE}/target-tables/2/activate", {**TABLE, "state": "active"})
    assert said(api, capsys, "activate", NAME, "2", "--note", "x") == f"table 2 of {NAME} is in use instead of 1\n"
    assert api.posted == [(f"{HERE}/target-tables/2/activate", {"note": "x", "expected_active": 1})]
    api.put(f"{HERE}/target-tables/1/roll-back", {"rolled_back": 1, "active": None})
    assert said(api, capsys, "roll-back", NAME) == f"table 1 of {NAME} is taken back; none is in use now\n"
    api.put(f"{HERE}/target-tables", {"active": None, "tables": [], "next_cursor": None})
    assert "`tailwatch tail services search SERVICE` looks for one" in said(api, capsys, "tables", NAME)
    assert main(["tail", "services", "roll-back", NAME, "--url", api.url]) == 1
    assert "there is nothing to take back" in capsys.readouterr().err
