"""The publisher against a broker in memory: what is published, what is not published twice, what is cleared."""

import contextlib
import secrets

import pytest

from skerry_agent.wire import codec, topics
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.envelope import Envelope
from skerry_agent.wire.manifest import Artifact
from skerry_agent.wire.twin import CommandResult, Desired, ModelReport, Reported, SlotReport
from skerry_host.fleet.device import Device
from skerry_host.fleet.policy import Policy
from skerry_host.plane.delivery.publish import retainable
from skerry_host.plane.enrolment import leaving
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import devices, events, orders, rollouts
from skerry_host.plane.registry.tables import OrderRow
from skerry_host.plane.rollouts.director import Director
from skerry_host.plane.rollouts.intake import RolloutRequest, start_rollout
from skerry_host.plane.rollouts.loop import RolloutLoop
from skerry_host.release import keys
from skerry_host.release.obstacles import BundleOrder, lacking, obstacle
from tests.kit.home import add_release, model_bytes
from tests.kit.publishing import Rig


@pytest.fixture
def rig(tmp_path):
    made = Rig(tmp_path / "home")
    yield made
    made.registry.close()


def test_blobs_go_before_the_desired_states_and_only_once(rig):
    rig.start()
    rig.turn()
    desired = [i for i, topic in enumerate(rig.link.sent) if topic.endswith("/desired")]
    chunks = [i for i, topic in enumerate(rig.link.sent) if "/blob/" in topic]
    assert len(desired) == 2
    assert max(chunks) < min(desired)
    assert len(rig.link.sent) == len(set(rig.link.sent))
    said = len(rig.link.sent)
    rig.turn()
    assert len(rig.link.sent) == said


def test_desired_travels_as_the_bytes_that_were_signed(rig):
    rig.start()
    rig.turn()
    envelope = codec.decode(rig.link.retained_messages[topics.desired("dev-1")], Envelope)
    desired = codec.decode(envelope.payload, Desired)
    assert (desired.device, desired.generation) == ("dev-1", int(rig.now * 1000))
    assert desired.assignments[0].manifest == rig.store.manifest_ref("fashion@1.0.0")
    assert envelope.signatures[0].keyid == keys.load(rig.home.keys, "director").keyid


def test_publishing_resumes_after_a_lost_connection(rig):
    rig.start()
    rig.link.fail_after = 4
    rig.turn()
    assert not any(topic.endswith("/desired") for topic in rig.link.sent)
    rig.link.come_back(empty=False)
    rig.turn()
    assert rig.chunk_topics <= set(rig.link.retained_messages)
    assert topics.desired("dev-2") in rig.link.retained_messages


def test_nothing_is_read_again_while_nothing_changes(rig, monkeypatch):
    """One small query a tick, however many devices are silent."""
    rig.start()
    rig.turn()
    rig.turn()
    asked = []
    monkeypatch.setattr(rig.registry, "read", counted(rig.registry.read, asked))
    monkeypatch.setattr(rig.registry, "write", counted(rig.registry.write, asked))
    for _ in range(10):
        rig.turn()
    assert asked == ["SELECT changes.kind, changes.number FROM changes"] * 20


def counted(transaction, asked):
    """The transactions of a registry, with their statements noted."""

    @contextlib.contextmanager
    def noted():
        with transaction() as session:
            execute = session.execute
            session.execute = lambda query: asked.append(" ".join(str(query).split())) or execute(query)
            session.scalars = lambda query: asked.append(" ".join(str(query).split())) or execute(query).scalars()
            yield session

    return noted


def test_what_another_process_orders_is_seen(rig):
    """Each has its own connection to the registry, as commands have."""
    rig.start()
    rig.turn()
    with open_registry(rig.home.registry) as other, other.write() as session:
        devices.add(session, Device("dev-3", "generic-x86", targets=("cpu",)), 1.0)
        request = RolloutRequest(rig.release, [devices.find(session, "dev-3")], "dev-3", Policy(silence_s=60))
        start_rollout(session, request, rig.now)
    rig.turn()
    assert topics.desired("dev-3") in rig.link.retained_messages
    assert "dev-3" in rig.allowed


