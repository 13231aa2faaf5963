"""Benchmarks of adaptive partitioning."""
