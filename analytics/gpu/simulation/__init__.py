"""Simulated clusters on which policies of retrying failed jobs are compared; nothing here was measured."""
