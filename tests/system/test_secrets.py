"""Where secrets are while plane and device work with a broker that asks for passwords: in their files, nowhere else.

Not on a command line, in what is printed or logged, in what a child inherits, in serve.json, or in a device's folder.
"""

import stat
import subprocess
from pathlib import Path

import pytest

from skerry_host.home import Home
from tests.kit.brokers import Mosquitto
from tests.kit.certificates import SERVER, make_certificate
from tests.kit.commands import serving, skerry, skerry_process
from tests.kit.home import make_home
from tests.kit.programs import require_program
from tests.kit.secrets import in_files, in_processes, key_lines, parent_of, processes, read
from tests.kit.waiting import eventually, listens
from tests.system.fleet import BOARD, Device

pytestmark = pytest.mark.system

PLANES, DEVICES = "hunter2%40@planes-secret", "hunter2-device-secret"


class Guarded(Mosquitto):
    """Over TLS, for a plane and a device that have passwords."""

    def __init__(self, folder, name="127.0.0.1"):
        super().__init__(folder)
        self.authority = make_certificate(folder, "authority", authority=True)
        server = make_certificate(folder, "server", signer=self.authority, usage=SERVER, san=name)
        (folder / "users").write_text(f"plane:{PLANES}\nshelf-01:{DEVICES}\n")
        passwords = require_program("mosquitto_passwd", "mosquitto")
        subprocess.run([passwords, "-U", str(folder / "users")], check=True, stderr=subprocess.DEVNULL)
        lines = [f"password_file {folder}/users", f"certfile {server.pem}", f"keyfile {server.key_file}"]
        text = self._conf.read_text().replace("allow_anonymous true", "allow_anonymous false")
        self._conf.write_text("\n".join([text, *lines, ""]))
        self.url = f"mqtts://127.0.0.1:{self.port}"

    def start(self):
        self._process = self.spawn()
        eventually(lambda: listens(self.port), "it listens")


