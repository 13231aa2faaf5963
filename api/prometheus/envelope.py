"""Prometheus' envelope around every answer, and the one place where an error here becomes one.

{"status":"success","data":…} or {"status":"error","errorType":…,"error":…}. Grafana raises an error only for the
latter: any other shape would be shown as "no data", and an alert would go to NoData instead of Error.
"""

import logging
from collections.abc import Mapping, Sequence

import orjson
from starlette.responses import Response

from api.errors import RequestError, UnavailableError
from api.prometheus.errors import PrometheusError
from api.promql.errors import EvaluationError, ExpressionError, TooMuchError, UnsupportedError
from pipeline.errors import StateError
from quantiles.errors import CorruptSketchError, IncompatibleSketchError, StateOverflowError
from store import errors as store_errors

log = logging.getLogger(__name__)

JSON = "application/json"
NO_STORE = "no-store"
_DAMAGED = (store_errors.CorruptPageError, StateError, CorruptSketchError, IncompatibleSketchError)
_TYPES = {401: "unauthorized", 403: "forbidden", 404: "not_found", 422: "execution", 429: "too_many_requests"}


def success(data: bytes, *, warnings: Sequence[str] = (), infos: Sequence[str] = (), cache: str = NO_STORE) -> Response:
    """200 around data that is JSON already."""
    parts = [b'{"status":"success","data":', data]
    for name, sentences in ((b"warnings", warnings), (b"infos", infos)):
        if sentences:
            parts += [b',"', name, b'":', orjson.dumps(list(sentences))]
    parts.append(b"}")
    return Response(b"".join(parts), headers={"Cache-Control": cache}, media_type=JSON)


def failure(status: int, error_type: str, text: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error; never cached."""
    body = {"status": "error", "errorType": error_type, "error": text}
    all_headers = {"Cache-Control": NO_STORE, **(headers or {})}
    return Response(orjson.dumps(body), status, headers=all_headers, media_type=JSON)


def answer_for(error: Exception, path: str) -> Response:
    """What to tell the caller about `error`; the unforeseen is logged and told in one neutral sentence."""
    if isinstance(error, UnavailableError):
        return failure(503, "unavailable", error.detail, {"Retry-After": str(error.retry_after_s)})
    refused = _refused(error)
    if refused is not None:
        return failure(*refused)
    log.error("request failed path=%s", path, exc_info=error)
    if isinstance(error, _DAMAGED):
        text = "a stored summary in this range is damaged; ask for another range, and see the log of the API"
    else:
        text = "this is a fault of the server, not of the request; its log says more"
    return failure(500, "internal", text)


def _refused(error: Exception) -> tuple[int, str, str] | None:
    """Status, errorType and text, where it is not the server's fault."""
    text = str(error)
    if isinstance(error, PrometheusError):
        return error.status, error.error_type, text
    if isinstance(error, ExpressionError | store_errors.SelectionError):
        # As Prometheus: a valid expression of the wrong type is not a fault of the parameter.
        bare = text.startswith("invalid expression type")
        return 400, "bad_data", text if bare else f'invalid parameter "query": {text}'
    if isinstance(error, UnsupportedError | EvaluationError | TooMuchError | StateOverflowError):
        return 422, "execution", text
    if isinstance(error, RequestError):
        return error.status, _TYPES.get(error.status, "bad_data"), error.detail
    return None
