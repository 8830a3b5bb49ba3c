"""What the command line says of a device on which no supervisor runs: read from its disk, which stays as it is."""

from skerry_agent.cli.standalone import recorded_status
from skerry_agent.config import AgentConfig, BoardSection, BrokerSection, DeviceSection
from skerry_agent.machine.records import Record, Slot, Slots, State
from skerry_agent.state.journal import Journal

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
