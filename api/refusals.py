"""Answers to requests that no route has seen: refused, or not answerable before it was known who asks.

Below /prometheus the answer is Prometheus' own error envelope, because its clients take a problem document for data
that they cannot read; everywhere else it is a problem document.
"""

import orjson
from starlette.responses import Response

from api.errors import RefusedError, UnavailableError
from api.problems import ProblemDocument

_PROMETHEUS = "/prometheus"


def refusal(path: str, error: RefusedError | UnavailableError) -> Response:
    """The answer for a request to `path`; never cached."""
    if isinstance(error, RefusedError):
        status, headers = error.status, error.headers
        kind = error.prometheus_type
    else:
        status, headers = error.status, {"Retry-After": str(error.retry_after_s)}
        kind = "unavailable"
    if path == _PROMETHEUS or path.startswith(f"{_PROMETHEUS}/"):
        envelope = orjson.dumps({"status": "error", "errorType": kind, "error": error.detail})
        return Response(envelope, status, {"Cache-Control": "no-store", **headers}, "application/json")
    return ProblemDocument(error.slug, error.title, status, error.detail, error.members, headers).response()
