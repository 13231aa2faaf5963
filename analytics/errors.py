"""What can go wrong in an analysis.

AnalyticsError
├── DataError                a table cannot be used as it stands; the message names the column, and the row
├── TooFewDataError          there is not enough to train or to evaluate on; the message says how much there is
├── ModelFileError           bytes that are no model of this release
├── ModelMismatchError       a model was made for other features or another kind of drive than it was given
└── MissingLibraryError      what this needs is not installed; the message names the extra
"""


class AnalyticsError(Exception):
    """Base of all errors of this package."""


class DataError(AnalyticsError):
    """A table has the wrong columns, types or values."""


class TooFewDataError(AnalyticsError):
    """Too few drives, days or failures for an honest answer."""


class ModelFileError(AnalyticsError):
    """The bytes are damaged, of a newer release, or no model at all."""


class ModelMismatchError(AnalyticsError):
    """The model and what it was given do not fit together."""


class MissingLibraryError(AnalyticsError):
    """A library of the extra `analytics` is not installed."""
