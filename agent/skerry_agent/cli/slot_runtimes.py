"""Which runtimes the current models of this device run with, read from its journals. Changes nothing."""

from skerry_agent.config import AgentConfig
from skerry_agent.machine.records import Slot
from skerry_agent.state.journal import Journal
from skerry_agent.state.runtimes import RUNTIMES, RuntimeFolders
from skerry_agent.wire.names import is_model_name


def current_slots(config: AgentConfig) -> dict[str, Slot]:
    """The current slot of each model that has one."""
    folders = {path.parent for path in (config.state_dir / "models").glob("*/journal.json*")}
    read = {path.name: Journal(path / "journal.json").read()[0] for path in folders if is_model_name(path.name)}
    return {name: record.slots.current for name, record in read.items() if record.slots.current is not None}


def runtime_dir(config: AgentConfig, slot: Slot) -> str:
    """The folder that goes before all others on the path of its runner; empty where that is the base environment."""
    runtimes = RuntimeFolders(config.state_dir / RUNTIMES)
    if slot.runtime is None or not runtimes.usable(slot.runtime):
        return ""
    return str(runtimes.folder(slot.runtime))
