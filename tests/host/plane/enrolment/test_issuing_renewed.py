"""The issuing CA is renewed under a fleet that runs: who was enrolled stays, and who comes is received."""

import contextlib
import json

import pytest

from skerry_agent.wire.enrolment import claim_name
from tests.kit.boards import Board
from tests.kit.commands import WITH_IDENTITIES, serving, skerry
from tests.kit.home import make_home
from tests.kit.programs import require_program
from tests.kit.waiting import eventually

pytestmark = pytest.mark.system

PORTS = ("--port", "0", "--enroll-port", "0", "--old-port", "0", "--no-http")


def enrolled(home, folder, device):
    """A board that has enrolled as this device, by a folder of its own."""
    skerry(home, "device", "provision", device, "--board", "generic-x86", "--config-only", "--out", str(folder))
    board = Board(folder)
    claims = json.loads(skerry(home, "device", "claims", "--json").stdout)
    number = next(row["number"] for row in claims if row["device"] == device)
    return board, board.enrol(claim_name(number))


def moved(board, home):
    """The same folder after a restart of the plane on other ports."""
    said = json.loads((home.root / "serve.json").read_text())
    text = (board.folder / "agent.toml").read_text()
    for name, section in (("broker", "[broker]"), ("enrolment", "[enrolment]")):
        head, _, rest = text.partition(f"{section}\nurl = ")
        text = f'{head}{section}\nurl = "{said[name]}"\n{rest.partition(chr(10))[2]}'
    (board.folder / "agent.toml").write_text(text)
    return board


def test_devices_of_both_issuing_cas_are_received_and_can_be_revoked(tmp_path):
    require_program("mosquitto", "mosquitto")
    home = make_home(tmp_path / "home")
    with serving(home, WITH_IDENTITIES, *PORTS):
        old, old_answer = enrolled(home, tmp_path / "old", "old-1")
        skerry(home, "keys", "take-root", str(tmp_path / "stick"))
        skerry(home, "keys", "renew-issuing", "--root", str(tmp_path / "stick"))
        late, late_answer = enrolled(home, tmp_path / "late", "late-1")  # the broker knows no list of the next one yet
        late.connect(late_answer, tmp_path / "s1").close()
    with serving(home, WITH_IDENTITIES, *PORTS), contextlib.ExitStack() as stack:
        new, new_answer = enrolled(home, tmp_path / "new", "new-1")
        assert new_answer.certificate.split(b"-----END")[1] != old_answer.certificate.split(b"-----END")[1]
        boards = {"new-1": (new, new_answer), "old-1": (moved(old, home), old_answer)}
        for name, (board, answer) in boards.items():
            client = board.connect(answer, tmp_path / "state" / name)
            stack.callback(client.close)
            assert client.connected
        for name, (board, answer) in boards.items():
            skerry(home, "device", "revoke", name, "--reason", "lost")
            eventually(lambda b=board, a=answer, n=name: _refused(b, a, tmp_path / n), f"{name} is refused")


def _refused(board, answer, folder):
    try:
        client = board.connect(answer, folder)
    except OSError:
        return True
    try:
        return not client.connected
    finally:
        client.close()
