"""What can go wrong at the HTTP edge, as exceptions that know their status and how to say it.

    ApiError
    ├── RequestError              4xx: the question cannot be answered as it was asked
    │   ├── ParameterError        400  a parameter is missing, unknown, repeated or unreadable
    │   ├── LimitError            400  more was asked for than one answer may hold
    │   ├── WrongFunctionError    400  the metric exists but does not answer this kind of question
    │   ├── BadQueryError         400  the SQL is no query; says the line, the column and what would be right
    │   ├── BadTableError         400  what was uploaded is no static table
    │   ├── BadLogError           400  what was uploaded cannot be unpacked, or is no log in a form that is taken
    │   ├── BadRecordsError       400  nothing can be kept of the recorded requests that were sent
    │   ├── WrongMediaError       415  a body of this type is not taken here
    │   ├── UnknownNameError      404  no such name; names the nearest one
    │   ├── NoActiveTableError    404  a service's servers are to choose degrees without a table
    │   ├── ConflictError         409  what is there already stands against it
    │   └── PreconditionError     412  what is there is not what If-Match says
    ├── RefusedError              4xx: who asks, how often, or how much comes; mostly before a route sees the request
    │   ├── UnauthorizedError     401  no key, or none that is good
    │   ├── ForbiddenError        403  the key lacks the scope
    │   ├── TooManyRequestsError  429  more requests than the key or address may make
    │   ├── TooLargeError         413, 414, 431  the body, the URL or the headers
    │   └── TooSlowError          408  the body took too long to come
    ├── UnavailableError          503: the question is fine, the answer cannot be had now
    │   ├── NotInstalledError          501: a library that this needs is not here; names the extra
    │   ├── DatabaseUnavailableError   locked, full, gone, damaged or of another schema
    │   ├── QuestionTimeoutError       not answered within the longest time a question may take
    │   ├── ClientGoneError            nobody waits for the answer any more
    │   ├── BusyError                  too many large questions at a time
    │   └── NotReadyError              a readiness check failed
    └── StartError                the server cannot start; the command line prints it as one line
        ├── PortInUseError        another process listens there
        ├── BindError             the address or port cannot be bound at all
        ├── TlsError              the certificate or key cannot be used
        └── UnsafeBindError       reachable from other machines without anyone having allowed it

api/problems.py turns the first and third branch (and everything unforeseen) into RFC 9457 problem documents,
api/refusals.py the second, where Prometheus' clients get what they understand.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar


class ApiError(Exception):
    """Root of this package's errors."""


