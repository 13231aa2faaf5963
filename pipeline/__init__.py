"""Streaming SQL as data: queries, plans, operators and their partial results."""
