"""The table of faults, collected over a run of pytest and printed at its end."""

import pytest

from tests.system.fault_table import TABLE, FaultTable


@pytest.fixture(scope="session")
def fault_table(pytestconfig: pytest.Config) -> FaultTable:
    """Where rounds of faults leave their outcomes."""
    return pytestconfig.stash.setdefault(TABLE, FaultTable())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, also when everything passed and nothing else is printed."""
    table = terminalreporter.config.stash.get(TABLE, None)
    if table is None or not table.outcomes:
        return
    terminalreporter.section(f"faults, seed {table.seed}; times from the moment that everything runs again")
    for line in table.lines():
        terminalreporter.line(line)
