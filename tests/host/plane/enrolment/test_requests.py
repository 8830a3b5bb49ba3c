"""Whoever asks too often gives way alone: what is taken, what is dropped, and that the others are answered."""

import dataclasses

import pytest
from sqlalchemy import text

from skerry_agent.wire import codec, topics
from skerry_agent.wire.enrolment import EnrolmentAnswer
from skerry_host.plane.broker.link import Incoming
from skerry_host.plane.enrolment import service as serving
from skerry_host.plane.enrolment.requests import ALL, EACH, MAX_PRINCIPALS, MAX_WAITING, Requests
from skerry_host.plane.enrolment.service import EnrolmentService
from skerry_host.plane.registry.records import claims, events, identities
from tests.kit.csr import device_key
from tests.kit.enrolment import DAY_S, EnrolmentRig
from tests.kit.waiting import eventually


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def csr(principal: str = "@claim-1", key: str = "0" * 16) -> Incoming:
    return Incoming(topics.enroll_request(principal, key), b"{}", 1, 1)


def test_a_flood_by_one_claim_leaves_another_its_turn():
    clock = Clock()
    requests = Requests(clock)
    for _ in range(8000):
        requests.put(csr("@claim-1"))
    requests.put(csr("@claim-2", "f" * 16))
    taken = [requests.take().topic for _ in range(int(EACH.burst) + 1)]
    assert topics.enroll_request("@claim-2", "f" * 16) in taken
    assert requests.take_dropped() == {"@claim-1": 8000 - int(EACH.burst)}


def test_what_waits_and_who_is_told_apart_is_bounded():
    requests = Requests(Clock())
    for number in range(1, 2 * MAX_PRINCIPALS):
        requests.put(csr(f"@claim-{number}"))
    assert len(requests._waiting) <= MAX_WAITING
    assert len(requests._buckets) <= MAX_PRINCIPALS + 1


def test_no_more_is_read_than_can_be_dropped_beside_the_planes_work():
    clock = Clock()
    requests = Requests(clock)
    read = 0
    for _ in range(100):  # a second, in steps of the link's pause
        clock.now += 0.01
        while requests.has_room(0.0):
            requests.put(csr())
            read += 1
    assert read <= ALL.burst + ALL.per_s + 1
    assert len(requests._waiting) <= EACH.burst + EACH.per_s + 1


def test_a_topic_that_names_nobody_is_dropped():
    requests = Requests(Clock())
    requests.put(Incoming("skerry/v1/enroll/@plane/0/csr", b"", 1, 1))
    assert requests.take_dropped() == {"": 1}


class FakeConnection:
    """Keeps what is published; a test hands it what comes."""

    def __init__(self, receive, has_room):
        self.receive, self.has_room, self.published, self.acknowledged = receive, has_room, [], 0
        self.started = False

    def start(self):
        self.started = True

    def stop(self):
        self.started = False

    def publish(self, messages):
        self.published += messages
        return True

    def acknowledge(self, messages):
        self.acknowledged += len(messages)


@pytest.fixture
def served(tmp_path):
    rig = EnrolmentRig(tmp_path / "home")
    connections = []

    def connect(receive, has_room):
        connections.append(FakeConnection(receive, has_room))
        return connections[-1]

    with (
        rig.registry,
        EnrolmentService(rig.desk, connect) as service,
    ):
        yield rig, service, connections[0]


def send(connection, board, principal="@claim-1"):
    topic = topics.enroll_request(principal, board.sha256[:16])
    connection.receive(Incoming(topic, codec.encode(board.request()), 1, 1))


def answers(connection):
    return [codec.decode(each.payload, EnrolmentAnswer).status for each in connection.published]


def test_what_is_heard_is_answered_on_the_board_s_own_topic_and_not_retained(served):
    rig, _, connection = served
    rig.claim_one("edge-1")
    board = rig.board()
    send(connection, board)
    eventually(lambda: connection.published, "it is answered")
    (sent,) = connection.published
    assert (sent.topic, sent.retain) == (topics.enroll_answer("@claim-1", board.sha256[:16]), False)
    assert connection.acknowledged == 1