def credentials(path: Path, user: str, password: str) -> Path:
    path.write_text(f"{user}:{password}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def home(tmp_path) -> Home:
    return make_home(tmp_path / "home")


def test_over_a_broker_with_passwords_no_secret_leaves_its_file(tmp_path, home):
    """Cases T6 and T7: provisioning copied the plane's own user and password into every agent.toml."""
    with Guarded(tmp_path / "broker") as broker:
        planes = credentials(tmp_path / "plane", "plane", PLANES)
        options = "--broker", broker.url, "--broker-credentials", str(planes), "--broker-ca", str(broker.authority.pem)
        with serving(home, *options, "--http-port", "0") as plane:
            assert plane.broker == broker.url
            device = provisioned(home, tmp_path, broker)
            device.start()
            try:
                eventually(lambda: (device.status() or {}).get("connected"), "it is connected")
                assert in_processes(PLANES, DEVICES) == []
            finally:
                device.stop()
        assert in_files(tmp_path, PLANES, DEVICES) == ["device/credentials", "plane"]
        assert PLANES not in (device.folder / "credentials").read_text()


def provisioned(home, tmp_path, broker) -> Device:
    """A device of its own user; what provisioning says shows no password."""
    own, folder = credentials(tmp_path / "own", "shelf-01", DEVICES), tmp_path / "device"
    told = skerry(
        home,
        "device",
        "provision",
        "shelf-01",
        "--board",
        BOARD,
        "--credentials",
        str(own),
        "--config-only",
        "--out",
        str(folder),
    )
    own.unlink()
    assert DEVICES not in told.stdout + told.stderr
    assert PLANES not in told.stdout + told.stderr
    text = (folder / "agent.toml").read_text()
    assert f'url = "{broker.url}"' in text
    (folder / "fleet-ca.pem").write_bytes(broker.authority.pem.read_bytes())
    device = Device("shelf-01", folder)
    device.configure("broker", 'ca_file = "fleet-ca.pem"')
    return device


def test_a_child_of_the_plane_inherits_no_secret_of_its_environment(home, monkeypatch):
    """Case T7, for the environment: mosquitto was started with the registry's and the broker's password in it."""
    monkeypatch.setenv("SKERRY_BROKER_CREDENTIALS", f"plane:{PLANES}")
    with serving(home, "--port", "0", "--http-port", "0") as plane:
        children = [pid for pid in processes() if str(plane.pid) == parent_of(pid)]
        assert children
        assert [pid for pid in children if PLANES.encode() in read(pid, "environ")] == []


def test_a_password_in_the_address_is_warned_of_and_kept_nowhere(tmp_path, home):
    """A script of before works on, and a serve.json of before is written anew without what it held."""
    (home.root / "serve.json").write_text(f'{{"broker": "mqtts://plane:{DEVICES}@10.9.8.7:1", "page": null}}')
    told = skerry(
        home, "device", "provision", "shelf-01", "--board", BOARD, "--config-only", "--out", str(tmp_path / "device")
    )
    assert "it may refuse shelf-01, which has none: put the device's own" in told.stderr
    assert 'url = "mqtts://10.9.8.7:1"' in (tmp_path / "device" / "agent.toml").read_text()
    with Guarded(tmp_path / "broker") as broker:
        url = f"mqtts://shelf-01:{DEVICES}@127.0.0.1:{broker.port}"
        with serving(home, "--broker", url, "--broker-ca", str(broker.authority.pem), "--http-port", "0"):
            pass
    assert "other users of this machine see the password in --broker" in (home.root / "serve.log").read_text()
    assert in_files(tmp_path, DEVICES) == []


def test_a_private_authority_and_a_name_that_is_not_in_the_certificate(tmp_path, home):
    """Case T8: over mqtts with a private authority it connects, and otherwise says why in one line."""
    planes = credentials(tmp_path / "plane", "plane", PLANES)
    with Guarded(tmp_path / "broker", "broker.example") as broker:
        ca = "--broker-ca", str(broker.authority.pem)
        told = [refused(home, broker.url, planes), refused(home, broker.url, planes, *ca)]
    assert "signed by an unknown authority" in told[0]
    assert "--broker-ca FILE" in told[0]
    assert "IP address mismatch" in told[1]
    assert "use the name that is in the certificate" in told[1]


def test_a_provisioned_folder_holds_no_secret_but_its_claim(tmp_path, home):
    """Case T6, for every kind of folder over a broker with identities."""
    skerry(home, "device", "provision", "shelf-01", "--board", BOARD, "--config-only", "--out", str(tmp_path / "one"))
    skerry(home, "device", "claim", "--count", "3", "--board", BOARD, "--config-only", "--out", str(tmp_path / "many"))
    keys = key_lines(home.root)
    assert len(keys) > 4
    for folder in (tmp_path / "one", tmp_path / "many"):
        assert in_files(folder, "PRIVATE KEY") == ["claim.key"]
        assert in_files(folder, *keys, str(home.root)) == []
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "claim.key")}
        assert modes == {folder.name: 0o700, "claim.key": 0o600}


MISTAKES = {
    "credentials that others may read": ("0644", f"plane:{PLANES}", "has mode 0644"),
    "no credentials": ("0600", "plane", "does not hold a user and a password"),
}


@pytest.mark.parametrize(("mode", "text", "says"), MISTAKES.values(), ids=MISTAKES)
def test_credentials_that_cannot_be_used_are_one_line(tmp_path, home, mode, text, says):
    planes = tmp_path / "plane"
    planes.write_text(text)
    planes.chmod(int(mode, 8))
    assert says in refused(home, "mqtt://127.0.0.1:9", planes)


def refused(home, url, planes, *more) -> str:
    """The one line that `skerry serve` says."""
    done = skerry_process(home, "serve", "--no-http", "--broker", url, "--broker-credentials", str(planes), *more)
    assert done.returncode in {1, 2}
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert "no broker answers" not in done.stderr
    assert PLANES not in done.stderr
    return done.stderr
