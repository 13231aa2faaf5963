"""JSON answers as bytes: orjson, numbers JSON has no word for, entity tags.

The entity tag is made of the answer's bytes (and, where data is merged, its newest page version), so a 304 is given
exactly when the caller already holds this very answer; relative times that moved on make another one.
"""

import math
from collections.abc import Iterable
from hashlib import blake2b

import orjson
from starlette.requests import Request
from starlette.responses import Response

JSON = "application/json"
_LARGEST_JSON_INTEGER = 2**63 - 1


def json_answer(request: Request, content: object, version: int = 0) -> Response:
    """200 with an ETag, or 304 when the request's If-None-Match names it. Always to be revalidated.

    Args:
        content: what orjson takes, or JSON already.
    """
    body = content if isinstance(content, bytes) else orjson.dumps(content)
    return tagged_answer(request, body, JSON, version)


def tagged_answer(request: Request, body: bytes, media_type: str, version: int = 0) -> Response:
    """As `json_answer`, of bytes that are made already. What Accept may choose is told apart by Vary."""
    etag = f'"{version:x}-{blake2b(body, digest_size=8).hexdigest()}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache", "Vary": "Accept"}
    if _matches(request.headers.getlist("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=media_type)


def bytes_answer(request: Request, body: bytes, media_type: str, cache_control: str = "no-cache") -> Response:
    """As `json_answer`, for bytes that are ready."""
    return versioned_answer(request, body, f'"{blake2b(body, digest_size=8).hexdigest()}"', media_type, cache_control)


def versioned_answer(
    request: Request, body: bytes, etag: str, media_type: str = JSON, cache_control: str = "no-cache"
) -> Response:
    """As `bytes_answer`, with an entity tag that is known before the bytes are looked at."""
    headers = {"ETag": etag, "Cache-Control": cache_control}
    if _matches(request.headers.getlist("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=media_type)


def live_answer(content: object) -> Response:
    """200 for what changes with every look: never stored."""
    return Response(orjson.dumps(content), headers={"Cache-Control": "no-store"}, media_type=JSON)


def number(value: float) -> object:
    """A number as JSON can say it: NaN is null, infinities are words, long integers keep every digit."""
    if isinstance(value, int):
        return value if -_LARGEST_JSON_INTEGER <= value <= _LARGEST_JSON_INTEGER else orjson.Fragment(str(value))
    if math.isfinite(value):
        return value
    return None if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def numbers(values: Iterable[float]) -> list[object]:
    """`number` of each."""
    return [number(value) for value in values]


def _matches(if_none_match: list[str], etag: str) -> bool:
    """Weak comparison over the listed tags, as RFC 9110 wants it for GET."""
    tags = [tag.strip().removeprefix("W/") for line in if_none_match for tag in line.split(",")]
    return "*" in tags or etag in tags
