"""How probable a count as high as this is by chance, exactly, and which of many such counts stand out.

Given all failures of a cluster, those of one node are binomial with the node's share of the exposure, if all nodes
fail alike: the exact comparison of two Poisson rates. Where counts scatter more than that between all nodes, the
negative binomial with the same mean and the measured variance takes its place.
"""

import math

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

#: Of the squared standardised counts, the smallest so many; and their mean where the counts are normal.
_KEPT, _KEPT_MEAN = 0.9, 0.623
_FEWEST = 10
#: So many standard deviations out, what is left is far below the smallest float that matters.
_FAR = 40.0


def binomial_tail(count: int, total: int, share: float) -> float:
    """P(X >= count) of `total` draws that each hit with probability `share`, summed term by term."""
    if count <= 0:
        return 1.0
    if count > total or share <= 0:
        return 0.0
    if share >= 1:
        return 1.0
    mean = total * share
    last = min(total, int(max(count, mean) + _FAR * math.sqrt(mean * (1 - share)) + 50))
    hits = np.arange(count, last, dtype=np.float64)  # each is followed by a term; the last by none
    ratios = np.log((total - hits) / (hits + 1)) + math.log(share) - math.log1p(-share)
    first = (
        math.lgamma(total + 1)
        - math.lgamma(count + 1)
        - math.lgamma(total - count + 1)
        + count * math.log(share)
        + (total - count) * math.log1p(-share)
    )
    return _sum_of_exp(first, ratios)


def overdispersed_tail(count: int, mean: float, dispersion: float) -> float:
    """P(X >= count) of the negative binomial with this mean and variance dispersion * mean; dispersion above 1."""
    if count <= 0:
        return 1.0
    if mean <= 0:
        return 0.0
    size, miss = mean / (dispersion - 1), 1 - 1 / dispersion
    first = (
        math.lgamma(count + size)
        - math.lgamma(count + 1)
        - math.lgamma(size)
        - size * math.log(dispersion)
        + count * math.log(miss)
    )
    last = int(max(count, mean) + _FAR * (math.sqrt(dispersion * mean) + dispersion) + 50)
    hits = np.arange(count, last, dtype=np.float64)
    return _sum_of_exp(first, np.log((hits + size) / (hits + 1)) + math.log(miss))


def dispersion_of(counts: Int64Array, exposure: Float64Array) -> float:
    """How many times a binomial's variance the counts scatter by, at least 1.

    The mean squared standardised count without the largest tenth, over what that is for normal variables: a few bad
    nodes do not excuse themselves. 1 unless it is above what chance alone makes of so many nodes (one-sided, 5 %);
    nodes with less than one expected failure say nothing about it.
    """
    total, whole = int(counts.sum()), float(exposure.sum())
    share = exposure / whole if whole > 0 else np.zeros_like(exposure)
    variance = total * share * (1 - share)
    usable = (total * share >= 1) & (variance > 0)
    nodes = int(usable.sum())
    if nodes < _FEWEST:
        return 1.0
    squares = np.sort((counts[usable] - total * share[usable]) ** 2 / variance[usable])
    scatter = float(squares[: int(nodes * _KEPT)].mean()) / _KEPT_MEAN
    return scatter if scatter > 1 + 1.645 * math.sqrt(2 / nodes) else 1.0


def rate_tail(counts: Int64Array, exposure: Float64Array, dispersion: float = 1.0) -> Float64Array:
    """Of each row, the probability of a count at least as high if its rate per exposure is that of the others.

    Args:
        dispersion: 1 for the exact binomial, above 1 for the negative binomial.
    """
    total, whole = int(counts.sum()), float(exposure.sum())
    found = np.ones(counts.size)
    if whole <= 0:
        return found
    for i, (count, held) in enumerate(zip(counts.tolist(), exposure.tolist(), strict=True)):
        if held <= 0:
            continue  # nothing was at stake there
        if dispersion > 1:
            others = whole - held
            mean = (total - count) * held / others if others > 0 else float(count)
            found[i] = (
                overdispersed_tail(count, mean, dispersion) if mean > 0 else binomial_tail(count, total, held / whole)
            )
        else:
            found[i] = binomial_tail(count, total, held / whole)
    return found


def benjamini_hochberg(p_values: Float64Array) -> Float64Array:
    """q-values: calling everything with q <= a keeps the expected share of false calls at or below a."""
    if not p_values.size:
        return p_values.copy()
    order = np.argsort(p_values, kind="stable")
    stepped = p_values[order] * p_values.size / np.arange(1, p_values.size + 1)
    q_values = np.empty_like(p_values)
    q_values[order] = np.minimum(np.minimum.accumulate(stepped[::-1])[::-1], 1.0)
    return q_values


def _sum_of_exp(first: float, log_ratios: Float64Array) -> float:
    """exp(first) * (1 + r0 + r0 r1 + ...), the ratios of neighbouring terms as logarithms."""
    terms = np.concatenate([[0.0], np.cumsum(log_ratios)])
    highest = float(terms.max())
    return min(1.0, math.exp(min(first + highest + math.log(float(np.exp(terms - highest).sum())), 0.0)))
