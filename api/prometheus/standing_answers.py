"""Answers that are always the same: what Grafana asks to learn whom it talks to, and what this server does not keep."""

import orjson
from starlette.responses import Response

from api.prometheus import envelope
from api.prometheus.calls import Call
from api.routes.status import RELEASE

#: Whose behaviour this is. Grafana chooses its features by it.
PROMETHEUS_VERSION = "3.0.0"


def buildinfo(_: Call) -> Response:
    """As Prometheus, without `features`: no ruler. Our own release is the revision."""
    info = {
        "version": PROMETHEUS_VERSION,
        "revision": RELEASE,
        "branch": "tailwatch",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }
    return envelope.success(orjson.dumps(info))


def rules(_: Call) -> Response:
    """No rules are evaluated here."""
    return envelope.success(b'{"groups":[]}')


def alerts(_: Call) -> Response:
    """No alerts are raised here."""
    return envelope.success(b'{"alerts":[]}')


def exemplars(_: Call) -> Response:
    """No exemplars are kept. Grafana gives start and end in milliseconds; nothing is read from them."""
    return envelope.success(b"[]")
