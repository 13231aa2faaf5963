"""Questions that take too long, are too large, too many at a time, or that nobody waits for any more."""

import threading
import time
from collections.abc import Iterator

import pytest

from api import reads
from api.config import ApiConfig
from api.running import Run
from store import page_reads, windows
from store.rows import Row
from tests.api.endless_statement import EndlessStatement
from tests.api.world import BEGIN_NS, END_NS, SECOND_NS, asking

QUESTION = {"path": "/api/v1/quantiles", "metric": "probe_rtt_us"}


class Endless:
    """Pages whose reading never ends by itself."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self._statement = EndlessStatement()
        self.begun = self._statement.begun

    def pages(self, connection) -> Iterator[list[Row]]:
        try:
            self._statement.run(connection)
            yield []
        finally:
            self.ended.set()


@pytest.fixture
def endless(monkeypatch):
    """What is read. However late its thread is, a question is ended only while it reads, not before."""
    made = Endless()

    def end_while_it_reads(run, reason):
        assert made.begun.wait(30)
        end(run, reason)

    end = Run.end
    monkeypatch.setattr(Run, "end", end_while_it_reads)
    monkeypatch.setattr(page_reads.PageRange, "pages", lambda _, connection: made.pages(connection))
    return made


def test_a_question_that_takes_too_long_is_ended_and_a_503_that_says_so(world, endless):
    with asking(world.url, ApiConfig(question_timeout_s=0.2)) as client:
        response = client.over_the_minute(**QUESTION)
        assert response.status_code == 503
        assert response.json()["type"] == "urn:tailwatch:problem:question-timeout"
        assert "within 0.2 s" in response.json()["detail"]
        assert response.headers["retry-after"] == "1"
        assert endless.ended.wait(30)
        assert _ended(client, "time") == 1


def test_time_also_ends_what_is_busy_outside_of_the_database(world, monkeypatch):
    def slow(pages):
        time.sleep(0.15)
        return read(pages)

    read = windows.read_pages
    monkeypatch.setattr(windows, "read_pages", slow)
    monkeypatch.setattr(page_reads, "PAGES_AT_ONCE", 1)
    with asking(world.url, ApiConfig(question_timeout_s=0.2)) as client:
        assert client.over_the_minute(**QUESTION).json()["type"] == "urn:tailwatch:problem:question-timeout"


def test_a_question_ends_when_its_client_goes(world, endless):
    asked = f"metric=probe_rtt_us&start={BEGIN_NS // SECOND_NS}&end={END_NS // SECOND_NS}"
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": "/api/v1/quantiles", "raw_path": b"/api/v1/quantiles", "query_string": asked.encode(),
        "root_path": "", "headers": [], "client": ("127.0.0.1", 1), "server": ("api", 80),
    }  # fmt: skip
    sent = []

    async def ask():
        import anyio

        async def receive():
            while not endless.begun.is_set():
                await anyio.sleep(0.01)
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        await client.app(dict(scope), receive, send)

    with asking(world.url) as client:
        client.portal.call(ask)
        assert endless.ended.wait(30)
        assert _ended(client, "client_gone") == 1
        assert sent[0]["status"] == 503  # nobody reads it


def test_the_connection_of_an_ended_question_answers_the_next_one(world, endless, monkeypatch):
    with asking(world.url, ApiConfig(question_timeout_s=0.1)) as client:
        assert client.over_the_minute(**QUESTION).status_code == 503
        monkeypatch.undo()
        client.app.state.service.reads.timeout_s = 30
        assert client.over_the_minute(**QUESTION).json()["groups"][0]["count"] == 6_000


def test_a_question_that_would_read_too_much_is_refused_with_the_estimate(world):
    with asking(world.url, ApiConfig(max_read_bytes=20_000)) as client:
        response = client.over_the_minute(**QUESTION)
        assert response.status_code == 400
        problem = response.json()
        assert problem["type"] == "urn:tailwatch:problem:limit-exceeded"
        assert problem["limit"] == 20_000
        assert problem["estimate"]["pages"] == 12
        assert problem["estimate"]["bytes"] > 20_000
        assert "shorter range" in problem["detail"]
        assert _ended(client, "too_costly") == 1
        assert (
            client.get(**QUESTION, start=str(BEGIN_NS // SECOND_NS), end=str(BEGIN_NS // SECOND_NS + 10)).status_code
            == 200
        )


def test_few_large_questions_run_at_a_time_and_few_wait(world, monkeypatch):
    release, begun = threading.Event(), threading.Semaphore(0)
    pages = page_reads.PageRange.pages

    def waiting(self, connection):
        begun.release()
        assert release.wait(10)
        return pages(self, connection)

    monkeypatch.setattr(page_reads.PageRange, "pages", waiting)
    monkeypatch.setattr(reads, "HEAVY_BYTES", 1)
    statuses: list[int] = []
    with asking(world.url, ApiConfig(max_heavy_reads=1)) as client:

        def ask(second: int) -> None:
            start = BEGIN_NS // SECOND_NS + second
            statuses.append(client.get(**QUESTION, start=str(start), end=str(start + 10)).status_code)

        others = [threading.Thread(target=ask, args=(10 * place,)) for place in range(5)]
        others[0].start()
        assert begun.acquire(timeout=10)
        for other in others[1:]:
            other.start()
        while client.app.state.service.reads._waiting._value:
            time.sleep(0.005)
        refused = client.over_the_minute(**QUESTION)
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:tailwatch:problem:busy")
        assert refused.headers["retry-after"] == "5"
        assert not begun.acquire(blocking=False)  # only one was running
        release.set()
        for other in others:
            other.join()
        assert statuses == [200] * 5
        assert _ended(client, "busy") == 1


def _ended(client, reason: str) -> float:
    return client.app.state.service.metrics.questions_ended.labels(reason)._value.get()