class RequestError(ApiError):
    """A question that cannot be answered; `members` join the problem document as they are.

    `nearest` is the known name closest to an unknown one, `limit` the largest number that would have been taken,
    `parameter` the query parameter at fault, `estimate` what answering would have to read.
    """

    slug: ClassVar[str] = "bad-request"
    title: ClassVar[str] = "The request cannot be answered"
    status: ClassVar[int] = 400

    def __init__(
        self,
        detail: str,
        *,
        parameter: str | None = None,
        nearest: str | None = None,
        limit: float | None = None,
        instead: str | None = None,
        estimate: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        named = {
            "parameter": parameter,
            "nearest": nearest,
            "limit": limit,
            "instead": instead,
            "estimate": None if estimate is None else dict(estimate),
        }
        self.members: dict[str, object] = {name: value for name, value in named.items() if value is not None}


class ParameterError(RequestError):
    """A query parameter is missing, unknown, given twice or cannot be read."""

    slug = "bad-parameter"
    title = "A parameter cannot be used as given"


class LimitError(RequestError):
    """One answer would be larger than this server allows."""

    slug = "limit-exceeded"
    title = "The answer would be larger than allowed"


class WrongFunctionError(RequestError):
    """The metric is known but cannot answer this kind of question; `instead` is the request that can."""

    slug = "wrong-kind-of-metric"
    title = "This metric does not answer that question"


class UnknownNameError(RequestError):
    """No metric, label, query, table or agent has this name."""

    slug = "unknown-name"
    title = "No such name"
    status = 404


class NoActiveTableError(RequestError):
    """No table of targets of a service is in use: its servers, unlike at any other 404, drop the one they have."""

    slug = "no-active-table"
    title = "No table of targets is in use"
    status = 404


class RefusedError(ApiError):
    """A request that mostly no route gets to see. `reason` is a short fixed word for counting."""

    slug: ClassVar[str]
    title: ClassVar[str]
    status: int
    #: What Prometheus' own clients are told, below /prometheus.
    prometheus_type: ClassVar[str] = "bad_data"

    def __init__(
        self, detail: str, *, reason: str, headers: Mapping[str, str] | None = None, **members: object
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.reason = reason
        self.headers: Mapping[str, str] = headers or {}
        self.members = members


class UnauthorizedError(RefusedError):
    """The caller has not shown a key that is good."""

    slug = "unauthorized"
    title = "An API key is needed"
    status = 401
    prometheus_type = "unauthorized"

    def __init__(self, detail: str, *, reason: str) -> None:
        # RFC 6750: no error code where nothing was shown. Browsers know Basic only, and ask for the key with it.
        error = "" if reason == "no_key" else ', error="invalid_token"'
        challenge = f'Bearer realm="tailwatch"{error}, Basic realm="tailwatch", charset="UTF-8"'
        super().__init__(detail, reason=reason, headers={"WWW-Authenticate": challenge})


class ForbiddenError(RefusedError):
    """The key is good, but not for this; `scope` is the one that is wanted."""

    slug = "forbidden"
    title = "The key may not do this"
    status = 403
    prometheus_type = "forbidden"

    def __init__(self, detail: str, *, scope: str) -> None:
        challenge = f'Bearer realm="tailwatch", error="insufficient_scope", scope="{scope}"'
        super().__init__(detail, reason="scope", headers={"WWW-Authenticate": challenge}, scope=scope)


class TooManyRequestsError(RefusedError):
    """More requests than agreed; `Retry-After` says when the next one would be taken."""

    slug = "too-many-requests"
    title = "Too many requests"
    status = 429
    prometheus_type = "too_many_requests"

    def __init__(self, detail: str, *, reason: str, retry_after_s: int) -> None:
        super().__init__(detail, reason=reason, headers={"Retry-After": str(retry_after_s)})


class TooLargeError(RefusedError):
    """More bytes than taken, in the body (413), the URL (414) or the headers (431)."""

    slug = "too-large"
    title = "The request is too large"

    def __init__(self, detail: str, *, reason: str, status: int, limit: int) -> None:
        super().__init__(detail, reason=reason, limit=limit)
        self.status = status


class TooSlowError(RefusedError):
    """The body did not come in time."""

    slug = "too-slow"
    title = "The request took too long to arrive"
    status = 408


class BadQueryError(RequestError):
    """The SQL of a posted query cannot be run; `line` and `column` count from 1."""

    slug = "bad-query"
    title = "This is not a query that can run"

    def __init__(self, detail: str, *, line: int, column: int, caret: str, allowed: str) -> None:
        super().__init__(detail)
        self.members |= {"line": line, "column": column, "caret": caret, "allowed": allowed}


class BadTableError(RequestError):
    """An uploaded table cannot be read, or a pinned one is not there."""

    slug = "bad-table"
    title = "This is not a table that queries can join"


class BadLogError(RequestError):
    """An uploaded log is packed in a way that cannot be undone, or stands in no form that is taken."""

    slug = "bad-log"
    title = "This is not a log that can be read"


class BadRecordsError(RequestError):
    """Recorded requests of which none can be kept, or that cannot be unpacked."""

    slug = "bad-records"
    title = "No record of this can be kept"


class WrongMediaError(RequestError):
    """The route takes bodies, but none of this type."""

    slug = "wrong-media-type"
    title = "A body of this type is not taken"
    status = 415


class ConflictError(RequestError):
    """The request would contradict what is there; further members name it."""

    slug = "conflict"
    title = "This contradicts what is there"
    status = 409

    def __init__(self, detail: str, **members: object) -> None:
        super().__init__(detail)
        self.members |= members


class PreconditionError(RequestError):
    """Somebody changed it since the caller looked: its entity tag is another one now."""

    slug = "precondition-failed"
    title = "It has changed since you looked"
    status = 412


class UnavailableError(ApiError):
    """The answer cannot be had now; asking again later may work."""

    slug: ClassVar[str] = "unavailable"
    title: ClassVar[str] = "The service cannot answer now"
    status: ClassVar[int] = 503

    def __init__(self, detail: str, *, retry_after_s: int = 1, checks: Mapping[str, object] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.members: dict[str, object] = {} if checks is None else {"checks": dict(checks)}


class NotInstalledError(UnavailableError):
    """What this needs is not installed where the API runs; the detail names the extra."""

    slug = "not-installed"
    title = "This needs more than is installed"
    status = 501

    def __init__(self, detail: str) -> None:
        super().__init__(detail, retry_after_s=3_600)


class DatabaseUnavailableError(UnavailableError):
    """The database refused, or did not answer; `reason` is a short fixed word for counting."""

    slug = "database-unavailable"
    title = "The database cannot be read now"

    def __init__(self, detail: str, *, reason: str) -> None:
        super().__init__(detail)
        self.reason = reason


class QuestionTimeoutError(UnavailableError):
    """The question took longer than any may; `api.question_timeout_s` is how long."""

    slug = "question-timeout"
    title = "The answer takes too long"


class ClientGoneError(UnavailableError):
    """Whoever asked has closed the connection; nobody sees this."""

    slug = "client-gone"
    title = "Nobody waits for the answer"


class BusyError(UnavailableError):
    """As many large questions as may are running, and as many as may are waiting."""

    slug = "busy"
    title = "Too many large questions at a time"


class NotReadyError(UnavailableError):
    """At least one readiness check failed; `checks` says which and why."""

    slug = "not-ready"
    title = "Not ready"

    def __init__(self, failed: Sequence[str], checks: Mapping[str, object]) -> None:
        super().__init__(f"not ready: {', '.join(failed)}; see checks", checks=checks)


class StartError(ApiError):
    """The server cannot start. The message is one line and names the setting to change."""


class PortInUseError(StartError):
    """Another process listens on the address and port."""


class BindError(StartError):
    """The address or port cannot be bound: no such address here, or no right to it."""


class TlsError(StartError):
    """The certificate or key for HTTPS cannot be used."""


class UnsafeBindError(StartError, ValueError):
    """The address can be reached from other machines, and nobody allowed that."""
