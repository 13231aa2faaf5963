"""What can go wrong in a collector.

CollectorError
├── MetricsPortError     the collector cannot listen where its metrics are to be shown
├── UnusableQueryError   a query that a job reads has not what the job wants of it
└── UnusableFrameError   an intact frame whose content does not fit its plan: a dead letter
"""


class CollectorError(Exception):
    """Base of all errors of this package."""


class MetricsPortError(CollectorError):
    """The collector cannot listen on `metrics_port`; the message names what to set."""


class UnusableFrameError(CollectorError):
    """The frame arrived whole, but what it says cannot be applied; the message names what is wrong."""


class UnusableQueryError(CollectorError):
    """A job of the collector cannot read the windows of a query; the message names what is missing."""
