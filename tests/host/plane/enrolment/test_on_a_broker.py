"""Boards enrol, wait and are revoked over a real mosquitto, with the plane and the commands as a user runs them."""

import contextlib
import hashlib
import shutil
import tempfile
import threading
import time
from pathlib import Path

import pytest

from skerry_agent.wire import codec, topics
from skerry_agent.wire.enrolment import EnrolmentAnswer
from skerry_agent.wire.twin import DeviceState
from skerry_host.identity.authority import Authority
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import identities, twins
from tests.kit.boards import Board
from tests.kit.callers import Caller
from tests.kit.commands import WITH_IDENTITIES, serving, skerry
from tests.kit.home import make_home
from tests.kit.programs import require_program
from tests.kit.waiting import eventually

BOARDS = 50


@pytest.fixture(scope="module")
def plane():
    """One plane for all tests of this file: each has claims and devices of its own."""
    require_program("mosquitto", "mosquitto")
    folder = Path(tempfile.mkdtemp(prefix="skerry-enrolment-"))
    home = make_home(folder / "home")
    ports = ("--port", "0", "--enroll-port", "0", "--old-port", "0", "--http-port", "0")
    try:
        with serving(home, WITH_IDENTITIES, *ports) as running:
            yield home
            assert running.stop() == 0
    finally:
        shutil.rmtree(folder)


def told(home, *words) -> str:
    return skerry(home, "device", *words).stdout


def claim(home, folder: Path, *words: str) -> str:
    """A new claim's principal; its folder is written."""
    said = codec.decode(told(home, "claim", *words, "--config-only", "--out", str(folder), "--json"), dict)
    return said["claim"]


def records(folder: Path, names: list[str]) -> Path:
    """A file of records, each with its name as the serial of its board."""
    file = folder / "batch.csv"
    file.write_text("id,board,tags,serial\n" + "".join(f"{name},generic-x86,lab,SN-{name}\n" for name in names))
    return file


def identity(home, device):
    with open_registry(home.registry) as opened, opened.read() as session:
        return identities.find(session, device)


def is_online(home, device) -> bool:
    with open_registry(home.registry) as opened, opened.read() as session:
        return twins.is_online(session, device)


def birth(device: str, sequence: int = 1) -> bytes:
    return codec.encode(DeviceState(device, "b" * 16, sequence, online=True, agent="0.1"))


def test_fifty_boards_with_one_claim_are_all_enrolled_within_a_minute_by_their_records(plane, tmp_path):
    """Case I1 of the threat table, and I9: no board of a claim throws another out, each keeps its connection."""
    names = [f"fifty-{number:02}" for number in range(BOARDS)]
    principal = claim(plane, tmp_path / "image", "--batch", str(records(tmp_path, names)), "--days", "1")
    boards = {name: Board(tmp_path / "image", f"SN-{name}") for name in names}
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        clients = {name: board.client() for name, board in boards.items()}
        for client in clients.values():
            stack.callback(client.close)
        asking = [threading.Thread(target=boards[n].ask, args=(clients[n], principal)) for n in names]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        eventually(lambda: all(boards[n].answers(clients[n]) for n in names), "all are answered", 30)
        took = time.monotonic() - began
        assert all(client.connected and not client.refused for client in clients.values())
    given = {name: boards[name].answers(clients[name])[0].device for name in names}
    assert given == {name: name for name in names}
    assert took < 60
    late = Board(tmp_path / "image", f"SN-{names[0]}").enrol(principal)
    assert (late.status, late.code) == ("refused", "claim_used_up")


def test_a_stolen_claim_gets_only_pending_and_reads_nothing_but_answers(plane, tmp_path):
    """Case I2 of the threat table, where devices ask; what it may do in operation is a matter of the access rules."""
    principal = claim(plane, tmp_path / "image", "--count", "2", "--board", "generic-x86")
    thief = Board(tmp_path / "image", "SN-stolen")
    client = thief.client()
    try:
        for topic in ("#", topics.ALL_ENROLL_REQUESTS, topics.ALL_STATES, "skerry/v1/blob/+/+"):
            client.subscribe(topic)
        Board(tmp_path / "image").enrol(principal)
        thief.ask(client, principal)
        eventually(lambda: thief.answers(client), "the thief is answered")
        assert {each.status for each in thief.answers(client)} == {"pending"}
        assert all(topic.endswith("/cert") for topic, _ in client.heard)
    finally:
        client.close()
    assert thief.code in told(plane, "pending")


def with_the_claim_of(image, client_id):
    """Anybody who has the folder, under an id of his choice."""
    pem = image.parent / "stolen.pem"
    pem.write_bytes((image / "claim.pem").read_bytes() + (image / "claim.key").read_bytes())
    port = int(Board(image).config["enrolment"]["url"].rpartition(":")[2])
    return Caller(port, image / "fleet-ca.pem", pem, client_id)


