"""What the command line says of a device on which no supervisor runs: read from its disk, which stays as it is."""

from skerry_agent.cli.standalone import recorded_status
from skerry_agent.cli.status_lines import shown
from skerry_agent.config import AgentConfig, BoardSection, BrokerSection, DeviceSection
from skerry_agent.machine import settings
from skerry_agent.machine.records import Record, Slot, Slots, State
from skerry_agent.machine.settings import SettingsRecord
from skerry_agent.state.disk import make_folder
from skerry_agent.state.journal import Journal
from skerry_agent.state.settings import write_settings
from skerry_agent.wire.settings import SettingsOrder

FIRST = Record(slots=Slots(Slot("b", "m@1.0.0", "cpu", "a" * 64, "b" * 64)))


def test_a_look_at_a_damaged_journal_changes_nothing(tmp_path):
    path = tmp_path / "state" / "models" / "m" / "journal.json"
    for record in (FIRST, Record(State.FETCHING, FIRST.slots), FIRST):
        Journal(path).write(record)
    path.write_bytes(path.read_bytes()[:-3])
    config = AgentConfig(DeviceSection("d"), BrokerSection("mqtt://x"), BoardSection("test"), folder=str(tmp_path))
    for _ in range(2):
        status = recorded_status(config)
        assert status.models["m"].current.release == "m@1.0.0"
        assert "is damaged" in status.issues[0]
    path.unlink()
    assert "is missing" in recorded_status(config).issues[0]


def test_a_status_without_an_agent_says_what_is_set_from_afar(tmp_path):
    config = AgentConfig(DeviceSection("dev-1"), BrokerSection("mqtt://x"), BoardSection("test"), folder=str(tmp_path))
    make_folder(config.state_dir)
    trial = settings.ordered(SettingsRecord(), SettingsOrder("o1", {"hang_s": 20}), moved=False)
    write_settings(config.state_dir, settings.failed(trial, "no_x", "why"))
    status = recorded_status(config)
    assert (status.settings.outcome, status.settings.code) == ("rolled_back", "no_x")
    assert "  settings from afar: rolled back (no_x: why)" in shown(status)
    assert "    hang_s: 10.0 runs, 20.0 is wanted" in shown(status)
