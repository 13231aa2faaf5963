"""What comes to be classified: which form a body has, whose log it is, and what is known of the job besides."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import Request

from analytics.gpu.node_events import JobFacts
from analytics.gpu.reported import facts_of
from api.errors import BadLogError, ParameterError, TooLargeError, WrongMediaError
from api.gpu_models import ClassifyPost
from api.gpu_params import SOURCES, ClassifyParameters, Known, read_known
from api.gpu_reports import posted_time
from api.log_stream import LogStream
from api.log_unpacking import Unpacking
from api.words import if_given, whole
from store.gpu_attempts import AttemptRow

if TYPE_CHECKING:
    from analytics.gpu.cleaning import Origin

JSON = "application/json"
_MOST_RANKS = 1_000_000
# What a log may be called; curl calls all that it is given a form unless it is told otherwise.
_LOG_TYPES = frozenset(
    {
        "", "application/octet-stream", "application/gzip", "application/x-gzip", "application/x-ndjson",
        "application/jsonlines", "application/x-www-form-urlencoded",
    }
)  # fmt: skip
_PACKED = frozenset({"gzip", "x-gzip"})


@dataclass(frozen=True, slots=True)
class Form:
    """How a body is to be read."""

    json: bool
    packed: bool


@dataclass(frozen=True, slots=True)
class Posted:
    """Logs of one job that came whole, and what was said of it."""

    logs: "list[tuple[Origin, Iterable[bytes]]]"
    known: Known
    gpus_before: dict[str, int]
    gpus_after: dict[str, int]


def form_of(request: Request) -> Form:
    """By the headers.

    Raises:
        WrongMediaError: a type or a packing that is not taken.
    """
    said = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if said != JSON and said not in _LOG_TYPES and not said.startswith("text/"):
        hint = "; with curl it is --data-binary @FILE, not -F" if said.startswith("multipart/") else ""
        raise WrongMediaError(
            f"a body of type {said[:100]!r} is not taken; send the log itself as text/plain or "
            f"application/octet-stream, or several as {JSON}{hint}"
        )
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in _PACKED and encoding not in ("", "identity"):
        raise WrongMediaError(f"Content-Encoding {encoding[:60]!r} is not taken; send gzip, or the log as it is")
    return Form(said == JSON, encoding in _PACKED)


def origin_of(given: ClassifyParameters) -> "Origin":
    """What is known of a log that is the body itself.

    Raises:
        ParameterError: no rank, or no source.
    """
    from analytics.gpu.cleaning import Origin  # noqa: PLC0415  # an API that is never sent a log need not hold it

    return Origin(
        given.name or "log",
        source=if_given(given.source, SOURCES, "source"),
        rank=whole(given.rank, "rank", 0, _MOST_RANKS),
        node=given.node,
    )


async def read_posted(stream: LogStream, form: Form, given: ClassifyParameters, most: int, now_ns: int) -> Posted:
    """Logs in a body of JSON.

    Raises:
        TooLargeError, BadLogError, RequestValidationError, ParameterError: what is wrong with it.
    """
    body = await stream.whole(most)
    if body is not None and (form.packed or body.startswith(b"\x1f\x8b")):
        body = b"".join(Unpacking(most).pieces([body], form.packed))
    if body is None:
        raise TooLargeError(
            f"the body has more than the {most} bytes of JSON that are taken; send large logs as they are, one a "
            "request, or raise api.max_body_bytes",
            reason="body_too_large",
            status=413,
            limit=most,
        )
    posted = _validated(body)
    return Posted(_logs(posted), _known(posted, given, now_ns), posted.facts.gpus_before, posted.facts.gpus_after)


def facts_about(known: Known, told: AttemptRow | None, posted: Posted | None = None) -> JobFacts:
    """What a diagnosis is told: what the caller says, and for what they do not say the reported attempt."""
    facts = JobFacts() if told is None else facts_of(told)
    said: dict[str, Any] = {
        "nodes": frozenset(known.nodes) or None,
        "start_ns": known.start_ns,
        "end_ns": known.end_ns,
        "failed": known.failed,
        "gpus_before": None if posted is None else posted.gpus_before,
        "gpus_after": None if posted is None else posted.gpus_after,
    }
    return replace(facts, **{name: value for name, value in said.items() if value is not None})


def _validated(body: bytes) -> ClassifyPost:
    try:
        return ClassifyPost.model_validate_json(body)
    except ValidationError as error:
        complaints = error.errors(include_url=False, include_context=False)
        if complaints[0]["type"] == "json_invalid":
            raise BadLogError(
                f"the body is no JSON: {complaints[0]['msg'][:200]}; send several logs as "
                '{"logs": [{"name": "rank0.log", "text": "..."}]}, or one log as text/plain'
            ) from error
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in complaints]) from error


def _logs(posted: ClassifyPost) -> "list[tuple[Origin, Iterable[bytes]]]":
    from analytics.gpu.cleaning import Origin  # noqa: PLC0415  # as above

    return [(Origin(one.name, one.source, one.rank, one.node), [one.text.encode()]) for one in posted.logs]


def _known(posted: ClassifyPost, given: ClassifyParameters, now_ns: int) -> Known:
    """What the body says goes before the parameters."""
    facts, beside = posted.facts, read_known(given, now_ns)
    said = Known(
        nodes=tuple(facts.nodes),
        start_ns=posted_time(facts.start, now_ns, "facts.start"),
        end_ns=posted_time(facts.end, now_ns, "facts.end"),
        exit_code=facts.exit_code,
        signal=facts.signal,
    )
    if said == Known():
        return beside
    if beside != Known():
        raise ParameterError("facts stand in the body and in the URL; give them once, in the body", parameter="facts")
    return said
