"""A supervisor without models that reports all the time; run as `python -m tests.net.reporter FOLDER PORT INTERVAL_S`,
to be killed. Its last line on standard output says that everything waiting has been acknowledged. No tests here.
"""

import sys
from pathlib import Path

from skerry_agent.config import AgentConfig, AgentSection, BoardSection, BrokerSection, DeviceSection
from skerry_agent.ports.clock import EventQueue
from skerry_agent.supervisor.backoff import Backoff
from skerry_agent.supervisor.link import MqttLink
from skerry_agent.supervisor.loop import Supervisor, new_boot_id
from skerry_agent.wire import topics
from skerry_agent.wire.broker_url import BrokerUrl
from skerry_agent.wire.telemetry import Sample

DEVICE = "reporter-01"
REPORTS = 60
"""After so many intervals it makes no more and waits until all are acknowledged."""


class _Nothing:
    """No process is ever started; one meter, which always shows something new, so that no interval is quiet."""

    def __init__(self):
        self._value = 1.0

    def samples(self, pids, duration_s, accelerator_s=0.0):
        self._value *= 1.5 if self._value < 1e6 else 1e-6
        return [Sample("temperature", self._value, "degC", "measured")]

    def active_energy(self, cpu_s, accelerator_s=0.0):
        return None

    def undervoltage_since(self, at):
        return None


def main() -> None:
    """Report until killed, or until done."""
    folder, port, interval_s = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    queue = EventQueue()
    config = AgentConfig(
        DeviceSection(DEVICE),
        BrokerSection(f"mqtt://127.0.0.1:{port}"),
        BoardSection("generic-x86"),
        AgentSection(telemetry_interval_s=interval_s),
        folder=str(folder),
    )
    address = BrokerUrl("mqtt", "127.0.0.1", port)
    link = MqttLink(address, DEVICE, lambda _n: (topics.state(DEVICE), b""), backoff=Backoff(0.05, 0.2), answer_s=1.0)
    supervisor = Supervisor(config, queue, link, _Nothing(), _Nothing(), new_boot_id())
    supervisor.start()
    link.start(queue.post, supervisor.link_up, supervisor.message, supervisor.acked)

    def end_when_empty() -> None:
        if supervisor.status().waiting_reports == 0:
            print("empty", flush=True)
        queue.after(0.02, end_when_empty)

    queue.after(REPORTS * interval_s, end_when_empty)
    queue.run()


if __name__ == "__main__":
    main()
