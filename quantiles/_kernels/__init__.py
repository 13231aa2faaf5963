"""The hot loops, once in NumPy and once in numba, under the same names; `choice` says which of them runs."""
