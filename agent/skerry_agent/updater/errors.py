"""The error that ends a job of the updater with a refusal."""

from skerry_agent.ports.jobs import Refusal
from skerry_agent.wire.errors import SkerryError


class RefusedError(SkerryError):
    """Ends a job with a refusal, which is its answer."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.detail)
        self.refusal = refusal
