"""What can go wrong while an expression is read or evaluated.

PromqlError
├── ExpressionError          no expression, or one of wrong types: Prometheus' bad_data
├── UnsupportedError         PromQL that this server does not have; says what to write instead, where there is something
├── EvaluationError          the data make it impossible: several matches, duplicate series
└── TooMuchError             it would read or hold more than the limits allow; says how much
"""


class PromqlError(Exception):
    """Base of all errors of this package."""


class ExpressionError(PromqlError):
    """The text is no expression; the message has the place where known, as line:column."""


class UnsupportedError(PromqlError):
    """The expression needs something that this server does not have."""


class EvaluationError(PromqlError):
    """The expression cannot be evaluated over these data."""


class TooMuchError(PromqlError):
    """The expression needs more than the limits allow; the message has the estimate and the limit."""
