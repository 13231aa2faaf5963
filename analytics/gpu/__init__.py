"""Why GPU jobs die, whose fault it is, and whether a retry is worth it."""
