"""The HTTP API that Prometheus has, over merged telemetry: Grafana and scripts need nothing new."""
