"""Jarvis: how much of a query an agent runs itself within its CPU budget, beside fixed ways to split it."""
