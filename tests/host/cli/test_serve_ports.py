"""Where `skerry serve` listens, above all on a home whose devices were provisioned before there were identities."""

import pytest

from skerry_host.cli.serve_ports import Asked, called_port, ports
from skerry_host.plane.broker.secured import Ports
from skerry_host.plane.errors import BrokerError
from skerry_host.plane.provision import Addresses

PLAIN = Addresses("mqtt://127.0.0.1:1900")
"""As the host of before wrote it: without saying how secure the broker is."""


@pytest.mark.parametrize(
    ("asked", "called", "waiting", "expected"),
    [
        (Asked(None, 8884, None), None, 0, Ports(8883, 8884, 1883)),
        (Asked(None, 8884, None), 1900, 3, Ports(8883, 8884, 1900)),
        (Asked(None, 8884, 1901), 1900, 3, Ports(8883, 8884, 1901)),
        (Asked(1900, 8884, 1901), 1900, 3, Ports(1900, 8884, 1901)),
        (Asked(0, 0, 0), 1900, 3, Ports(0, 0, 0)),
        (Asked(1900, 8884, None), 1900, 0, Ports(1900, 8884, 0)),
        (Asked(1883, 8884, None), None, 0, Ports(1883, 8884, 0)),
    ],
    ids=["first", "as_before", "asked", "both_asked", "free", "nobody_left", "new_home"],
)
def test_devices_without_an_identity_are_heard_where_they_call(asked, called, waiting, expected):
    assert ports(asked, called, waiting) == (expected, "")


@pytest.mark.parametrize(("port", "called"), [(1900, 1900), (1883, None), (1883, 1883)])
def test_a_script_of_before_that_says_port_leaves_that_port_to_the_devices_that_call_it(port, called):
    """`skerry serve --port 1883` cut the whole fleet off, and the plane off its own work."""
    chosen, warning = ports(Asked(port, 8884, None), called, 3)
    assert chosen == Ports(8883, 8884, port)
    assert f"say --port 8883 --old-port {port} from now on" in warning
    assert "3 devices" in warning


@pytest.mark.parametrize("asked", [Asked(1900, 8884, 1900), Asked(None, 8884, 8883), Asked(8883, 8884, None)])
def test_one_port_for_both_is_refused_while_there_are_such_devices(asked):
    with pytest.raises(BrokerError, match="1 device without an identity, and that of TLS; give TLS another one"):
        ports(asked, 8883, 1)


@pytest.mark.parametrize(
    ("before", "port"),
    [
        (PLAIN, 1900),
        (Addresses("mqtt://10.0.0.1:1901"), 1901),
        (Addresses("mqtts://127.0.0.1:8883", security="mtls"), None),
        (Addresses("mqtts://127.0.0.1:8883", security="mtls", old_port=1900), 1900),
        (Addresses("mqtt://broker.lan", security="external"), None),
        (Addresses("what?"), None),
    ],
)
def test_where_they_call_is_what_the_last_serve_has_noted(before, port):
    assert called_port(before) == port
