"""What programs read: the fleet as JSON, metrics for Prometheus, and whether the plane is alive."""
