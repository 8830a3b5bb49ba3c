"""The agent's link on what is no packet of this protocol: it says so in one line, and goes on."""

from tests.net.bench import Device, Host, blob, complaints, messages_of, reference
from tests.net.brokers import Mosquitto
from tests.net.cases import MALFORMED
from tests.net.proxy import Fault, Proxy

DATA = blob(300_000)
REF = reference(DATA)


def test_a_topic_that_is_no_text_is_one_line_and_costs_no_connection(tmp_path, capfd):
    with Mosquitto(tmp_path / "broker") as broker:
        host = Host(broker.port)
        host.retain(messages_of(DATA, REF))
        with Proxy(broker.port, Fault(garbage=MALFORMED["topic that is not UTF-8"])) as proxy:
            device = Device(proxy.port, tmp_path / "device")
            result = device.fetch(REF, 20.0)
            assert complaints(device, result, REF, DATA) == []
            assert proxy.connections == 1
        host.close()
    said = capfd.readouterr()
    assert said.err == "a message whose topic is no UTF-8 was ignored\n"
    assert said.out == ""
