"""Puts the supervisor together from real parts and runs it until a signal."""

import signal

from skerry_agent.children import RealProcesses
from skerry_agent.clock import EventQueue
from skerry_agent.config import AgentConfig, parse_broker_url
from skerry_agent.link import MqttLink
from skerry_agent.local import listen
from skerry_agent.loop import Supervisor, new_boot_id, state_folder
from skerry_agent.meters import BoardMeters
from skerry_agent.wire import codec, topics
from skerry_agent.wire.twin import DeviceState

WILL_SEQUENCE = 2**62
"""The last will is written before anything else is said, but it is the last word of its connection."""


def run(config: AgentConfig) -> int:
    """Run until SIGTERM or SIGINT; 0 when it ended in order."""
    device, boot = config.device.id, new_boot_id()
    state = state_folder(config)
    queue = EventQueue()
    death = DeviceState(device, boot, WILL_SEQUENCE, online=False)
    link = MqttLink(
        parse_broker_url(config.broker.url), device, (topics.state(device), codec.encode(death)), config.broker.ca_file
    )
    processes = RealProcesses(queue.post, config.trust_file)
    supervisor = Supervisor(config, queue, link, processes, BoardMeters(config.board), boot)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: queue.post(supervisor.stop))
    supervisor.start()
    door = listen(state, queue.post, supervisor.local)
    link.start(queue.post, supervisor.link_up, supervisor.message, supervisor.acked)
    queue.run()
    link.stop()
    door.close()
    return 0
