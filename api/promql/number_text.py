"""Numbers as Prometheus writes them: shortest decimals that read back the same, never an exponent."""

import math

import numpy as np


def number_text(value: float) -> str:
    """The number as text: "0.5", "100000", "+Inf", "NaN"."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return np.format_float_positional(value, trim="-")
