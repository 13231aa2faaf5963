"""Questions to our own API over plain urllib: the command line needs no HTTP library for a GET or a small POST.

An API that wants a key gets the one in TAILWATCH_API_KEY; there is no flag for it, because arguments are for everybody
on a host to read.
"""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from types import MappingProxyType
from typing import Any, cast
from urllib.parse import urlencode, urlsplit

from tailwatch.errors import AnswerError, TailwatchError, UnreachableError

Answer = dict[str, Any]

KEY_VARIABLE = "TAILWATCH_API_KEY"


def get(
    url: str, path: str, parameters: Mapping[str, str] | Sequence[tuple[str, str]] = (), *, timeout_s: float = 30.0
) -> Answer:
    """The JSON that GET `url` + `path` answers.

    Raises:
        UnreachableError: nothing answers there, or something that is not our API.
        AnswerError: the API refused; `problem` holds its whole document.
    """
    return _decoded(url, _fetch(url, path, parameters, timeout_s)[0])


def get_csv(url: str, path: str, parameters: Sequence[tuple[str, str]] = (), *, timeout_s: float = 30.0) -> str:
    """The CSV that GET `url` + `path` answers.

    Raises:
        UnreachableError, AnswerError: as `get`.
    """
    body, media_type = _fetch(url, path, [*parameters, ("format", "csv")], timeout_s)
    if media_type != "text/csv":
        raise UnreachableError(f"{url} answers, but not as a Tailwatch API does (no CSV); check --url")
    return body.decode(errors="replace")


def post(url: str, path: str, body: Mapping[str, object], *, timeout_s: float = 30.0) -> Answer:
    """The JSON that POST `url` + `path` answers to `body`.

    Raises:
        UnreachableError, AnswerError: as `get`.
    """
    return _decoded(url, _fetch(url, path, (), timeout_s, json.dumps(body).encode())[0])


def put(
    url: str, path: str, body: Mapping[str, object], *, expected_version: int | None = None, timeout_s: float = 30.0
) -> Answer:
    """The JSON that PUT `url` + `path` answers to `body`.

    Args:
        expected_version: of what is to be replaced, sent as If-Match; None: whatever is there.
    Raises:
        UnreachableError, AnswerError: as `get`.
    """
    data = json.dumps(body).encode()
    match = {} if expected_version is None else {"If-Match": f'"{expected_version}"'}
    return _decoded(url, _fetch(url, path, (), timeout_s, data, method="PUT", headers=match)[0])


def delete(
    url: str, path: str, parameters: Mapping[str, str] | Sequence[tuple[str, str]] = (), *, timeout_s: float = 30.0
) -> Answer:
    """The JSON that DELETE `url` + `path` answers.

    Raises:
        UnreachableError, AnswerError: as `get`.
    """
    return _decoded(url, _fetch(url, path, parameters, timeout_s, method="DELETE")[0])


def _fetch(
    url: str,
    path: str,
    parameters: Mapping[str, str] | Sequence[tuple[str, str]],
    timeout_s: float,
    body: bytes | None = None,
    method: str | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> tuple[bytes, str]:
    """(body, media type) of an answer that is no error; without a method a POST where there is a body to send."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise UnreachableError(f"{url!r} is no address of an API; want http://HOST:PORT")
    query = urlencode(parameters)
    address = url.rstrip("/") + path + (f"?{query}" if query else "")
    # No proxy: the API is inside, and a proxy of the environment would hide which side is unreachable.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = _request(address)
    if method is not None:
        request.method = method
    for name, value in headers.items():
        request.add_header(name, value)
    if body is not None:
        request.data = body
        request.add_header("Content-Type", "application/json")
    try:
        with opener.open(request, timeout=timeout_s) as response:
            return response.read(), response.headers.get_content_type()
    except urllib.error.HTTPError as error:
        raise _refusal(url, error.code, error.read()) from error
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise UnreachableError(
            f"no API answers at {url} ({reason}); start one with `tailwatch demo` or name another with --url"
        ) from error


def _request(address: str) -> urllib.request.Request:
    """A request with the key, where there is one; it does not follow a redirect elsewhere.

    Raises:
        TailwatchError: what should be the key cannot be sent; the message does not repeat it.
    """
    request = urllib.request.Request(address)
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise TailwatchError(f"{KEY_VARIABLE} holds more than an API key, which is tw_ and letters, digits and _")
    if key:
        request.add_unredirected_header("Authorization", f"Bearer {key}")
    return request


def _refusal(url: str, status: int, body: bytes) -> AnswerError | UnreachableError:
    try:
        problem = json.loads(body)
        detail = str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return UnreachableError(f"{url} answers, but not as a Tailwatch API does (status {status}); check --url")
    if status == 401:
        detail += f"; `tailwatch` sends the one in ${KEY_VARIABLE}"
    nearest = problem.get("nearest")
    hint = f"; did you mean {nearest}?" if nearest and str(nearest) not in detail else ""
    return AnswerError(detail + hint, problem)


def _decoded(url: str, body: bytes) -> Answer:
    try:
        answer = json.loads(body)
    except ValueError as error:
        raise UnreachableError(f"{url} answers, but not as a Tailwatch API does (no JSON); check --url") from error
    if not isinstance(answer, dict):
        raise UnreachableError(f"{url} answers, but not as a Tailwatch API does (no JSON object); check --url")
    return cast(Answer, answer)
