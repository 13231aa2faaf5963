"""The errors that only converters raise; the others are in quantiles/errors.py.

    QuantilesError
    ├── CorruptSketchError   (there) input that is no valid histogram of its format
    ├── ConversionError      a valid histogram that a sketch cannot hold, with what to do instead
    └── MissingExtraError    a converter whose optional packages are not installed

ConversionError is a ValueError too, MissingExtraError an ImportError.
"""

from quantiles.errors import QuantilesError


class ConversionError(QuantilesError, ValueError):
    """A valid histogram that a sketch cannot hold: buckets too coarse or of another kind, counts that are not whole."""


class MissingExtraError(QuantilesError, ImportError):
    """A converter whose optional packages are not installed."""
