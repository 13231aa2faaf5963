"""What else the tests meet of others' making: programs that they run, libraries whose clients send to our sources."""

import os
import shutil
from collections.abc import Callable, Iterator
from importlib import metadata

from tests.counterparts.choice import missing

#: Where Debian has programs that not every user has on PATH.
_ALSO = "/usr/sbin:/sbin"
PROGRAMS = (
    "curl", "kubectl", "logrotate", "nginx", "prometheus", "prometheus-alertmanager", "prometheus-node-exporter",
    "promtool", "smartctl", "systemd-analyze",
)  # fmt: skip
LIBRARIES = ("atheris", "datadog", "opentelemetry-sdk", "prometheus-client", "statsd")


def program_path(name: str) -> str | None:
    """Where a program is, None where it is not installed."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{_ALSO}")


def program(name: str) -> str:
    """Where a program is; the test is skipped, with the reason, where it is not installed."""
    return program_path(name) or missing(f"{name} is not installed; `make test-servers` brings what Debian has")


def library_version(name: str) -> str | None:
    """Its version, None where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def header(
    path_of: Callable[[str], str | None] = program_path, version_of: Callable[[str], str | None] = library_version
) -> Iterator[str]:
    """Lines for the head of a report: what is here, and what is not."""
    versions = {name: version_of(name) for name in LIBRARIES}
    here = [name for name in PROGRAMS if path_of(name)]
    yield f"programs that tests run: {', '.join(here) or 'none'}"
    yield f"libraries that tests send with: {', '.join(f'{name} {v}' for name, v in versions.items() if v) or 'none'}"
    absent = [*(name for name in PROGRAMS if name not in here), *(name for name, v in versions.items() if not v)]
    if absent:
        yield f"not installed; tests that need them are skipped and counted: {', '.join(absent)}"
