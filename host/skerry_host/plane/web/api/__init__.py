"""The HTTP API: the fleet as JSON, metrics for Prometheus, and a health check."""
