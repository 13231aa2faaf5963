"""The HTTP edge: native REST, health and own metrics."""
