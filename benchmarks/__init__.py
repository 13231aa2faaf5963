"""Measurements of Tailwatch beside its peers: one package per area, run by `python -m benchmarks.<area>`."""
