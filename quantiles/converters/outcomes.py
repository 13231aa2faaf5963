"""What a conversion returns: the result beside everything that it did not carry over exactly."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from quantiles.sketch import Sketch

Form = TypeVar("Form")


@dataclass(frozen=True, slots=True)
class ReadSketch:
    """A sketch made from a foreign histogram.

    sketch: the sketch. A quantile is within sketch.error_bound + added_error (relative) of the value that was recorded.
    added_error: 0.0 where the buckets line up, which is the usual case.
    rank_error: how far a level may be off because fractional counts were rounded, as a share of all values; 0.0 where
        counts were whole.
    zero_threshold: values of up to this magnitude may have been counted as zero by the source; they are 0 here.
    estimated: which of "min", "max" and "sum" the source did not say, or said less exactly than its buckets. They are
        worked out from the buckets: minimum and maximum within the bound of a quantile, the sum within it times sum|x|.
    """

    sketch: Sketch
    added_error: float
    rank_error: float
    zero_threshold: float
    estimated: frozenset[str]


@dataclass(frozen=True, slots=True)
class Written(Generic[Form]):
    """A sketch written in a foreign form, and how many values that form has no place for (NaN, infinities)."""

    form: Form
    left_out: int
