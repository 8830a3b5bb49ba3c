"""Who a device is by its files alone, where no agent runs. Reads, never changes."""

from pathlib import Path

from skerry_agent.identity.ports import IdentityStatus
from skerry_agent.state.identity import IdentityStore


def recorded_identity(state: Path, *, enrols: bool) -> IdentityStatus | None:
    """None where the device was provisioned without an identity."""
    store = IdentityStore(state)
    stored = store.current() or (None if store.issue else store.renewed())
    if stored is not None:
        return IdentityStatus("enrolled", stored.identity.device, stored.identity.not_after)
    return IdentityStatus("none", detail=store.issue or "it is not enrolled yet") if enrols or store.issue else None
