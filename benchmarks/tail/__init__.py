"""Adaptive parallelism measured: policies, the simulator, what-if answers against the truth, causes, real runs."""
