"""A real Grafana for the tests: the one that the environment names, or a container.

No package of pip or apt brings one, so on most machines the tests meet the fake alone (fake_grafana.py), and those of a
real one are skipped and counted. The address holds an administrator's login: http://admin:admin@127.0.0.1:3000. Each
test works in an organisation of its own, and removes it.
"""

import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from tests.counterparts.choice import Wanted

VARIABLE = "TAILWATCH_TEST_GRAFANA"
_IMAGE = "grafana/grafana:13.0.1"
_STARTS_WITHIN_S = 90.0


@contextmanager
def _container() -> Iterator[str]:
    from testcontainers.core.container import DockerContainer

    quiet = {"GF_ANALYTICS_REPORTING_ENABLED": "false", "GF_ANALYTICS_CHECK_FOR_UPDATES": "false"}
    container = DockerContainer(_IMAGE).with_exposed_ports(3000)
    for name, value in quiet.items():
        container = container.with_env(name, value)
    with container:
        place = f"{container.get_container_host_ip()}:{container.get_exposed_port(3000)}"
        deadline = time.monotonic() + _STARTS_WITHIN_S
        while not _ready(place):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{_IMAGE} is not ready after {_STARTS_WITHIN_S:.0f} s")
            time.sleep(0.2)
        yield f"http://admin:admin@{place}"


def _ready(place: str) -> bool:
    try:
        urllib.request.urlopen(f"http://{place}/api/health", timeout=2).close()
    except OSError:
        return False
    return True


GRAFANA = Wanted("grafana", VARIABLE, _container, lambda: "no package of pip or apt brings Grafana")
