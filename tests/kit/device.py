"""The one fake device of the host's tests: it speaks the wire through a port, and runs nothing. No tests here.

It is born and wills its death, accepts desired states, fetches chunks through a sliding window and checks each, reports
its progress, answers commands, sends telemetry, and hears receipts. What it does wrong is data (`Faults`); what else a
test wants said, it says with `say`, `report` and `publish`. What it keeps across `crash` and `connect` is what a device
keeps on disk. It does not verify signatures and applies no patch: that is the agent's to test.
"""

import hashlib
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

import msgspec
import paho.mqtt.client as mqtt
from msgspec.structs import replace
from paho.mqtt.enums import CallbackAPIVersion

from skerry_agent.wire import blobs, codec, topics
from skerry_agent.wire.admission import DeviceFacts
from skerry_agent.wire.blobs import BlobRef
from skerry_agent.wire.envelope import Envelope
from skerry_agent.wire.manifest import Release
from skerry_agent.wire.refusals import RefusedOrder
from skerry_agent.wire.settings import SettingsReport
from skerry_agent.wire.sketch import Recorder
from skerry_agent.wire.telemetry import ModelStats, Receipt, Report, Sample
from skerry_agent.wire.twin import (
    Assignment,
    Command,
    CommandResult,
    DeploymentReport,
    Desired,
    DeviceState,
    ModelReport,
    Reported,
    SlotReport,
)
from skerry_agent.wire.upgrades import UpgradeReport

WINDOW = 8
AGENT = "fake 1.0"
MODEL = "fashion"
Heard = Callable[[str, bytes], None]
Will = Callable[[], tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Faults:
    """What a device does wrong; nothing, if nothing is said.

    `ends`: the deployments of these releases end so, (outcome, reason), instead of succeeding. `chunk_s`: each chunk
    takes so long. `repeats`: whatever it says, it says so often. `no_patches`: it can apply none. `ignores_commands`.
    `knows_no_watch`: it is of a time before it.
    """

    ends: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    chunk_s: float = 0.0
    repeats: int = 1
    no_patches: bool = False
    ignores_commands: bool = False
    knows_no_watch: bool = False


class Port(Protocol):
    """How a device reaches the plane. `will` is asked before each connection, `up` is called in it."""

    def open(self, will: Will, up: Callable[[], None], heard: Heard) -> None: ...

    def cut(self) -> None:
        """End without a word: the will is spoken."""

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> None: ...

    def subscribe(self, topic: str) -> None: ...

    def unsubscribe(self, topic: str) -> None: ...


class BrokerPort:
    """Through a real broker, which speaks the will; two with the same `client_id` throw each other out."""

    def __init__(self, url: str, client_id: str = "", tls: ssl.SSLContext | None = None) -> None:
        self._url, self._client_id, self._tls = urlsplit(url), client_id, tls
        self._client: mqtt.Client | None = None

    def open(self, will: Will, up: Callable[[], None], heard: Heard) -> None:
        client_id = self._client_id or f"fake-{secrets.token_hex(8)}"
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, clean_session=True)
        client.reconnect_delay_set(1, 2)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        client.will_set(*will(), 1, retain=True)
        client.on_connect = lambda _client, _data, _flags, reason, _properties: reason.is_failure or up()
        client.on_disconnect = lambda client, *_: client.will_set(*will(), 1, retain=True)
        client.on_message = lambda _client, _data, message: heard(message.topic, bytes(message.payload))
        self._client = client
        client.connect_async(self._url.hostname or "", self._url.port or 1883, keepalive=20)
        client.loop_start()

    def cut(self) -> None:
        if self._client is None:
            return
        client, self._client = self._client, None
        sock = client.socket()
        if sock is not None:
            sock.close()
        client.loop_stop()

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        if self._client is not None:
            self._client.publish(topic, payload, 1, retain=retain)

    def subscribe(self, topic: str) -> None:
        if self._client is not None:
            self._client.subscribe(topic, 1)

    def unsubscribe(self, topic: str) -> None:
        if self._client is not None:
            self._client.unsubscribe(topic)


