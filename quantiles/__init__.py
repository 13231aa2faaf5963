"""Mergeable quantile sketches: maths and bytes."""
