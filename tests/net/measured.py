"""How large a message a broker passes on, as a plane finds it out. No tests here."""

from skerry_agent.wire import topics
from skerry_host.plane.broker.link import Link, Outgoing
from skerry_host.plane.broker.probe import Probe
from tests.kit.waiting import eventually


def measured(port):
    """What a plane would find out."""
    topic = topics.probe("skerry-plane-test")

    def take(message):
        probe.heard(message.payload)
        link.acknowledge([message])

    def send(topic, payload):
        eventually(lambda: link.connected, "it is connected again")
        return link.publish([Outgoing(topic, payload, retain=False)])

    link = Link(f"mqtt://127.0.0.1:{port}", "skerry-plane-test", (topic,), take)
    probe = Probe(topic, send)
    link.start()
    try:
        return probe.measure()
    finally:
        link.stop()
