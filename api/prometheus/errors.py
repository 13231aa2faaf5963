"""What this edge itself refuses, as Prometheus says it: an HTTP status and an errorType.

PrometheusError
├── BadDataError             400 bad_data: a parameter is missing or unreadable
├── BodyTooLargeError        413 bad_data: more than any question needs
├── QueryTimeoutError        503 timeout: the time of the query is up, in the queue or while it ran
└── QueryCanceledError       503 canceled: the client has gone; nobody reads the answer
"""

from typing import ClassVar


class PrometheusError(Exception):
    """Base of all errors of this package; the message is for the caller."""

    status: ClassVar[int] = 400
    error_type: ClassVar[str] = "bad_data"


class BadDataError(PrometheusError):
    """A parameter cannot be used."""

    @classmethod
    def of(cls, parameter: str, why: object) -> "BadDataError":
        """In Prometheus' words."""
        return cls(f'invalid parameter "{parameter}": {why}')


class BodyTooLargeError(PrometheusError):
    """The body of a POST is larger than the limit."""

    status = 413


class QueryTimeoutError(PrometheusError):
    """The query's time is up."""

    status = 503
    error_type = "timeout"


class QueryCanceledError(PrometheusError):
    """The client closed its connection."""

    status = 503
    error_type = "canceled"
