"""What an expression evaluates to, ready to be written as JSON by whoever asked."""

from dataclasses import dataclass, field
from typing import Literal

from api.promql.histograms import Histograms
from api.promql.samples import Float64Array, Int64Array, Labels

Kind = Literal["vector", "matrix", "scalar", "string"]


@dataclass(frozen=True, slots=True)
class Answer:
    """The points of n series: numbers, histograms, or both.

    kind: of an instant query vector, matrix (a bare range selector), scalar or string; of a range query always matrix.
    labels: n label sets in the order to show them. A scalar over a range is one series without labels.
    float_series, float_times_ns, float_values: m points, by series, then time.
    histogram_series, histogram_times_ns, histograms: k points, likewise.
    text: the value of a string.
    warnings, infos: sentences for whoever reads the answer, each once.
    """

    kind: Kind
    labels: list[Labels]
    float_series: Int64Array
    float_times_ns: Int64Array
    float_values: Float64Array
    histogram_series: Int64Array
    histogram_times_ns: Int64Array
    histograms: Histograms
    text: str = ""
    warnings: list[str] = field(default_factory=list)
    infos: list[str] = field(default_factory=list)