def test_a_release_that_comes_back_to_the_store_is_published(rig):
    """The store is no part of the registry: nothing there says that it has changed."""
    rig.start()
    rig.turn()
    path = rig.home.store / "releases" / "fashion" / "1.0.0.json"
    release = path.read_bytes()
    path.unlink()
    rig.publisher = rig.new_publisher()
    rig.publisher.sync()
    assert not any(rig.allowed.values())
    path.write_bytes(release)
    rig.publisher.sync()
    assert not any(rig.allowed.values())
    rig.now += 60
    rig.publisher.sync()
    assert all(rig.allowed.values())


def test_a_broker_that_kept_the_blobs_is_not_sent_them_again(rig):
    rig.start()
    rig.turn()
    rig.link.come_back(empty=False)
    rig.turn()
    assert sorted(rig.link.sent) == [topics.desired("dev-1"), topics.desired("dev-2")]


def test_a_broker_that_lost_everything_is_sent_it_again(rig):
    rig.start()
    rig.turn()
    before = dict(rig.link.retained_messages)
    rig.link.come_back(empty=True)
    rig.turn()
    assert rig.link.retained_messages == before


def test_a_new_plane_clears_what_an_old_one_published(rig):
    rollout = rig.start()
    rig.turn()
    rig.now += 100
    rig.publisher = rig.new_publisher()
    rig.turn()
    rig.turn()
    with rig.registry.read() as session:
        assert {d.outcome for d in rollouts.deployments(session, rollout)} == {"timed_out"}
    assert set(rig.link.retained_messages) == {topics.desired("dev-1"), topics.desired("dev-2")}


def object_of(rig, artifact):
    sha = artifact.blob.sha256
    return rig.home.store / "objects" / sha[:2] / sha


def ends(rig, rollout):
    """(outcome, reason) of its deployments, and its state, once there is nothing left to do."""
    for _ in range(4):
        rig.turn()
    with rig.registry.read() as session:
        rows = rollouts.deployments(session, rollout)
        return {(row.outcome, row.reason) for row in rows}, rollouts.find(session, rollout).state


def test_a_deployment_of_a_file_that_the_store_lacks_is_never_begun(rig):
    object_of(rig, rig.release.bundles[0].model).unlink()
    assert ends(rig, rig.start()) == ({("failed", "missing_object")}, "failed")
    assert not rig.link.sent


def test_nor_is_one_of_a_file_that_was_cut_short(rig):
    object_of(rig, rig.release.bundles[0].artifacts[1]).write_bytes(b"short")
    assert ends(rig, rig.start()) == ({("failed", "missing_object")}, "failed")


@pytest.mark.parametrize("harm", ["damaged", "lost"])
def test_a_deployment_of_a_file_that_goes_bad_after_it_was_begun_ends_at_once(rig, harm):
    rollout = rig.start()
    rig.rollout_loop.tick()
    model = object_of(rig, rig.release.bundles[0].model)
    if harm == "lost":
        model.unlink()
    else:
        model.write_bytes(bytes(model.stat().st_size))
    assert ends(rig, rollout) == ({("failed", "missing_object")}, "failed")
    assert topics.chunk(rig.release.bundles[0].model.blob.sha256, 0) not in rig.link.retained_messages
    with rig.registry.read() as session:
        (row, _) = rollouts.deployments(session, rollout)
        said = [event.text for event in events.latest(session, 20) if event.kind == "error"]
    assert "model.tflite of fashion@1.0.0" in row.detail
    assert "restore the store from a backup" in row.detail
    assert len(said) == 1


