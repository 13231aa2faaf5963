"""A database that is locked, read-only, damaged, gone or of another schema: clear 503s, and reads where possible."""

import sqlite3
import threading

import pytest

from api.app import create_app
from api.config import ApiConfig
from api.database import Database
from api.errors import DatabaseUnavailableError
from api.own_metrics import OwnMetrics
from store.connect import open_engine, upgrade
from tests.api.endless_statement import EndlessStatement
from tests.api.world import asking, fill, probe_records
from tests.promptness import promptly

QUESTION = {"path": "/api/v1/quantiles", "metric": "probe_rtt_us"}
READING_ROUTES = ("/api/v1/metrics", "/api/v1/agents", "/api/v1/status", "/readyz")


@pytest.fixture
def world_of_its_own(tmp_path):
    return fill(tmp_path / "own.db", probe_records(n=600))


@pytest.fixture
def impatient(monkeypatch):
    """SQLite waits 5 s for a lock; the tests need not."""
    monkeypatch.setattr("store.connect._SQLITE_WAIT_S", 0.05)


def assert_unavailable(response, words):
    assert response.status_code == 503, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["retry-after"] == "1"
    assert response.json()["type"] == "urn:tailwatch:problem:database-unavailable"
    assert words in response.json()["detail"]


def test_a_locked_database_is_a_503_that_says_locked_and_recovers(world_of_its_own, impatient):
    with asking(world_of_its_own.url) as client:
        with sqlite3.connect(world_of_its_own.path, isolation_level=None) as blocker:
            blocker.execute("PRAGMA locking_mode = EXCLUSIVE")
            blocker.execute("BEGIN EXCLUSIVE")
            assert_unavailable(client.over_the_minute(**QUESTION), "locked")
            for path in READING_ROUTES[:-1]:
                assert_unavailable(client.get(path), "locked")
            assert client.get("/readyz").json()["checks"]["database"]["ok"] is False
            assert client.get("/healthz").status_code == 200
            blocker.execute("ROLLBACK")
        blocker.close()
        assert client.over_the_minute(**QUESTION).status_code == 200
        assert 'tailwatch_api_database_errors_total{reason="locked"} 5.0' in client.get("/metrics").text


def test_a_writer_at_work_does_not_stop_readers(world_of_its_own, impatient):
    with asking(world_of_its_own.url) as client:
        writer = sqlite3.connect(world_of_its_own.path, isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM pages")
        assert client.over_the_minute(**QUESTION).json()["groups"][0]["count"] == 600
        writer.execute("ROLLBACK")
        writer.close()


def test_a_full_disk_does_not_stop_reads(world_of_its_own):
    """No page may be added: any write fails as on a full disk, reads need none."""
    writer = sqlite3.connect(world_of_its_own.path, isolation_level=None)
    pages = writer.execute("PRAGMA page_count").fetchone()[0]
    writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        writer.execute("INSERT INTO dead_letters (topic, partition, offset, reason, received_ns, payload) "
                       "VALUES ('t', 0, 0, 'r', 0, zeroblob(10000000))")  # fmt: skip
    with asking(world_of_its_own.url) as client:
        assert client.over_the_minute(**QUESTION).status_code == 200
        assert client.get("/readyz").status_code == 200
    writer.close()


def test_the_api_itself_never_writes(world_of_its_own):
    with asking(world_of_its_own.url) as client:
        before = {path.name: path.read_bytes() for path in world_of_its_own.path.parent.glob("own.db")}
        client.over_the_minute(**QUESTION)
        for path in READING_ROUTES:
            client.get(path)
        after = {path.name: path.read_bytes() for path in world_of_its_own.path.parent.glob("own.db")}
    assert before == after


def test_a_database_opened_read_only_answers(world_of_its_own):
    with asking(f"sqlite:///file:{world_of_its_own.path}?mode=ro&uri=true") as client:
        assert client.over_the_minute(**QUESTION).json()["groups"][0]["count"] == 600
        assert client.get("/readyz").status_code == 200


def test_a_missing_folder_is_a_503_that_says_unreachable(tmp_path):
    with asking(f"sqlite:///{tmp_path / 'no' / 'such.db'}") as client:
        response = client.over_the_minute(**QUESTION)
        assert_unavailable(response, "database.url")
        assert str(tmp_path) not in response.text
        ready = client.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["checks"]["database"]["ok"] is False


def test_a_file_that_is_no_database_is_a_503_that_says_damaged(tmp_path):
    (tmp_path / "text.db").write_text("this is not a database" * 1000)
    with asking(f"sqlite:///{tmp_path / 'text.db'}") as client:
        assert_unavailable(client.over_the_minute(**QUESTION), "damaged or no database")


def test_a_database_without_tables_is_not_ready_and_says_what_to_run(tmp_path):
    with asking(f"sqlite:///{tmp_path / 'empty.db'}") as client:
        assert_unavailable(client.over_the_minute(**QUESTION), "tailwatch db upgrade")
        ready = client.get("/readyz")
        assert ready.status_code == 503
        problem = ready.json()
        assert problem["type"] == "urn:tailwatch:problem:not-ready"
        assert problem["checks"]["database"]["ok"] is True
        assert "tailwatch db upgrade" in problem["checks"]["schema"]["detail"]
        assert client.get("/healthz").status_code == 200


def test_it_becomes_ready_when_the_schema_arrives(tmp_path):
    url = f"sqlite:///{tmp_path / 'late.db'}"
    with asking(url) as client:
        assert client.get("/readyz").status_code == 503
        upgrade(url)
        assert client.get("/readyz").json()["status"] == "ready"


def test_a_schema_of_another_release_is_not_ready_and_shown_in_status(world_of_its_own):
    with sqlite3.connect(world_of_its_own.path) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    with asking(world_of_its_own.url) as client:
        assert "9999" in client.get("/readyz").json()["checks"]["schema"]["detail"]
        status = client.get("/api/v1/status")
    assert status.status_code == 200
    assert status.json()["database_schema"]["ok"] is False


def test_a_running_read_is_ended_by_interrupt(world_of_its_own):
    engine = open_engine(world_of_its_own.url, read_only=True)
    database = Database(engine, OwnMetrics())
    endless = EndlessStatement()

    def interrupt_it():
        assert endless.begun.wait(30)
        database.interrupt()

    helper = threading.Thread(target=interrupt_it)
    helper.start()
    with promptly(2), pytest.raises(DatabaseUnavailableError, match="stopping"), database.reading() as connection:
        endless.run(connection)
    helper.join()
    engine.dispose()


def test_connections_return_to_the_pool_after_errors(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path / 'empty.db'}", read_only=True)
    app = create_app(ApiConfig(), engine)
    database = app.state.service.database
    for _ in range(40):
        with pytest.raises(DatabaseUnavailableError), database.reading() as connection:
            connection.exec_driver_sql("SELECT * FROM nothing")
    assert engine.pool.checkedout() == 0
    engine.dispose()
