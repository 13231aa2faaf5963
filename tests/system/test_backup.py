"""Backups taken while collectors write, and restored: reading goes on where the copy was, and nothing counts twice.

The broker still holds what was committed after the copy. These are the commands of docs/operations.md.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from store.connect import open_engine
from tests.counterparts.choice import missing
from tests.counterparts.postgres import programs
from tests.fleet import probe_records, truth
from tests.system.stack import PLAN, Stack, kafka_transport, until
from tests.system.test_kafka import add_agents, all_stored
from tests.system.test_kill import PATIENCE_S
from tests.wire.kafka_world import made_topic

pytestmark = pytest.mark.system
Restore = Callable[[], None]


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def copied_sqlite(stack: Stack) -> Restore:
    """`tailwatch db backup`, and a copy put back with nothing of the lost database left."""
    file, copy = stack.folder / "tailwatch.db", stack.folder / "backup.db"
    command = [sys.executable, "-m", "tailwatch.cli", "db", "backup", str(copy), "--config"]
    subprocess.run([*command, str(stack.folder / "collector.json")], check=True, timeout=PATIENCE_S)

    def restore() -> None:
        for lost in stack.folder.glob("tailwatch.db*"):  # its -wal and -shm belong to the lost one
            lost.unlink()
        shutil.copyfile(copy, file)

    return restore


def dumped_postgresql(stack: Stack) -> Restore:
    """pg_dump, and pg_restore into a database made anew."""
    url, dump = stack.url.replace("+psycopg", ""), stack.folder / "tailwatch.dump"
    server, _, name = url.rpartition("/")
    found = [program.folder for program in programs() if (program.folder / "pg_dump").exists()]
    done = None
    for folder in found:  # one older than the server refuses; what a newer one writes, the server may not take
        command = [folder / "pg_dump", "--format=custom", f"--file={dump}", f"--dbname={url}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
        if done.returncode == 0:
            break
    else:
        missing(f"no pg_dump for this server: {done.stderr.strip() if done else 'none is installed'}")

    def restore() -> None:
        with psycopg.connect(f"{server}/postgres", autocommit=True, connect_timeout=10) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        command = [folder / "pg_restore", "--no-owner", "--exit-on-error", f"--dbname={url}", str(dump)]
        subprocess.run(command, check=True, timeout=PATIENCE_S)

    return restore


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_restored_database_reads_on_where_the_copy_was_and_is_whole_again(
    kind: str, kafka_server: str, tmp_path: Path, opened: ExitStack, request: pytest.FixtureRequest
) -> None:
    url = str(request.getfixturevalue("postgres_url")) if kind == "postgresql" else ""
    stack = Stack(tmp_path, url=url, transport=kafka_transport(made_topic(kafka_server)))
    opened.callback(stack.close)
    records = probe_records(1_500, seed=47).sort("ts")
    wanted = sum(truth(PLAN, records).record_counts().values())
    agents = add_agents(stack, records, rows_per_s=50)
    for name in ["collector", *agents[:-1]]:
        stack.start(name)
    until(lambda: stack.stored_records() > wanted // 4, PATIENCE_S, "a part is stored")
    restore = copied_sqlite(stack) if kind == "sqlite" else dumped_postgresql(stack)
    stack.start(agents[-1])  # so that something comes after the copy, however long that takes
    all_stored(stack, records, len(agents))

    assert stack.stop("collector") == 0
    stack.engine.dispose()
    restore()
    stack.engine = open_engine(stack.url)
    behind = stack.stored_records()
    assert wanted // 4 < behind < wanted, "the copy is of a moment in the middle"
    assert stack.finished_agents() < len(agents)
    stack.start("collector")
    all_stored(stack, records, len(agents))
    assert "skipped" not in stack.logs()
