"""The environment that child processes are started with: this one's, without what is secret in it.

A child needs none of it, and what is in its environment shows in /proc, in core dumps, and to whatever it starts.
"""

import os
from collections.abc import Mapping

SECRETS = frozenset({"SKERRY_BROKER_CREDENTIALS", "SKERRY_PASSPHRASE", "SKERRY_REGISTRY", "PGPASSWORD"})


def environment(own: Mapping[str, str] = os.environ) -> dict[str, str]:
    """For `env=` of a child that is none of our own commands."""
    return {name: value for name, value in own.items() if name not in SECRETS}
