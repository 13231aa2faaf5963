"""What can go wrong in a collector.

CollectorError
└── UnusableFrameError   an intact frame whose content does not fit its plan: a dead letter
"""


class CollectorError(Exception):
    """Base of all errors of this package."""


class UnusableFrameError(CollectorError):
    """The frame arrived whole, but what it says cannot be applied; the message names what is wrong."""
