"""What every test gets: repeatable hypothesis runs, real data, and a header that says what runs against what."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples on every machine, and no verdict that depends on how fast it is.
settings.register_profile("tailwatch", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("tailwatch")

DATA_VARIABLE = "TAILWATCH_TEST_DATA"


def pytest_report_header() -> list[str]:
    """Which counterparts this run uses."""
    data = os.environ.get(DATA_VARIABLE)
    return [
        "counterparts: SQLite as Python has it, the embedded transport, processes of this checkout",
        f"real data: {data or f'none ({DATA_VARIABLE} is not set); tests that need it are skipped and counted'}",
    ]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; skips with the reason where it is absent, fails with STRICT=1."""
    folder = os.environ.get(DATA_VARIABLE)
    if folder and Path(folder).is_dir():
        return Path(folder)
    reason = f"{DATA_VARIABLE} names no folder (it is {folder!r})"
    if os.environ.get("STRICT") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
