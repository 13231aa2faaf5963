"""A service that chooses how parallel each request runs by Tailwatch's degree table, and its client library.

`degree_table.py` and `request_samples.py` are what a service of one's own takes; they need the standard library only.
The others are a small server to try them with: pricing options by Monte Carlo in a pool of threads.
"""
