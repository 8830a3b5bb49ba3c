"""Takes a model off this device: ends its processes, closes its sockets and forgets its journal.

What its bundles hold is collected afterwards like everything that no journal knows. The factory release stays where it
is, for the agent never changes that. It does not serve while the host wants the model removed: the order is on the disk
once it is accepted, and is looked at before any unit is made.
"""

import contextlib
from pathlib import Path

from skerry_agent import log
from skerry_agent.deployment.launcher import Listeners
from skerry_agent.deployment.unit import Unit
from skerry_agent.state.disk import remove_folder
from skerry_agent.supervisor.listeners import close_unix
from skerry_agent.wire.twin import Desired


def removed_models(desired: Desired | None) -> frozenset[str]:
    """The models that the host wants off this device: those of the list that it does not order as well."""
    if desired is None:
        return frozenset()
    return frozenset(desired.removed) - {assigned.model for assigned in desired.assignments}


def end(unit: Unit, listeners: Listeners) -> None:
    """End a model's processes and close its sockets: clients see at once that nobody serves it any more."""
    unit.shut_down()
    close_unix(listeners)
    for each in (listeners.tcp, listeners.unix, listeners.regions):
        if each is not None:
            with contextlib.suppress(OSError):
                each.close()
    log.info(f"{unit.model}: the host has taken it off this device", model=unit.model)


def forget(folder: Path) -> str | None:
    """Remove a model's journal; why it cannot be, and the next start tries again."""
    try:
        remove_folder(folder)
    except OSError as error:
        return f"{folder.name} cannot be removed from the disk: {error.strerror}"
    return None
