"""Histograms as expressions handle them: many side by side, with counts that arithmetic may have made fractional.

Bounds and numbering are those of Prometheus' native histograms of schema 0 to 8: bucket i of schema s holds
gamma**(i-1) < x <= gamma**i with gamma = 2**(2**-s); a negative bucket mirrors it.
"""

from dataclasses import dataclass

from api.promql.samples import Float64Array, Int64Array


@dataclass(frozen=True, slots=True)
class Histograms:
    """n histograms of one schema as flat arrays.

    offsets: int64[n+1]; histogram i owns the cells offsets[i]:offsets[i+1].
    cells: int64[m], ascending within a histogram: the sketch's own signed cells (quantiles/bins.py), zero included.
    counts: float64[m].
    totals: float64[n], how many values; NaN among them count here and in no cell.
    sums: float64[n].
    """

    schema: int
    offsets: Int64Array
    cells: Int64Array
    counts: Float64Array
    totals: Float64Array
    sums: Float64Array

    def __len__(self) -> int:
        return len(self.totals)