class DirectPort:
    """Straight into whatever takes a device's messages, in this thread. Nothing that the plane says comes back."""

    def __init__(self, take: Heard) -> None:
        self._take = take
        self._will: tuple[str, bytes] | None = None

    def open(self, will: Will, up: Callable[[], None], _heard: Heard) -> None:
        self._will = will()
        up()

    def cut(self) -> None:
        if self._will is not None:
            self._take(*self._will)
        self._will = None

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        self._take(topic, payload)

    def subscribe(self, topic: str) -> None:
        """Nothing comes by itself."""

    def unsubscribe(self, topic: str) -> None:
        """Nothing comes by itself."""


@dataclass
class Kept:
    """What survives a crash."""

    generation: int = 0
    desired: Desired | None = None
    models: dict[str, ModelReport] = field(default_factory=dict)
    chunks: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    answered: dict[str, CommandResult] = field(default_factory=dict)
    refused: tuple[RefusedOrder, ...] = ()
    manifest_schema: int = 1
    settings: SettingsReport | None = None
    facts: DeviceFacts | None = None
    upgrade: UpgradeReport | None = None


class FakeDevice:
    """One fake device; `receipts` are those that it was sent, `watched` for how long, both over all boots."""

    def __init__(self, device: str, port: Port, faults: Faults = Faults(), board: str = "generic-x86") -> None:
        self.id = device
        self.faults = faults
        self.board = board
        self.kept = Kept()
        self.receipts: list[Receipt] = []
        self.watched: list[float | None] = []
        self.chunks_received = 0
        self.boot = secrets.token_hex(8)
        self._port = port
        self._lock = threading.RLock()
        self._sequence = 0
        self._reports = 0
        self._waiting: dict[str, tuple[BlobRef, int]] = {}
        self._todo: list[tuple[BlobRef, int]] = []

    # -- life ----------------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Boot: connect with a will, say that it is alive."""
        self.boot, self._sequence, self._reports = secrets.token_hex(8), 0, 0
        self._port.open(lambda: self._state(online=False), self._up, self._hear)

    def crash(self) -> None:
        """Vanish without a word; its will is spoken."""
        self._port.cut()
        with self._lock:
            self._waiting, self._todo = {}, []

    def __enter__(self) -> "FakeDevice":
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.crash()

    # -- what a test looks at ------------------------------------------------------------------------------------------

    @property
    def current(self) -> str | None:
        """The release that it runs."""
        model = self.kept.models.get(MODEL)
        return model.current.release if model and model.current else None

    @property
    def deployment(self) -> DeploymentReport | None:
        """The latest attempt."""
        model = self.kept.models.get(MODEL)
        return model.deployment if model else None

    # -- what it says --------------------------------------------------------------------------------------------------

    def say(self) -> None:
        """Report what it holds and does."""
        self._sequence += 1
        generation, models = self.kept.generation, self.kept.models
        targets = ("cpu",)
        reported = Reported(
            self.id,
            self.boot,
            self._sequence,
            generation,
            AGENT,
            self.board,
            targets,
            models,
            refused=self.kept.refused,
            manifest_schema=self.kept.manifest_schema,
            settings=self.kept.settings,
            facts=self.kept.facts,
            upgrade=self.kept.upgrade,
        )
        self.publish(topics.reported(self.id), codec.encode(reported), retain=True)

    def telemetry(self, latency_us: float = 900.0, count: int = 50, samples: tuple[Sample, ...] = ()) -> Report:
        """Publish one interval of made-up measurements."""
        recorder = Recorder()
        for i in range(count):
            recorder.add(latency_us * (1 + i / count))
        stats = ModelStats(
            MODEL, self.current or f"{MODEL}@0.0.1", count, 0, latency=recorder.take(), rss_bytes=41_000_000,
            energy_uj=latency_us * 2.1, energy_source="modelled", energy_method="board coefficients, ±80 %",
        )  # fmt: skip
        return self.report((stats,), samples, time.time())

    def report(self, models: tuple[ModelStats, ...], samples: tuple[Sample, ...], now: float) -> Report:
        """Publish an interval of ten seconds that ends now."""
        report = Report(self.id, self.boot, self._reports, now - 10, 100.0, 10.0, models, samples)
        self._reports += 1
        self.publish(topics.telemetry(self.id), codec.encode(report), retain=False)
        return report

    def answer(self, command: str, *, ok: bool, detail: str = "") -> CommandResult:
        """Say how a command ended."""
        result = CommandResult(self.id, command, ok, detail)
        self.publish(topics.command_result(self.id), codec.encode(result), retain=False)
        return result

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Publish anything, also what it should not."""
        for _ in range(self.faults.repeats):
            self._port.publish(topic, payload, retain=retain)

    # -- connection ----------------------------------------------------------------------------------------------------

    def _state(self, *, online: bool) -> tuple[str, bytes]:
        state = DeviceState(self.id, self.boot, self._sequence, online=online, agent=AGENT)
        return topics.state(self.id), codec.encode(state)

    def _up(self) -> None:
        self.publish(*self._state(online=True), retain=True)
        with self._lock:
            self._waiting = {}
            self.say()
        for topic in (topics.desired(self.id), topics.command(self.id), topics.receipt(self.id)):
            self._port.subscribe(topic)
        self._resume()

    def _hear(self, topic: str, payload: bytes) -> None:
        if not payload:
            return
        with self._lock:
            if topic == topics.desired(self.id):
                self._desired(payload)
            elif topic == topics.command(self.id):
                self._command(payload)
            elif topic == topics.receipt(self.id):
                self.receipts.append(codec.decode(payload, Receipt))
            elif topic in self._waiting:
                self._chunk(topic, payload)

    # -- orders --------------------------------------------------------------------------------------------------------

    def _desired(self, raw: bytes) -> None:
        desired = codec.decode(codec.decode(raw, Envelope).payload, Desired)
        assert desired.device == self.id
        if desired.generation <= self.kept.generation:
            return
        self.kept.generation, self.kept.desired = desired.generation, desired
        self._resume()

    def _resume(self) -> None:
        """Take up what is wanted and not ended."""
        with self._lock:
            desired = self.kept.desired
            self._waiting, self._todo = {}, []
            for assignment in desired.assignments if desired else ():
                known = self.kept.models.get(assignment.model)
                latest = known.deployment if known else None
                if latest is None or latest.id != assignment.deployment or latest.outcome is None:
                    self._work(assignment)
            self.say()

    def _command(self, raw: bytes) -> None:
        """Go back, once for each command, and answer as often as it comes."""
        command = codec.decode(codec.decode(raw, Envelope).payload, Command)
        if self.faults.ignores_commands:
            return
        if command.kind == "watch":
            ok = not self.faults.knows_no_watch
            detail = "it reports every 1 s" if ok else "this agent does not know the command 'watch'"
            self.watched.append(command.seconds)
            self.kept.answered[command.id] = self.answer(command.id, ok=ok, detail=detail)
            return
        known = self.kept.answered.get(command.id)
        ok = known.ok if known else self._go_back(command.model or MODEL)
        self.kept.answered[command.id] = self.answer(
            command.id, ok=ok, detail="" if ok else "there is no previous release"
        )

    def _go_back(self, name: str) -> bool:
        model = self.kept.models.get(name)
        if model is None or model.previous is None:
            return False
        self.kept.models[name] = replace(model, current=model.previous, previous=None, state="idle")
        self.say()
        return True

    # -- a deployment --------------------------------------------------------------------------------------------------

    def _work(self, assignment: Assignment) -> None:
        known = self.kept.models.get(assignment.model) or ModelReport("idle", serving=False)
        if known.current and known.current.manifest_sha256 == assignment.manifest.sha256:
            report = DeploymentReport(assignment.deployment, assignment.release, "idle", "succeeded", "already_current")
            self.kept.models[assignment.model] = replace(known, deployment=report)
            return
        report = DeploymentReport(assignment.deployment, assignment.release, "fetching", attempts=1)
        self.kept.models[assignment.model] = replace(known, state="fetching", deployment=report)
        manifest = self.kept.blobs.get(assignment.manifest.sha256)
        if manifest is None:
            self._fetch([assignment.manifest])
            return
        release = msgspec.json.decode(codec.decode(manifest, Envelope).payload, type=Release)
        transfer, wanted = self._choose(release, assignment, known)
        missing = [ref for ref in wanted if ref.sha256 not in self.kept.blobs]
        if missing:
            self._fetch(missing)
        else:
            self._end(assignment, release, transfer, sum(ref.size for ref in wanted))

    def _choose(self, release: Release, assignment: Assignment, known: ModelReport) -> tuple[str, list[BlobRef]]:
        bundle = release.bundle(assignment.target)
        refs = [artifact.blob for artifact in bundle.artifacts]
        base = known.current.model_sha256 if known.current else None
        patches = () if self.faults.no_patches else release.patches
        patch = next((p for p in patches if p.base_sha256 == base), None)
        if patch is None:
            return "full", refs
        return "patch", [patch.blob, *(ref for ref in refs if ref.sha256 != patch.new_sha256)]

    def _end(self, assignment: Assignment, release: Release, transfer: str, size: int) -> None:
        outcome, reason = self.faults.ends.get(assignment.release, ("succeeded", ""))
        known = self.kept.models[assignment.model]
        report = DeploymentReport(
            assignment.deployment, assignment.release, "idle", outcome, reason, "", transfer, size, size, 0.4, 1
        )
        slots = {}
        if outcome == "succeeded":
            model = release.bundle(assignment.target).model.blob.sha256
            slot = SlotReport(assignment.release, assignment.target, assignment.manifest.sha256, model)
            slots = {"current": slot, "previous": known.current}
        self.kept.models[assignment.model] = replace(known, state="idle", serving=True, deployment=report, **slots)
        self.say()

    # -- blobs ---------------------------------------------------------------------------------------------------------

    def _fetch(self, refs: list[BlobRef]) -> None:
        """Queue what is missing; the digest list of a blob comes before its chunks, as index -1."""
        for ref in refs:
            if ref.digests_sha256 and f"{ref.sha256}/-1" not in self.kept.chunks:
                self._todo.append((ref, -1))
            self._todo += [(ref, i) for i in range(ref.chunks) if f"{ref.sha256}/{i}" not in self.kept.chunks]
        if self._todo:
            self._slide()

    def _slide(self) -> None:
        while self._todo and len(self._waiting) < WINDOW:
            ref, index = self._todo.pop(0)
            topic = topics.digests(ref.sha256) if index < 0 else topics.chunk(ref.sha256, index)
            self._waiting[topic] = (ref, index)
            self._port.subscribe(topic)

    def _chunk(self, topic: str, payload: bytes) -> None:
        ref, index = self._waiting.pop(topic)
        time.sleep(self.faults.chunk_s)
        self._port.unsubscribe(topic)
        if index >= 0:
            digests = self.kept.chunks.get(f"{ref.sha256}/-1")
            parsed = blobs.parse_digests(ref, digests) if digests else blobs.sole_digest(ref)
            assert hashlib.sha256(payload).digest() == parsed[index]
        self.chunks_received += 1
        self.kept.chunks[f"{ref.sha256}/{index}"] = payload
        self._complete(ref)
        self._slide()

    def _complete(self, ref: BlobRef) -> None:
        parts = [self.kept.chunks.get(f"{ref.sha256}/{i}") for i in range(ref.chunks)]
        if any(part is None for part in parts):
            return
        data = b"".join(part for part in parts if part is not None)
        assert hashlib.sha256(data).hexdigest() == ref.sha256
        self.kept.blobs[ref.sha256] = data
        for index in range(-1, ref.chunks):
            self.kept.chunks.pop(f"{ref.sha256}/{index}", None)
        if not self._waiting and not self._todo:
            self._resume()
