"""The HTTP interface of the running plane: a page for people, JSON for programs, metrics for Prometheus. Reads only."""
