"""Scheduled work beside the flushes: one collector at a time does it, whichever holds the lease."""
