"""The publisher and the rollout loop over a home with one release, and a broker in memory. No tests here."""

from skerry_agent.wire import topics
from skerry_host.fleet.device import Device
from skerry_host.fleet.policy import Policy
from skerry_host.plane.delivery.publish import MAX_RETAINED, Publisher
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import devices
from skerry_host.plane.rollouts.director import Director
from skerry_host.plane.rollouts.intake import RolloutRequest, start_rollout
from skerry_host.plane.rollouts.loop import RolloutLoop
from skerry_host.release import keys
from skerry_host.release.store import Store
from tests.kit.home import add_release, make_home, model_bytes


class MemoryLink:
    """A link whose broker is a dict. `fail_after` breaks the connection after so many messages.

    `refuses`: so does a message whose topic has one of these in it.
    """

    def __init__(self):
        self.retained_messages, self.sent, self.epoch, self.connected = {}, [], 1, True
        self.fail_after, self.refuses = None, ()

    def publish(self, messages):
        for message in messages:
            if not self.connected:
                return False
            if self.fail_after is not None and len(self.sent) >= self.fail_after:
                self.connected = False
                return False
            self.sent.append(message.topic)
            if message.payload and any(part in message.topic for part in self.refuses):
                self.connected = False
                return False
            self.retained_messages[message.topic] = message.payload
            if not message.payload:
                del self.retained_messages[message.topic]
        return True

    def retained(self, wanted, _grace_s=0.5):
        return {topic for topic in wanted if topic in self.retained_messages}

    def come_back(self, *, empty):
        self.connected, self.fail_after, self.epoch, self.sent = True, None, self.epoch + 1, []
        if empty:
            self.retained_messages = {}


class Rig:
    """All of it; time stands still unless `now` is moved."""

    def __init__(self, folder):
        self.allowed, self.most = {}, MAX_RETAINED
        self.home = make_home(folder)
        self.model = model_bytes("m", 200_000)
        self.release = add_release(self.home, "1.0.0", self.model)
        self.registry = open_registry(self.home.registry)
        self.store, self.link = Store(self.home.store), MemoryLink()
        self.now = 1000.0
        director = Director(keys.load(self.home.keys, "director"), self.store, self.clock)
        self.rollout_loop = RolloutLoop(self.registry, director, self.clock)
        self.publisher = self.new_publisher()
        with self.registry.write() as session:
            for name in ("dev-1", "dev-2"):
                devices.add(session, Device(name, "generic-x86", targets=("cpu",)), 1.0)

    def clock(self):
        return self.now

    def new_publisher(self):
        return Publisher(self.registry, self.store, self.link, self.clock, self.allow, self.most)

    def allow(self, required):
        self.allowed = required
        self.told = any(topic.endswith("/desired") for topic in self.link.sent)

    def start(self):
        with self.registry.write() as session:
            request = RolloutRequest(self.release, devices.all_devices(session), "all", Policy(silence_s=60))
            return start_rollout(session, request, self.now)

    def turn(self):
        self.rollout_loop.tick()
        self.publisher.sync()

    @property
    def chunk_topics(self):
        return {topics.chunk(ref.sha256, i) for ref in self.store.blob_refs("fashion@1.0.0") for i in range(ref.chunks)}
