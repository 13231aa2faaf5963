"""Problem documents (RFC 9457): the one place where an error becomes an HTTP answer.

Every error answer of this API is `application/problem+json` with type, title, status and detail; where they help, also
`parameter`, `nearest`, `limit`, `instead` or `checks`. Nothing else leaves the process: no stack trace, SQL or path.
"""

import difflib
import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from api.errors import ConflictError, ParameterError, RefusedError, RequestError, UnavailableError, UnknownNameError
from pipeline.errors import StateError
from quantiles.errors import CorruptSketchError, IncompatibleSketchError
from store import errors as store_errors

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:tailwatch:problem:"
_BAD_PARAMETER = "A parameter cannot be used as given"
_DAMAGED = (store_errors.CorruptPageError, CorruptSketchError, IncompatibleSketchError, StateError)
_UNFIT = (store_errors.SelectionError, store_errors.GpuRowError, store_errors.ServiceRowError)
_CONFLICTS = (store_errors.ServiceLimitError, store_errors.ServiceChangedError)
_FROM_BELOW = (store_errors.UnknownNameError, store_errors.TargetTableError, *_UNFIT, *_CONFLICTS, *_DAMAGED)


@dataclass(frozen=True, slots=True)
class ProblemDocument:
    """One error answer; `members` are extension members, joined at the top level."""

    slug: str
    title: str
    status: int
    detail: str
    members: Mapping[str, object] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        """The HTTP answer; errors are never cached."""
        body = {
            "type": TYPE_PREFIX + self.slug,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            **self.members,
        }
        headers = {"Cache-Control": "no-store", **self.headers}
        try:
            data = orjson.dumps(body)
        except TypeError:  # it repeats text that is no Unicode, which only a JSON body can bring
            data = json.dumps(body).encode()
        return Response(data, self.status, headers=headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make every error of `app` answer as a problem document, unknown paths and crashes included."""

    async def answer(request: Request, error: Exception) -> Response:
        if isinstance(error, (RequestValidationError, HTTPException)) and app.openapi_schema is None:
            # Hints come from the OpenAPI document; making it takes 0.2 s, in which others want answers.
            await run_in_threadpool(app.openapi)
        return describe(request, error).response()

    # Named one by one: what only Exception catches is answered outside the watch, and logged again by the server.
    ours = RequestError, RefusedError, UnavailableError
    for kind in (*ours, RequestValidationError, HTTPException, *_FROM_BELOW, Exception):
        app.add_exception_handler(kind, answer)


def describe(request: Request, error: Exception) -> ProblemDocument:
    """What to tell the caller about `error`; the unforeseen is logged and told in one neutral sentence."""
    error = _translated(error)
    if isinstance(error, RequestError | RefusedError):
        headers = error.headers if isinstance(error, RefusedError) else {}
        return ProblemDocument(error.slug, error.title, error.status, error.detail, error.members, headers)
    if isinstance(error, UnavailableError):
        headers = {"Retry-After": str(error.retry_after_s)}
        return ProblemDocument(error.slug, error.title, error.status, error.detail, error.members, headers)
    if isinstance(error, RequestValidationError):
        return _invalid(request, error)
    if isinstance(error, HTTPException):
        return _http(request, error)
    log.error("request failed method=%s path=%s", request.method, request.url.path, exc_info=error)
    if isinstance(error, _DAMAGED):
        return ProblemDocument(
            "damaged-data",
            "Stored data cannot be read",
            500,
            "a stored summary in this range is damaged; ask for another range, and see the log of the API",
        )
    return ProblemDocument(
        "internal-error",
        "The server made a mistake",
        500,
        "this is a fault of the server, not of the request; its log says more",
    )


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to `name`, or None when none comes close."""
    close = difflib.get_close_matches(name[:200], list(known), n=1, cutoff=0.5)
    return close[0] if close else None


def _translated(error: Exception) -> Exception:
    """Errors of the packages below that are the question's fault, in this package's words; others as they are."""
    if isinstance(error, store_errors.UnknownNameError):
        parameter = "metric" if isinstance(error, store_errors.UnknownMetricError) else None
        return UnknownNameError(str(error), nearest=error.nearest, parameter=parameter)
    if isinstance(error, store_errors.TargetTableError):
        return UnknownNameError(str(error), parameter="version")
    if isinstance(error, _UNFIT):
        return ParameterError(str(error))
    if isinstance(error, _CONFLICTS):
        return ConflictError(str(error))
    return error


def _invalid(request: Request, error: RequestValidationError) -> ProblemDocument:
    """The first of pydantic's complaints, as a sentence of ours."""
    # A misspelt name explains a missing one, so it goes first.
    first = min(error.errors(), key=lambda complaint: complaint["type"] != "extra_forbidden")
    kind, (where, *place) = first["type"], first["loc"]
    in_body = where == "body"
    if in_body and (not place or kind == "json_invalid"):
        return _no_json_object(kind, place)
    name = ".".join(str(part) for part in (place if in_body else place[:1]))[:60]
    if kind == "extra_forbidden" and len(place) == 1:
        return _unknown_parameter(request, name, in_body=in_body)
    seen, bounds = str(first.get("input"))[:60], first.get("ctx", {})
    messages = {
        "missing": f"{name} is missing",
        "extra_forbidden": f"{name} is no known member; leave it out",
        "string_too_long": f"{name} is longer than the {bounds.get('max_length')} characters it may have",
        "literal_error": f"{name}={seen!r} is none; want {bounds.get('expected')}",
        "int_parsing": f"{name}={seen!r} is not a whole number",
    }
    detail = messages.get(kind, f"{name}: {first['msg']}")
    return ProblemDocument("bad-parameter", _BAD_PARAMETER, 400, detail, members={"parameter": name})


def _no_json_object(kind: str, place: Sequence[int | str]) -> ProblemDocument:
    """A body that no member of can be read."""
    detail = "the body is missing" if kind == "missing" else "the body is no JSON object"
    if kind == "json_invalid":
        detail = f"the body is no JSON: see character {place[0]}" if place else "the body is no JSON"
    hint = "send an object in UTF-8, with Content-Type: application/json"
    return ProblemDocument("bad-parameter", _BAD_PARAMETER, 400, f"{detail}; {hint}", members={"parameter": "body"})


def _unknown_parameter(request: Request, name: str, *, in_body: bool) -> ProblemDocument:
    """A misspelt parameter would otherwise be ignored, and the answer would be to another question."""
    path = request.scope["route"].path_format
    method = "get" if request.method == "HEAD" else request.method.lower()
    operation = request.app.openapi()["paths"][path][method]
    if in_body:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        if "$ref" in schema:
            schema = request.app.openapi()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        known = list(schema["properties"])
    else:
        known = [parameter["name"] for parameter in operation.get("parameters", ())]
    nearest = nearest_name(name, known)
    hint = f"did you mean {nearest}?" if nearest else f"it takes {', '.join(known)}"
    members = {"parameter": name, "nearest": nearest} if nearest else {"parameter": name}
    return ProblemDocument(
        "bad-parameter",
        _BAD_PARAMETER,
        400,
        f"{path} takes no {'member' if in_body else 'parameter'} {name!r}; {hint}",
        members,
    )


def _methods_of(request: Request) -> str:
    """All methods that the path takes: the framework names those of one route only, where several share the path."""
    for name in ("[^/]+", ".+"):  # an agent's id may hold slashes
        found: set[str] = set()
        for template, methods in request.app.openapi()["paths"].items():
            parts = (re.escape(part) for part in re.split(r"\{\w+\}", template))
            if re.fullmatch(name.join(parts), request.url.path):
                found |= {method.upper() for method in methods}
        if found:
            return ", ".join(sorted(found))
    return ""


def _http(request: Request, error: HTTPException) -> ProblemDocument:
    """What the framework itself refuses: paths, methods, bodies."""
    headers = dict(error.headers or {})
    path = request.url.path[:200]
    if error.status_code == 404:
        nearest = nearest_name(path, [*request.app.openapi()["paths"], "/docs"])
        return ProblemDocument(
            "unknown-path",
            "No such path",
            404,
            f"nothing is served at {path}; /docs lists what is",
            {"nearest": nearest} if nearest else {},
            headers,
        )
    if error.status_code == 405:
        allowed = _methods_of(request) or headers.get("Allow", "GET")
        headers["Allow"] = allowed
        return ProblemDocument(
            "method-not-allowed",
            "The path does not take this method",
            405,
            f"{path} takes {allowed}, not {request.method[:20]}",
            headers=headers,
        )
    if error.status_code == 400:  # a body that is not even text, or JSON deeper than any of ours
        return _no_json_object("json_invalid", ())
    title = HTTPStatus(error.status_code).phrase
    return ProblemDocument("http-error", title, error.status_code, title, headers=headers)
