"""Drives: hard rules, the forecast of wear, the probability of failing, and one state that an operator can act on."""