def test_who_is_approved_in_another_process_is_told_at_the_next_tick_without_asking_again(served):
    rig, service, connection = served
    rig.claim_count(2)
    board = rig.board()
    send(connection, board)
    eventually(lambda: answers(connection) == ["pending"], "it waits")
    service.tick()
    rig.approve(board, "shelf-1")
    service.tick()
    assert answers(connection) == ["pending", "approved"]
    service.tick()
    assert len(connection.published) == 2


def test_garbage_is_counted_and_ends_nothing(served):
    rig, service, connection = served
    rig.claim_one("edge-1")
    for raw in (b"", b"\xff", b"[]", b'{"csr":1}', b"{" * 5000):
        connection.receive(Incoming(topics.enroll_request("@claim-1", "0" * 16), raw, 1, 1))
    board = rig.board()
    send(connection, board)
    eventually(lambda: answers(connection) == ["approved"], "a board in earnest is answered")
    assert service.counts["malformed"] == 5


def test_a_claim_that_floods_is_closed_and_that_is_told(served):
    rig, service, connection = served
    rig.claim_count(2)
    rig.claim_one("edge-1")
    for _ in range(serving.FLOOD + int(EACH.burst) + 1):
        connection.receive(Incoming(topics.enroll_request("@claim-1", "0" * 16), b"{}", 1, 1))
    rig.now += serving.CHECK_EVERY_S
    service.tick()
    with rig.registry.read() as session:
        assert claims.find(session, "@claim-1").closed == rig.now
        assert claims.find(session, "@claim-2").closed is None
        assert events.latest(session, 1)[0].kind == "claim_flood"


def test_what_is_long_gone_is_forgotten(served):
    """Boards that asked a week ago, and all but the newest certificates that expired a month ago."""
    rig, service, connection = served
    rig.claim_count(3)
    rig.claim_one("edge-1")
    send(connection, rig.board())
    eventually(lambda: answers(connection) == ["pending"], "it waits")
    board = rig.board()
    rig.ask(board, 2)
    for _ in range(2 * identities.KEPT):
        rig.now += 60 * DAY_S
        rig.return_as("edge-1", dataclasses.replace(board, key=device_key()))
    rig.now += 130 * DAY_S
    service.tick()
    assert rig.waiting() == []
    with rig.registry.read() as session:
        assert len(identities.living_certificates(session, "edge-1", 0.0, 1000)) <= identities.KEPT
        assert identities.count_certificates(session, "edge-1", 0.0, rig.now) == identities.KEPT


def test_a_damaged_row_costs_one_answer_and_not_the_service(served):
    """What the registry holds of one claim is of another type, and what comes of that is no error of Skerry's."""
    rig, service, connection = served
    rig.claim_one("edge-1")
    rig.claim_one("edge-2")
    with rig.registry.write() as session:
        session.execute(text("UPDATE claims SET expires = 'soon' WHERE number = 1"))
    send(connection, rig.board())
    eventually(lambda: service.counts["failed"] == 1, "it could not be answered")
    send(connection, rig.board(), "@claim-2")
    eventually(lambda: answers(connection) == ["approved"], "the other is answered")


def test_an_authority_that_cannot_be_used_costs_one_answer_and_not_the_service(served):
    rig, service, connection = served
    rig.claim_one("edge-1")
    board = rig.board()
    (rig.home.identity).mkdir()
    (rig.home.identity / "root.pem").write_text("damaged")
    send(connection, board)
    eventually(lambda: service.counts["failed"] == 1, "it could not be answered")
    (rig.home.identity / "root.pem").unlink()
    send(connection, board)
    eventually(lambda: answers(connection) == ["approved"], "it is answered when it asks again")