def test_what_a_device_asks_for_and_the_store_lacks_ends_it_where_nothing_is_retained(rig):
    rig.most = 0
    rig.publisher = rig.new_publisher()
    rollout = rig.start()
    rig.turn()
    object_of(rig, rig.release.bundles[0].model).unlink()
    rig.turn()
    rig.publisher.undeliverable.note_unreadable(rig.release.bundles[0].model.blob.sha256)
    assert ends(rig, rollout) == ({("failed", "missing_object")}, "failed")


def test_a_file_that_is_not_needed_may_be_missing(tmp_path):
    """A patch leads to it from what the device holds."""
    rig = Rig(tmp_path / "home")
    base, new = model_bytes("m", 200_000), model_bytes("n", 200_000)
    later = add_release(rig.home, "1.1.0", new, base=base, patch=b"patch")
    held = SlotReport("fashion@1.0.0", "cpu", rig.store.manifest_ref("fashion@1.0.0").sha256, describe(base).sha256)
    model = ModelReport("idle", serving=True, current=held)
    reported = Reported("dev-1", "b", 1, 0, "1", "x", ("cpu",), {"fashion": model})
    object_of(rig, later.bundles[0].model).unlink()

    def found(reported):
        return obstacle(rig.store, reported, BundleOrder("fashion@1.1.0", "cpu"), lambda ref: lacking(rig.store, ref))

    assert found(reported) is None
    assert found(None).code == "missing_object"
    object_of(rig, Artifact("patch", "model", describe(b"patch"))).unlink()
    assert found(reported).code == "missing_object"
    rig.registry.close()


@pytest.mark.parametrize(
    ("limit", "http", "ended"),
    [
        (32768, None, {("failed", "broker_limit")}),
        (65536, None, {(None, "")}),
        (None, None, {(None, "")}),
        (32768, "http://10.0.0.1:8000/blobs", {(None, "")}),
    ],
)
def test_chunks_over_the_brokers_limit_end_a_deployment_at_once_unless_http_brings_them(rig, limit, http, ended):
    director = Director(keys.load(rig.home.keys, "director"), rig.store, rig.clock, http)
    rig.rollout_loop = RolloutLoop(rig.registry, director, rig.clock)
    rig.publisher.undeliverable.chunk_limit = limit
    found, _ = ends(rig, rig.start())
    assert found == ended
    sha = rig.release.bundles[0].model.blob.sha256
    sent = any(sha in topic for topic in rig.link.sent)
    assert sent == (limit != 32768)


# -- where a broker retains little -------------------------------------------------------------------------------------


def blob_topics(rig):
    return {topic for topic in rig.link.retained_messages if "/blob/" in topic}


def test_no_chunk_is_retained_with_a_limit_of_zero(rig):
    rig.start()
    rig.most = 0
    rig.publisher = rig.new_publisher()
    rig.turn()
    assert not blob_topics(rig)
    assert topics.desired("dev-1") in rig.link.retained_messages


def test_retained_chunks_are_cleared_when_the_limit_becomes_zero(rig):
    rig.start()
    rig.turn()
    assert blob_topics(rig)
    rig.most = 0
    rig.publisher = rig.new_publisher()
    rig.turn()
    assert not blob_topics(rig)


def test_what_is_beyond_the_limit_is_left_out(rig):
    rig.start()
    rig.most = 3  # the model has 4 chunks and a digest list, all else one chunk
    rig.publisher = rig.new_publisher()
    rig.turn()
    model = rig.release.bundles[0].model.blob
    assert blob_topics(rig) == {topic for topic in rig.chunk_topics if model.sha256 not in topic}


def test_the_limit_counts_messages_and_what_is_live_stays():
    blobs = [describe(model_bytes(str(i), 200_000)) for i in range(4)]  # 4 chunks and a digest list each
    refs = {ref.sha256: ref for ref in blobs}
    first, second, third, last = refs
    assert list(retainable(refs, (), (), 20)) == [first, second, third, last]
    assert list(retainable(refs, (), (), 19)) == [first, second, third]
    assert list(retainable(refs, {last}, (), 10)) == [last, first]
    assert list(retainable(refs, {last}, {first}, 14)) == [last, second]
    assert not retainable(refs, {last}, (), 4)


