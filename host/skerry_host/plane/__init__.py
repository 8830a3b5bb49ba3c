"""The running host: registry, broker, ingest, rollout loop, HTTP and the web page."""
