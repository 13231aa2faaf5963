"""Every error this package raises, so that a caller can catch by what it can act on.

    QuantilesError
    ├── SampleError               values, groups or indices of a wrong type, shape or range
    ├── ScaleError                a scale outside 0..8
    ├── LevelError                a quantile level outside [0, 1]
    ├── EmptySketchError          a question that needs at least one value
    ├── IncompatibleSketchError   two states that cannot be merged
    ├── SubtractionError          values to take away that were never added
    ├── StateOverflowError        a count above 2**62 or an integer sum outside +-2**94
    ├── WindowError               a window, period or times that do not fit together
    ├── CorruptSketchError        bytes or parts from outside that are not a valid sketch
    └── KernelError               kernels asked for that this installation does not have

All are ValueErrors too, except KernelError, which is a RuntimeError. What can go wrong between formats is in
converters/errors.py.
"""


class QuantilesError(Exception):
    """Base of all errors of this package."""


class SampleError(QuantilesError, ValueError):
    """Values, groups or indices of a wrong type, shape or range."""


class ScaleError(QuantilesError, ValueError):
    """A scale outside 0..8."""


class LevelError(QuantilesError, ValueError):
    """A quantile level that is NaN or outside [0, 1]."""


class EmptySketchError(QuantilesError, ValueError):
    """A question to a sketch that holds no value."""


class IncompatibleSketchError(QuantilesError, ValueError):
    """States of different scale or kind of sum, which have no exact merge."""


class SubtractionError(QuantilesError, ValueError):
    """Values to take away that were never added."""


class StateOverflowError(QuantilesError, ValueError):
    """A count above 2**62 or an integer sum outside +-2**94; carrying on would wrap it silently."""


class WindowError(QuantilesError, ValueError):
    """A window, period or times that do not fit together."""


class CorruptSketchError(QuantilesError, ValueError):
    """Bytes or parts from outside that are not a valid sketch."""


class KernelError(QuantilesError, RuntimeError):
    """Kernels of an unknown name, or numba ones where numba is not installed."""