def test_devices_may_request_what_their_deployment_needs_before_they_know_of_it(rig):
    with rig.registry.write() as session:
        request = RolloutRequest(rig.release, [devices.find(session, "dev-1")], "dev-1", Policy(silence_s=60))
        start_rollout(session, request, rig.now)
    rig.turn()
    assert not rig.told
    assert {device: set(refs) for device, refs in rig.allowed.items()} == {
        "dev-1": {ref.sha256 for ref in rig.store.blob_refs("fashion@1.0.0")}
    }
    rig.now += 100  # it never speaks: the deployment ends, and with it what it may have
    rig.turn()
    rig.turn()
    assert not rig.allowed


def test_a_blob_whose_publication_ends_the_connection_again_and_again_must_be_requested(rig):
    model = rig.release.bundles[0].model.blob.sha256
    rig.start()
    rig.link.refuses = (f"{model}/2",)
    for _ in range(5):
        rig.turn()
        rig.link.come_back(empty=False)
    rig.turn()
    assert topics.desired("dev-2") in rig.link.retained_messages
    assert not any(model in topic for topic in blob_topics(rig))
    assert errors(rig) == ["the connection was lost 3 times while publishing it: devices must request it"]


def test_a_broker_that_retains_nothing_at_all_is_named(rig):
    rig.start()
    rig.link.refuses = ("/desired",)
    for _ in range(8):
        rig.turn()
        rig.link.come_back(empty=False)
    assert errors(rig) == [
        "the connection was lost 3 times while publishing it: the broker must retain small messages, and seems not to"
    ]


def errors(rig):
    with rig.registry.read() as session:
        return [event.text for event in events.latest(session, 50) if event.kind == "error"]


@pytest.mark.parametrize("asked", [False, True])
def test_the_signed_desired_state_says_whether_to_request_at_once(rig, asked):
    director = Director(keys.load(rig.home.keys, "director"), rig.store, rig.clock, asked=asked)
    rig.rollout_loop = RolloutLoop(rig.registry, director, rig.clock)
    rig.start()
    rig.turn()
    envelope = codec.decode(rig.link.retained_messages[topics.desired("dev-1")], Envelope)
    assert [a.asked for a in codec.decode(envelope.payload, Desired).assignments] == [asked]


class KilledError(Exception):
    """The plane is killed here."""


class Moments:
    """Every moment at which something else may happen while the publisher works; at the `at`th, `then` is called.

    Stands before the registry and the link: a moment lies before and after each transaction and each message.
    """

    def __init__(self, rig, at, then):
        self.rig, self.at, self.then, self.passed = rig, at, then, 0

    def moment(self):
        self.passed += 1
        if self.passed - 1 == self.at:
            self.then()

    @contextlib.contextmanager
    def _around(self, transaction):
        self.moment()
        with transaction as session:
            yield session
        self.moment()

    def read(self):
        return self._around(self.rig.registry.read())

    def write(self):
        return self._around(self.rig.registry.write())

    def publish(self, messages):
        for message in messages:
            self.moment()
            if not self.rig.link.publish([message]):
                return False
            self.moment()
        return True

    def __getattr__(self, name):
        return getattr(self.rig.link, name)


def ordered(rig):
    """An order of a device, sent; the device's answer to it."""
    with rig.registry.write() as session:
        orders.add(
            session,
            OrderRow(id=secrets.token_hex(4), device="dev-1", kind="rollback", state="pending", created=rig.now),
        )
    rig.rollout_loop.tick()
    with rig.registry.read() as session:
        (order,) = orders.open_orders(session)
    return CommandResult("dev-1", order.id, ok=False, detail="no previous release")


