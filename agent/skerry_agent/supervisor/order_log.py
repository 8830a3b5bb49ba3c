"""What is kept on disk of the order for the agent itself that is being carried out: since when, and how often begun."""

from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from skerry_agent.launch import files
from skerry_agent.state.disk import DiskError, read_record, write_record
from skerry_agent.wire.upgrades import AgentOrder

ORDER_FILE = "order.json"


class OrderLog(Struct, frozen=True):
    """`installs` counts the installations that were begun for a deployment."""

    deployment: str
    ordered_at: float
    installs: int = 0


def known(folder: Path, order: AgentOrder, now: float) -> OrderLog:
    """What is known of an order from before a restart; else it is new."""
    try:
        found = read_record(folder / ORDER_FILE, OrderLog)
    except DiskError:
        found = None
    return found if found is not None and found.deployment == order.deployment else OrderLog(order.deployment, now)


def counted(folder: Path, log: OrderLog) -> OrderLog:
    """With one more installation, written down before it is begun. Raises `OSError`."""
    more = replace(log, installs=log.installs + 1)
    files.make(folder)
    write_record(folder / ORDER_FILE, more)
    return more
