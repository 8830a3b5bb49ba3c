"""What child processes are started with: this one's environment without what is secret in it, and limits.

A child needs none of it, and what is in its environment shows in /proc, in core dumps, and to whatever it starts.
"""

import os
import resource
from collections.abc import Mapping

SECRETS = frozenset({"SKERRY_BROKER_CREDENTIALS", "SKERRY_PASSPHRASE", "SKERRY_REGISTRY", "PGPASSWORD"})


def environment(own: Mapping[str, str] = os.environ) -> dict[str, str]:
    """For `env=` of a child that is none of our own commands."""
    return {name: value for name, value in own.items() if name not in SECRETS}


def limit(memory_bytes: int) -> None:
    """Bound this process's address space, and write no core dumps; a limit that is lower already stays as it is."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