def test_a_claim_that_is_closed_cannot_even_hold_connections(plane, tmp_path):
    """Case I2: else a stolen one could keep all boards out, until it expires, by filling the listener."""
    principal = claim(plane, tmp_path / "image", "--count", "2", "--board", "generic-x86")
    with with_the_claim_of(tmp_path / "image", "before"):
        pass
    told(plane, "claims", "--close", principal.removeprefix("@claim-"))
    eventually(lambda: not with_the_claim_of(tmp_path / "image", "after").come(), "its certificate is refused")


def test_a_stolen_claim_cannot_throw_the_plane_out_of_its_connection(plane, tmp_path):
    """Case I2: a broker drops who had a client id before; one that can be guessed would end enrolment for all."""
    principal = claim(plane, tmp_path / "image", "--count", "2", "--board", "generic-x86")
    guesses = ("@plane", f"skerry-plane-{hashlib.sha256(str(plane.root).encode()).hexdigest()[:8]}")
    with contextlib.ExitStack() as stack:
        for guess in guesses:
            stack.enter_context(with_the_claim_of(tmp_path / "image", guess))
        assert Board(tmp_path / "image").enrol(principal).status == "pending"
    assert "the connection to the broker was lost" not in (plane.root / "serve.log").read_text()


def test_who_is_approved_by_a_command_is_told_without_asking_again(plane, tmp_path):
    principal = claim(plane, tmp_path / "image", "--count", "2", "--board", "generic-x86", "--tag", "north")
    board = Board(tmp_path / "image", "SN-hand")
    client = board.client()
    try:
        board.ask(client, principal)
        eventually(lambda: board.answers(client), "it waits")
        told(plane, "approve", board.code.lower(), "--as", "by-hand")
        eventually(lambda: len(board.answers(client)) == 2, "it is told")
        assert [(each.status, each.device) for each in board.answers(client)] == [
            ("pending", None),
            ("approved", "by-hand"),
        ]
    finally:
        client.close()


def test_a_revoked_device_is_mute_at_once_and_its_place_is_had_by_the_next_board(plane, tmp_path):
    """Case I6 of the threat table, with the plane's part: offline without a last will."""
    told(plane, "provision", "gone-1", "--board", "generic-x86", "--config-only", "--out", str(tmp_path / "one"))
    board = Board(tmp_path / "one")
    principal = "@claim-" + str(max(c["number"] for c in codec.decode(told(plane, "claims", "--json"), list)))
    device = board.connect(board.enrol(principal), tmp_path / "state")
    try:
        device.publish(topics.state("gone-1"), birth("gone-1"), retain=True)
        eventually(lambda: is_online(plane, "gone-1"), "it is online")
        began = time.monotonic()
        assert "gone-1; in force at the broker" in told(plane, "revoke", "gone-1", "--reason", "stolen")
        assert not is_online(plane, "gone-1")
        for sequence in range(2, 6):
            device.publish(topics.state("gone-1"), birth("gone-1", sequence), retain=True)
        assert time.monotonic() - began < 5
        assert "revoked" in told(plane, "list", "--where", "id=gone-1")
    finally:
        device.close()
    told(
        plane,
        "provision",
        "gone-1",
        "--board",
        "generic-x86",
        "--replace",
        "--config-only",
        "--out",
        str(tmp_path / "two"),
    )
    principal = "@claim-" + str(max(c["number"] for c in codec.decode(told(plane, "claims", "--json"), list)))
    again = Board(tmp_path / "two", incarnation="f" * 32)
    answer = again.enrol(principal)
    assert (answer.status, answer.device) == ("approved", "gone-1")
    assert identity(plane, "gone-1").incarnation == "f" * 32


def test_a_device_whose_record_was_made_while_it_was_connected_is_heard_at_once(plane, tmp_path):
    """After a registry was lost: what it had retained was dropped as a stranger's, and it says that only once."""
    claim(plane, tmp_path / "image", "--count", "1", "--board", "generic-x86")
    board = Board(tmp_path / "image")
    issued = Authority.open(plane.identity, time.time()).device(board.request().csr, "lost-1")
    device = board.connect(EnrolmentAnswer("approved", "lost-1", issued.pem), tmp_path / "state")
    try:
        device.publish(topics.state("lost-1"), birth("lost-1"), retain=True).wait_for_publish(20)
        told(plane, "provision", "lost-1", "--board", "generic-x86", "--config-only", "--out", str(tmp_path / "two"))
        eventually(lambda: is_online(plane, "lost-1"), "it is heard without a restart of anything")
    finally:
        device.close()
