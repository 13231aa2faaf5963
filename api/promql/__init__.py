"""PromQL over merged telemetry: parsing and evaluation, free of HTTP and SQL."""
