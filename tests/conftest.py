"""What every test gets: repeatable hypothesis runs, real data, and a header that says what runs against what."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.internal.conjecture import providers

from tests.counterparts import programs
from tests.counterparts.broker import KAFKA
from tests.counterparts.choice import Counterparts, missing
from tests.counterparts.grafana import GRAFANA
from tests.counterparts.postgres import POSTGRES, empty_database
from tests.counterparts.prometheus import PROMETHEUS
from tests.long_files import LONG, ROOT
from tests.process_state import ProcessState
from tests.upgraded import Upgraded

# The same examples on every machine, and no verdict that depends on how fast it is.
settings.register_profile("tailwatch", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("tailwatch")
# Nor on what other tests have imported: examples would be drawn from the constants of all our modules that are loaded.
assert callable(providers._get_local_constants), "another release of hypothesis; see where it keeps these now"
providers._get_local_constants = lambda: providers._local_constants

DATA_VARIABLE = "TAILWATCH_TEST_DATA"


_COUNTERPARTS = pytest.StashKey[Counterparts]()


def pytest_configure(config: pytest.Config) -> None:
    """Decide once what this run's counterparts are.

    The many collectors and APIs that tests start keep the NumPy kernels; the change has tests of its own. Under nohup
    they would also inherit that a closed terminal does not matter.
    """
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.environ.setdefault("TAILWATCH_KERNELS", "numpy")
    config.stash[_COUNTERPARTS] = Counterparts(POSTGRES, KAFKA, PROMETHEUS, GRAFANA)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the counterparts that tests have started."""
    config.stash[_COUNTERPARTS].close()


def pytest_report_header(config: pytest.Config) -> list[str]:
    """What runs against what."""
    data = os.environ.get(DATA_VARIABLE)
    return [
        "counterparts: SQLite as Python has it, the embedded transport, processes of this checkout",
        *config.stash[_COUNTERPARTS].header(),
        *programs.header(),
        f"real data: {data or f'none ({DATA_VARIABLE} is not set); tests that need it are skipped and counted'}",
    ]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first: none of them is left for one worker to end on while the others are idle.

    `make test` finds whole systems by the words of their marks: marked otherwise, they would be run by nobody.
    """
    for path, mark in {(item.path, one.name) for item in items for one in item.iter_markers()}:
        if mark in ("system", "alone") and f"mark.{mark}" not in path.read_text(encoding="utf-8"):
            raise pytest.UsageError(f"{path} has a test with the mark {mark}; want `pytest.mark.{mark}` written there")
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(str(item.path.relative_to(ROOT)), len(LONG)))


@pytest.fixture(autouse=True)
def _process_as_before() -> Iterator[None]:
    before = ProcessState.now()
    yield
    before.put_back()


@pytest.fixture(scope="session")
def counterparts(request: pytest.FixtureRequest) -> Counterparts:
    """The servers of others' making that tests may talk to."""
    return request.config.stash[_COUNTERPARTS]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was to be reached and whether it was, also when everything passed, or ran in another process."""
    reports = [report for found in terminalreporter.stats.values() for report in found]
    lines = [value for each in reports for name, value in getattr(each, "user_properties", ()) if name == "target"]
    if lines:
        terminalreporter.section("targets")
        for line in sorted(set(lines)):
            terminalreporter.line(line)


@pytest.fixture
def show_target(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Takes a TARGET line (benchmarks/targets.py) for the run's last words."""
    return lambda line: record_property("target", line)


@pytest.fixture
def kafka_server(counterparts: Counterparts) -> str:
    """HOST:PORT of the broker that tests share; the test is skipped, with the reason, where there is none."""
    return counterparts.address("broker")


@pytest.fixture
def postgres_url(counterparts: Counterparts) -> Iterator[str]:
    """An empty PostgreSQL database; the test is skipped, with the reason, where there is no server."""
    with empty_database(counterparts.address("database")) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database: the test runs once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'tailwatch.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture(scope="session")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgraded]:
    """What databases with the current schema are copied from."""
    made = Upgraded(tmp_path_factory.mktemp("upgraded"))
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def another_upgraded_url(
    request: pytest.FixtureRequest, tmp_path: Path, upgraded: Upgraded, counterparts: Counterparts
) -> Iterator[Callable[[], str]]:
    """Gives a database with the current schema and nothing in it, and drops the one that it gave before.

    The test runs once on SQLite and once on PostgreSQL.
    """
    with ExitStack() as opened:

        def another() -> str:
            opened.close()
            if request.param == "sqlite":
                return upgraded.sqlite(tmp_path / "tailwatch.db")
            return opened.enter_context(upgraded.postgresql(counterparts.address("database")))

        yield another


@pytest.fixture
def upgraded_url(another_upgraded_url: Callable[[], str]) -> str:
    """An empty database with the current schema: the test runs once on SQLite and once on PostgreSQL."""
    return another_upgraded_url()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; skips with the reason where it is absent, fails with STRICT=1."""
    folder = os.environ.get(DATA_VARIABLE)
    if not folder or not Path(folder).is_dir():
        missing(f"{DATA_VARIABLE} names no folder (it is {folder!r})")
    return Path(folder)
