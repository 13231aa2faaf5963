"""Asking the API for plans: what is kept, what is fetched, what fails and what never fails the agent."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import polars as pl
import pytest
import trustme

from agents.config import AgentConfig
from agents.plan_client import PlanClient
from agents.plan_folder import KeptPlan, PlanFolder
from agents.planned import OwnQueries
from agents.planner import Planner
from pipeline.agent_plan import AgentPlan, encode_agent_plan
from pipeline.chain import Chain
from pipeline.plan import Plan
from pipeline.schema import stream_schema
from pipeline.tables import StaticTable
from tests.agents.live import until
from tests.agents.plan_api import PlanApi, plan_api
from tests.fleet import HOSTS, SCHEMA, probe_plan
from tests.promptness import promptly

PLAN = probe_plan()
OTHER = probe_plan("SELECT count(*) AS n FROM probes GROUP BY TUMBLE(ts, INTERVAL '10' SECOND)", "other")
OWN = OwnQueries([Chain(OTHER, {})], {}, {"probes": stream_schema(SCHEMA)})
GONE = "http://127.0.0.1:9"


@pytest.fixture
def api() -> Iterator[PlanApi]:
    with plan_api() as made:
        made.upload(HOSTS)
        yield made


def planner(folder: Path, url: str, **changes: object) -> Planner:
    values: dict[str, object] = {
        "id": "a/b",
        "spool_path": str(folder / "spool.db"),
        "plan_url": url,
        "plan_poll_s": 0.1,
    }
    return Planner(AgentConfig(**(values | changes)), OWN)  # type: ignore[arg-type]


def names(wanted: Planner) -> list[str]:
    return [one.chain.plan.query for one in wanted.choice.wanted]


def test_the_first_start_waits_for_the_answer_and_later_ones_need_none(tmp_path: Path, api: PlanApi) -> None:
    api.say(PLAN)
    first = planner(tmp_path, api.url)
    assert [one.chain.plan.query for one in first.start().wanted] == ["probes", "other"]
    first.close()
    assert api.asked[0][0] == "/api/v1/agents/a%2Fb/plan"
    again = planner(tmp_path, GONE)
    assert [one.chain.plan.query for one in again.start().wanted] == ["probes", "other"]
    assert until(lambda: again.failures["unreachable"])
    assert "plan: none from the API for" in again.notes
    assert "going on with the last plan" in again.notes
    again.close()
    assert names(again) == ["probes", "other"]


def test_without_an_answer_the_files_queries_run_until_there_is_one(tmp_path: Path, api: PlanApi) -> None:
    api.status = 503
    api.say(PLAN, retired=("other",))
    one = planner(tmp_path, api.url)
    assert [w.chain.plan.query for w in one.start().wanted] == ["other"]
    assert "going on with the queries of the file; no plan has come yet" in one.notes
    assert one.news() is None
    api.status = 200
    assert until(lambda: names(one) == ["probes"])
    news = one.news()
    assert news is not None
    assert [w.chain.plan.query for w in news.wanted] == ["probes"]
    assert one.failures["refused"] >= 1
    assert until(lambda: one.notes == "")
    one.close()


def test_an_api_that_has_forgotten_queries_it_never_retired_is_told_of(
    tmp_path: Path, api: PlanApi, caplog: pytest.LogCaptureFixture
) -> None:
    api.say(PLAN)
    one = planner(tmp_path, api.url)
    one.start()
    api.say(retired=(PLAN.query,))
    assert until(lambda: names(one) == ["other"])
    assert "has its database been changed" not in caplog.text
    api.say(PLAN)
    assert until(lambda: names(one) == ["probes", "other"])
    one.close()
    api.say()
    again = planner(tmp_path, api.url)
    again.start()
    assert until(lambda: names(again) == ["other"])
    assert f"has its database been changed? queries={PLAN.query}" in caplog.text, "also when it happened in between"
    again.close()


def test_an_unchanged_plan_is_asked_for_by_its_tag_and_is_no_news(tmp_path: Path, api: PlanApi) -> None:
    api.say(PLAN)
    one = planner(tmp_path, api.url)
    one.start()
    assert until(lambda: api.answered.count(304) >= 2)
    assert one.news() is None
    one.close()
    count = len(api.asked)
    again = planner(tmp_path, api.url)
    again.start()
    assert until(lambda: len(api.asked) > count)
    again.close()
    assert until(lambda: len(api.answered) == len(api.asked))
    assert api.answered[count] == 304, "a restart knows the tag"


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"format": 9}', b'{"format": 1, "queries": [{"query": "x"}]}'])
def test_an_answer_that_is_no_plan_changes_nothing(tmp_path: Path, api: PlanApi, body: bytes) -> None:
    api.say(PLAN)
    one = planner(tmp_path, api.url)
    one.start()
    api.body = body
    assert until(lambda: one.failures["not_a_plan"])
    assert names(one) == ["probes", "other"]
    one.close()
    again = planner(tmp_path, GONE)
    again.start()
    assert names(again) == ["probes", "other"], "what is kept is the last good one"
    again.close()


@pytest.mark.parametrize("kept", [b"", b"\xff", b"\x93\xc4\x02{}\xa0\x80"])
def test_a_kept_plan_that_cannot_be_read_counts_as_not_there(tmp_path: Path, api: PlanApi, kept: bytes) -> None:
    api.say(PLAN)
    (tmp_path / "spool.plan").mkdir()
    (tmp_path / "spool.plan" / "plan").write_bytes(kept)
    one = planner(tmp_path, api.url)
    one.start()
    one.close()
    assert names(one) == ["probes", "other"]


def test_a_folder_that_cannot_be_written_costs_only_the_next_start(tmp_path: Path, api: PlanApi) -> None:
    (tmp_path / "spool.plan").write_text("in the way")
    api.say(PLAN)
    one = planner(tmp_path, api.url)
    one.start()
    one.close()
    assert names(one) == ["probes", "other"]


@pytest.mark.parametrize("data", [b"", b"rows", None])
def test_a_table_with_another_content_than_its_hash_is_not_used(
    tmp_path: Path, api: PlanApi, data: bytes | None
) -> None:
    other = StaticTable("hosts", pl.DataFrame({"ip": ["a"], "tor": ["t9"]}))
    api._tables[api.url_of("hosts", HOSTS.content_hash)] = b"" if data is None else data
    if data is None:
        api.upload(other)
        api._tables[api.url_of("hosts", HOSTS.content_hash)] = api._tables[api.url_of("hosts", other.content_hash)]
    api.say(PLAN)
    one = planner(tmp_path, api.url)
    one.start()
    one.close()
    assert names(one) == ["other"]
    assert "refused probes" in one.notes
    assert not list((tmp_path / "spool.plan").glob("table-*"))


def test_a_table_that_is_not_there_yet_is_asked_for_until_it_is(tmp_path: Path, api: PlanApi) -> None:
    api._tables.clear()
    api.say(PLAN)
    one = planner(tmp_path, api.url)
    one.start()
    assert names(one) == ["other"]
    api.upload(HOSTS)
    assert until(lambda: names(one) == ["probes", "other"])
    one.close()


def test_tables_are_kept_by_content_and_removed_when_nothing_joins_them(tmp_path: Path, api: PlanApi) -> None:
    api.say(PLAN)
    one = planner(tmp_path, api.url)
    one.start()
    (kept,) = (tmp_path / "spool.plan").glob("table-*")
    assert kept.name == f"table-hosts-{HOSTS.content_hash}"
    api.say()
    assert until(lambda: not kept.exists())
    one.close()


def test_the_key_is_shown_and_its_file_is_read_every_time(tmp_path: Path, api: PlanApi) -> None:
    key = tmp_path / "key"
    key.write_text("first\n")
    one = planner(tmp_path, api.url, api_key_path=str(key))
    one.start()
    assert api.asked[0][1]["Authorization"] == "Bearer first"
    key.write_text("second\n")
    assert until(lambda: api.asked[-1][1]["Authorization"] == "Bearer second")
    key.unlink()
    assert until(lambda: one.failures["unreachable"])
    assert f"agent.api_key_path {key} cannot be read: No such file" in one.notes
    one.close()
    direct = planner(tmp_path, api.url, api_key="plain")
    direct._poll()
    assert api.asked[-1][1]["Authorization"] == "Bearer plain"


def test_another_reason_for_no_plan_is_told_too_and_each_only_once(
    tmp_path: Path, api: PlanApi, caplog: pytest.LogCaptureFixture
) -> None:
    one = planner(tmp_path, GONE)
    for _ in range(3):
        one._try_to_poll()
    one._client = PlanClient(AgentConfig(plan_url=api.url))
    api.status = 401
    api.error = b'{"title": "An API key is needed", "status": 401, "detail": "this one is revoked"}'
    for _ in range(3):
        one._try_to_poll()
    told = [record.getMessage() for record in caplog.records]
    assert [GONE in line for line in told] == [True, False]
    assert told[1].endswith("answers with status 401: An API key is needed: this one is revoked")
    assert "An API key is needed: this one is revoked" in one.notes
    api.error = b"<html>\xff"
    one._try_to_poll()
    assert "answers with status 401: <html>" in one.notes


def test_a_redirect_is_not_followed_for_it_would_take_the_key_along(tmp_path: Path, api: PlanApi) -> None:
    api.status = 302
    one = planner(tmp_path, api.url, api_key="secret")
    one.start()
    one.close()
    assert one.failures["refused"] >= 1
    assert {path for path, _ in api.asked} == {"/api/v1/agents/a%2Fb/plan"}


def test_over_tls_only_a_certificate_that_is_trusted_for_the_address_will_do(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    for issued_for, works in (("127.0.0.1", True), ("10.9.8.7", False)):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(issued_for).configure_cert(context)
        with plan_api(context) as api:
            api.say(retired=("other",))
            one = planner(tmp_path / issued_for, api.url, plan_ca_path=str(tmp_path / "ca.pem"))
            one.start()
            one.close()
            assert (names(one) == []) is works
            assert (one.failures["unreachable"] == 0) is works


def test_a_change_reaches_the_agent_as_news_with_the_stretches_of_both_versions(tmp_path: Path, api: PlanApi) -> None:
    changed = probe_plan(
        "SELECT src, count(*) AS n FROM probes GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), src", "other"
    )
    one = planner(tmp_path, api.url)
    one.start()
    api.say(OTHER, changed, spans={OTHER.version: (None, 70), changed.version: (70, None)})
    found: list[Plan] = []
    assert until(lambda: (news := one.news()) is not None and found.extend(w.chain.plan for w in news.wanted) is None)
    assert [plan.version for plan in found] == [OTHER.version, changed.version]
    assert [one.spans[0] for one in one.choice.wanted] == [(-(2**63), 70), (70, 2**63 - 1)]
    one.close()


@contextmanager
def dripping() -> Iterator[str]:
    """The address of a server that answers one byte at a time, for ever."""
    ended = threading.Event()

    def answer(listening: socket.socket) -> None:
        while not ended.is_set():
            with suppress(OSError):
                asked, _ = listening.accept()
                with asked:
                    asked.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                    while not ended.wait(0.02):
                        asked.sendall(b" ")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)
        thread = threading.Thread(target=answer, args=(listening,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        ended.set()
        thread.join()


def test_an_answer_that_drips_keeps_neither_the_start_nor_the_asking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.planner.FIRST_ANSWER_S", 0.1)
    monkeypatch.setattr("agents.plan_client.WITHIN_S", 0.5)
    with dripping() as url:
        one = planner(tmp_path, url)
        with promptly(0.5):  # before the answer is given up
            assert [w.chain.plan.query for w in one.start().wanted] == ["other"]
        assert until(lambda: one.failures["unreachable"] >= 2), "it is asked again"
        one.close()


def test_a_first_answer_that_comes_after_the_start_is_news(
    tmp_path: Path, api: PlanApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.planner.FIRST_ANSWER_S", 0.0)
    api.say(PLAN)
    one = planner(tmp_path, api.url)
    first = [w.chain.plan.query for w in one.start().wanted]
    assert first == ["probes", "other"] or until(lambda: one.news() is not None)
    one.close()
    assert names(one) == ["probes", "other"]


def test_a_kept_tag_that_no_header_can_hold_is_not_shown(tmp_path: Path, api: PlanApi) -> None:
    api.say(PLAN)
    PlanFolder(tmp_path / "spool.plan").keep(KeptPlan(encode_agent_plan(AgentPlan(format=1)), "a\nb"))
    one = planner(tmp_path, api.url)
    one.start()
    assert until(lambda: names(one) == ["probes", "other"])
    one.close()
    assert not one.failures


def test_a_key_of_two_lines_is_refused_without_being_shown(
    tmp_path: Path, api: PlanApi, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "key").write_text("# the key\nsecret\n")
    one = planner(tmp_path, api.url, api_key_path=str(tmp_path / "key"))
    one.start()
    one.close()
    assert one.failures["unreachable"]
    assert "want one line" in caplog.text
    assert "secret" not in caplog.text
    assert api.asked == []
