"""The policy of a rollout: how devices may download, how long they may be silent, and how many may fail.

Data only. It is kept as JSON in the registry, so fields are added with defaults and never change their meaning.
"""

from typing import Annotated

from msgspec import Meta, Struct

from skerry_agent.wire.twin import TransferPolicy
from skerry_agent.wire.upgrades import DEFAULT_DEADLINE_S


class Policy(Struct, frozen=True):
    """Durations in seconds. `max_unsuccessful` is the largest fraction of a wave's devices (0..1) that may fail.

    `trial_s` is how soon a new agent must be healthy, of a rollout of the agent itself.
    """

    transfer: TransferPolicy = TransferPolicy()
    silence_s: Annotated[float, Meta(gt=0)] = 3600.0
    max_unsuccessful: Annotated[float, Meta(ge=0, le=1)] = 0.0
    trial_s: Annotated[float, Meta(ge=1, le=86_400)] = DEFAULT_DEADLINE_S
