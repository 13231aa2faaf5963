"""A Prometheus with the telemetry in it, and the line at the end that says how many expressions agree."""

from collections.abc import Iterator

import pytest

from tests.counterparts.choice import Counterparts, missing
from tests.promql_differential.agreement import Agreement, Asking, asking, measure
from tests.promql_differential.telemetry import Telemetry

AGREEMENT = pytest.StashKey[Agreement]()


@pytest.fixture(scope="session")
def telemetry() -> Telemetry:
    """What both sides hold."""
    return Telemetry()


@pytest.fixture(scope="session")
def agreement(counterparts: Counterparts, request: pytest.FixtureRequest) -> Agreement:
    """What came of all expressions; afterwards the telemetry is in Prometheus."""
    address = counterparts.address("prometheus")
    with asking(address) as prometheus:
        if not (version := prometheus.version()).startswith("2.42."):
            missing(f"Prometheus at {address} is {version}; wanted 2.42, whose differences are known")
    found = measure(address)
    request.config.stash[AGREEMENT] = found
    return found


@pytest.fixture(scope="session")
def prometheus(counterparts: Counterparts, agreement: Agreement) -> Iterator[Asking]:
    """Prometheus, with the telemetry in it."""
    with asking(counterparts.address("prometheus")) as found:
        yield found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many agree, also when everything passed and nothing else is printed."""
    found = terminalreporter.config.stash.get(AGREEMENT, None)
    if found is None:
        return
    terminalreporter.section("PromQL beside a real Prometheus")
    terminalreporter.line(found.line())
    for each in found.differences:
        terminalreporter.line(f"  {each.explanation or 'NOT EXPLAINED'}: {each.expression.ours} - {each.how[:200]}")
