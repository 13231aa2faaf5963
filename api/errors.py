"""What can go wrong at the HTTP edge, as exceptions that know their status and how to say it.

    ApiError
    ├── RequestError              4xx: the question cannot be answered as it was asked
    │   ├── ParameterError        400  a parameter is missing, unknown, repeated or unreadable
    │   ├── LimitError            400  more was asked for than one answer may hold
    │   ├── WrongFunctionError    400  the metric exists but does not answer this kind of question
    │   └── UnknownNameError      404  no such metric or label; names the nearest one
    ├── UnavailableError          503: the question is fine, the answer cannot be had now
    │   ├── DatabaseUnavailableError   locked, full, gone, damaged or of another schema
    │   ├── QuestionTimeoutError       not answered within the longest time a question may take
    │   ├── ClientGoneError            nobody waits for the answer any more
    │   ├── BusyError                  too many large questions at a time
    │   └── NotReadyError              a readiness check failed
    └── StartError                the server cannot start; the command line prints it as one line
        ├── PortInUseError        another process listens there
        ├── BindError             the address or port cannot be bound at all
        └── UnsafeBindError       reachable from other machines without anyone having allowed it

api/problems.py turns the first two branches (and everything unforeseen) into RFC 9457 problem documents.
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
    """No metric or label has this name."""

    slug = "unknown-name"
    title = "No such metric or label"
    status = 404


class UnavailableError(ApiError):
    """The answer cannot be had now; asking again later may work."""

    slug: ClassVar[str] = "unavailable"
    title: ClassVar[str] = "The service cannot answer now"

    def __init__(self, detail: str, *, retry_after_s: int = 1, checks: Mapping[str, object] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.members: dict[str, object] = {} if checks is None else {"checks": dict(checks)}


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


class UnsafeBindError(StartError, ValueError):
    """The address can be reached from other machines, and nobody allowed that."""
