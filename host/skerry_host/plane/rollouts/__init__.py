"""Turns requests for rollouts and rollbacks into each device's desired state, in the registry; `delivery` sends it."""
