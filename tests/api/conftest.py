"""Filled databases and clients for all tests that only read; those of GPU jobs and of services can be had as copies."""

import shutil

import pytest

from tests.api.gpu_world import filled
from tests.api.services_world import filled_services
from tests.api.world import asking, fill


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("api") / "tailwatch.db")


@pytest.fixture(scope="session")
def client(world):
    with asking(world.url) as asked:
        yield asked


@pytest.fixture(scope="session")
def gpu_file(tmp_path_factory):
    """A SQLite file with GPU jobs, for reading and for copying."""
    path = tmp_path_factory.mktemp("gpu") / "tailwatch.db"
    filled(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def gpu_client(gpu_file):
    """For tests of GPU jobs that only read."""
    with asking(f"sqlite:///{gpu_file}") as asked:
        yield asked


@pytest.fixture
def gpu_url(gpu_file, tmp_path):
    """Of a copy of the test's own."""
    return f"sqlite:///{shutil.copy(gpu_file, tmp_path / 'tailwatch.db')}"


@pytest.fixture(scope="session")
def services_file(tmp_path_factory):
    """A SQLite file with services, for reading and for copying."""
    path = tmp_path_factory.mktemp("services") / "tailwatch.db"
    filled_services(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def services_client(services_file):
    """For tests of services that only read."""
    with asking(f"sqlite:///{services_file}") as asked:
        yield asked


@pytest.fixture
def services_url(services_file, tmp_path):
    """Of a copy of the test's own."""
    return f"sqlite:///{shutil.copy(services_file, tmp_path / 'tailwatch.db')}"
