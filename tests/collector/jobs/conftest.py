"""Drives, GPU jobs and services on SQLite and PostgreSQL in turn, or, where that does not matter, quickly on SQLite."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from store.connect import open_engine, upgrade
from tests.collector.jobs.drives_world import DrivesWorld
from tests.collector.jobs.gpu_world import GpuWorld
from tests.collector.jobs.killing import copied, made
from tests.collector.jobs.tail_world import TailWorld


@pytest.fixture
def world(upgraded_url: str) -> Iterator[DrivesWorld]:
    """An upgraded database that knows the queries on drives, and no drive yet."""
    engine = open_engine(upgraded_url)
    yield DrivesWorld(engine)
    engine.dispose()


@pytest.fixture(scope="session")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a file of SQLite, to be copied."""
    path = tmp_path_factory.mktemp("untouched") / "tailwatch.db"
    upgrade(f"sqlite:///{path}")
    return made(path, DrivesWorld)


@pytest.fixture
def quick_world(untouched: Path, tmp_path: Path) -> Iterator[DrivesWorld]:
    """The same on SQLite, without the time that upgrades take."""
    with copied(untouched, tmp_path / "tailwatch.db") as engine:
        yield DrivesWorld(engine, names=[])


@pytest.fixture
def gpu_world(upgraded_url: str) -> Iterator[GpuWorld]:
    """An upgraded database that knows the queries on GPU jobs, and no job yet."""
    engine = open_engine(upgraded_url)
    yield GpuWorld.made(engine)
    engine.dispose()


@pytest.fixture(scope="session")
def untouched_gpu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a file of SQLite, to be copied."""
    path = tmp_path_factory.mktemp("untouched") / "tailwatch.db"
    upgrade(f"sqlite:///{path}")
    return made(path, GpuWorld.made)


@pytest.fixture
def quick_gpu_world(untouched_gpu: Path, tmp_path: Path) -> Iterator[GpuWorld]:
    """The same on SQLite, without the time that upgrades take."""
    with copied(untouched_gpu, tmp_path / "tailwatch.db") as engine:
        yield GpuWorld(engine)


@pytest.fixture
def tail_world(upgraded_url: str) -> Iterator[TailWorld]:
    """An upgraded database that knows the queries on services, and no service yet."""
    engine = open_engine(upgraded_url)
    yield TailWorld.made(engine)
    engine.dispose()


@pytest.fixture(scope="session")
def untouched_tail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a file of SQLite, to be copied."""
    path = tmp_path_factory.mktemp("untouched") / "tailwatch.db"
    upgrade(f"sqlite:///{path}")
    return made(path, TailWorld.made)


@pytest.fixture
def quick_tail_world(untouched_tail: Path, tmp_path: Path) -> Iterator[TailWorld]:
    """The same on SQLite, without the time that upgrades take."""
    with copied(untouched_tail, tmp_path / "tailwatch.db") as engine:
        yield TailWorld(engine)
