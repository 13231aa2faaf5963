"""What can go wrong in an analysis.

AnalyticsError
├── DataError                a table cannot be used as it stands; the message names the column, and the row
├── TooFewDataError          there is not enough to train or to evaluate on; the message says how much there is
├── ModelFileError           bytes that are no model of this release
├── SignatureFileError       a file of rules for GPU jobs cannot be used; one line for each fault, with row and field
├── ModelMismatchError       a model was made for other features or another kind of drive than it was given
└── MissingLibraryError      what this needs is not installed; the message names the extra
"""

from collections.abc import Sequence


class AnalyticsError(Exception):
    """Base of all errors of this package."""


class DataError(AnalyticsError):
    """A table has the wrong columns, types or values."""


class TooFewDataError(AnalyticsError):
    """Too few drives, days or failures for an honest answer."""


class ModelFileError(AnalyticsError):
    """The bytes are damaged, of a newer release, or no model at all."""


class SignatureFileError(AnalyticsError):
    """Rules that cannot be used; `problems` holds one line for each fault found."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class ModelMismatchError(AnalyticsError):
    """The model and what it was given do not fit together."""


class MissingLibraryError(AnalyticsError):
    """A library of the extra `analytics` is not installed."""
