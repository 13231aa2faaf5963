"""The example's client library beside the real API: tables polled and taken back, batches that count once."""

import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import uvicorn

from api.app import create_app
from api.config import ApiConfig
from examples.parallel_service.degree_table import TablePoller
from examples.parallel_service.request_samples import RequestSample, SampleSender
from store.connect import open_engine
from store.tail_batches import read_columns
from tests.api.recorded_world import filled_services


@pytest.fixture
def database(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'tailwatch.db'}"
    filled_services(url)
    return url


@pytest.fixture
def api(database: str) -> Iterator[str]:
    engine = open_engine(database)
    server = uvicorn.Server(uvicorn.Config(create_app(ApiConfig(), engine), port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.01)
        assert thread.is_alive()
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()
    engine.dispose()


def post(url: str, **body: object) -> None:
    headers = {"Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=60).close()


def test_servers_follow_the_table_in_use_and_one_that_was_taken_back_is_used_no_more(api: str, tmp_path: Path) -> None:
    poller = TablePoller(api, "search", tmp_path / "table.json")
    assert poller.poll_once() == "new"
    assert poller.poll_once() == "unchanged"
    assert poller.table is not None
    assert (poller.table.version, poller.table.metric, poller.table.max_degree) == (1, "threads_and_queue", 3)
    tables = f"{api}/api/v1/services/search/target-tables"
    post(tables, policy={"kind": "tpc", "table": {"metric": "in_system", "width": 3, "targets_ms": [50, 80]}})
    post(f"{tables}/3/activate", expected_active=1)
    assert poller.poll_once() == "new"
    assert (poller.table.version, poller.table.metric) == (3, "in_system")
    for version, then in ((3, "new"), (1, "none")):
        post(f"{tables}/{version}/roll-back")
        assert poller.poll_once() == then
    assert poller.table is None
    assert TablePoller(api, "search", tmp_path / "table.json").table is None


def test_a_batch_whose_answer_was_lost_counts_once(api: str, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sender, now_ns = SampleSender(api, "pricing", "host-1", batch=100), time.time_ns()
    for number in range(150):
        sender.add(RequestSample(now_ns + number, 5.0, 900.0 + number, degree=1, degree_final=2, raised_us=3.0))
    really = sender._post

    def lost(batch: str, body: bytes) -> dict[str, object]:
        really(batch, body)
        raise ConnectionResetError

    monkeypatch.setattr(sender, "_post", lost)
    assert sender.send_once() == "later"
    monkeypatch.setattr(sender, "_post", really)
    sender.stop()
    assert (sender.accepted, sender.left_out, sender.dropped) == (150, 0, 0)
    engine = open_engine(database, read_only=True)
    with engine.begin() as connection:
        kept = read_columns(connection, "pricing", now_ns - 1, now_ns + 1_000, 1_000)
    engine.dispose()
    assert np.sort(kept.columns["service_us"]).tolist() == [900.0 + number for number in range(150)]
    assert set(kept.columns["degree_final"].tolist()) == {2}
