"""Immutable, signed releases in a content-addressed store. Knows nothing of builds, fleets or brokers."""