def answered(rig, result):
    with rig.registry.write() as session:
        orders.answer(session, result, rig.now)


def killed():
    raise KilledError


def lost(rig):
    rig.link.connected = False


WHEN = {
    "answered": answered,
    "answered, then killed": lambda rig, result: (answered(rig, result), killed()),
    "answered, then the connection is lost": lambda rig, result: (answered(rig, result), lost(rig)),
    "killed, answered later": lambda rig, result: killed(),
    "lost, answered later": lambda rig, result: lost(rig),
}


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("first", ["fresh", "published before"])
def test_no_command_that_is_answered_stays_retained(rig, when, first):
    """Whatever comes between any two transactions and messages of the publisher."""
    at = 0
    while True:
        rig.publisher = rig.new_publisher()
        result = ordered(rig)
        if first == "published before":
            rig.publisher.sync()
            assert topics.command("dev-1") in rig.link.retained_messages
        moments = Moments(rig, at, lambda result=result: WHEN[when](rig, result))
        rig.publisher._registry = rig.publisher._link = moments
        with contextlib.suppress(KilledError):
            rig.publisher.sync()
        moments.at = -1
        if not rig.link.connected:
            rig.link.come_back(empty=False)
        if "killed" in when:
            rig.publisher = rig.new_publisher()
        rig.publisher.sync()
        answered(rig, result)
        rig.publisher.sync()
        assert topics.command("dev-1") not in rig.link.retained_messages, f"moment {at} of {moments.passed}"
        with rig.registry.read() as session:
            assert orders.commands(session) == orders.Commands({}, {})
        if moments.passed <= at:
            break
        at += 1
    assert at >= (4 if first == "fresh" else 2), "nothing was done, so nothing came between"


def test_a_command_that_a_restarted_broker_holds_again_is_cleared(rig):
    result = ordered(rig)
    rig.turn()
    held = dict(rig.link.retained_messages)
    answered(rig, result)
    rig.turn()
    assert topics.command("dev-1") not in rig.link.retained_messages
    rig.link.come_back(empty=True)
    rig.link.retained_messages = held
    rig.turn()
    assert topics.command("dev-1") not in rig.link.retained_messages
    assert topics.command("dev-2") not in rig.link.sent, "nothing was ever ordered of it"


def test_the_next_command_takes_the_place_of_one_that_is_over(rig):
    answered(rig, ordered(rig))
    second = ordered(rig)
    rig.turn()
    assert rig.link.sent.count(topics.command("dev-1")) == 1
    answered(rig, second)
    rig.turn()
    assert topics.command("dev-1") not in rig.link.retained_messages


def test_of_a_device_that_left_the_broker_retains_nothing_and_of_the_others_all(rig):
    """Its last will is not heard either, so what it said of itself would stand for ever."""
    rig.start()
    said = [say(device) for device in ("dev-1", "dev-2") for say in (topics.state, topics.reported)]
    rig.link.retained_messages.update(dict.fromkeys(said, b"{}"))
    rig.turn()
    with rig.registry.write() as session:
        leaving.revoke(session, "dev-1", "stolen", 1.0)
    rig.turn()
    left = {topic for topic in rig.link.retained_messages if "/d/" in topic}
    assert left == {topics.desired("dev-2"), topics.state("dev-2"), topics.reported("dev-2")}
    rig.link.sent.clear()
    rig.turn()
    assert rig.link.sent == []


def test_what_a_broker_has_kept_of_a_device_that_left_is_cleared_when_it_comes_back(rig):
    rig.start()
    rig.turn()
    kept = dict(rig.link.retained_messages)
    with rig.registry.write() as session:
        leaving.revoke(session, "dev-1", "stolen", 1.0)
    rig.turn()
    rig.link.come_back(empty=True)
    rig.link.retained_messages.update(kept)
    rig.turn()
    assert topics.desired("dev-1") not in rig.link.retained_messages
    assert topics.desired("dev-2") in rig.link.retained_messages
