"""Benchmarks of the API: questions over HTTP, beside a real Prometheus and DuckDB on the same data."""
