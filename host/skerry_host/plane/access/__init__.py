"""Brings the registry's revocations into force at the broker, and knows whether they are."""
