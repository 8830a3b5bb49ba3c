"""A simulated device that speaks the wire through a real broker, and runs nothing.

It is born and wills its death, accepts desired states, fetches chunks through a sliding window and checks each, reports
its progress, and ends every deployment as `behave` says. What it keeps across `crash` and `connect` is what a device
keeps on disk.
"""

import hashlib
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import msgspec
import paho.mqtt.client as mqtt
from msgspec.structs import replace
from paho.mqtt.enums import CallbackAPIVersion

from skerry_agent.wire import blobs, codec, topics
from skerry_agent.wire.blobs import BlobRef
from skerry_agent.wire.envelope import Envelope
from skerry_agent.wire.manifest import Release
from skerry_agent.wire.sketch import Recorder
from skerry_agent.wire.telemetry import ModelStats, Report, Sample
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

WINDOW = 8
Behaviour = Callable[[str], tuple[str, str]]


def succeed(_release: str) -> tuple[str, str]:
    """Every deployment succeeds."""
    return "succeeded", ""


@dataclass
class Kept:
    """What survives a crash."""

    generation: int = 0
    desired: Desired | None = None
    models: dict[str, ModelReport] = field(default_factory=dict)
    chunks: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    answered: dict[str, CommandResult] = field(default_factory=dict)


class FakeDevice:
    """One simulated device."""

    def __init__(
        self, device: str, url: str, behave: Behaviour = succeed, *, patches: bool = True, chunk_s: float = 0.0
    ) -> None:
        self.id = device
        self._chunk_s = chunk_s
        self.behave = behave
        self.kept = Kept()
        self.chunks_received = 0
        self._patches = patches
        self._url = urlsplit(url)
        self._lock = threading.RLock()
        self._boot = ""
        self._sequence = 0
        self._reports = 0
        self._waiting: dict[str, tuple[BlobRef, int]] = {}
        self._todo: list[tuple[BlobRef, int]] = []
        self._client: mqtt.Client | None = None

    # -- life ----------------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Boot: connect with a will, say that it is alive."""
        self._boot, self._sequence, self._reports = secrets.token_hex(8), 0, 0
        client = mqtt.Client(CallbackAPIVersion.VERSION2, f"fake-{self.id}-{self._boot}", clean_session=True)
        client.reconnect_delay_set(1, 2)
        self._set_will(client, 0)
        client.on_connect, client.on_message, client.on_disconnect = self._on_connect, self._on_message, self._on_lost
        self._client = client
        client.connect_async(self._url.hostname or "", self._url.port or 1883, keepalive=20)
        client.loop_start()

    def crash(self) -> None:
        """Vanish without a word; the broker speaks the will."""
        if self._client is None:
            return
        client, self._client = self._client, None
        sock = client.socket()
        if sock is not None:
            sock.close()
        client.loop_stop()
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
        model = self.kept.models.get("fashion")
        return model.current.release if model and model.current else None

    @property
    def deployment(self) -> DeploymentReport | None:
        """The latest attempt."""
        model = self.kept.models.get("fashion")
        return model.deployment if model else None

    def telemetry(self, latency_us: float = 900.0, count: int = 50, samples: tuple[Sample, ...] = ()) -> Report:
        """Publish one interval of measurements."""
        recorder = Recorder()
        for i in range(count):
            recorder.add(latency_us * (1 + i / count))
        stats = ModelStats(
            "fashion", self.current or "fashion@0.0.1", count, 0, latency=recorder.take(), rss_bytes=41_000_000,
            energy_uj=latency_us * 2.1, energy_source="modelled", energy_method="board coefficients, ±80 %",
        )  # fmt: skip
        report = Report(self.id, self._boot, self._reports, time.time() - 10, 100.0, 10.0, (stats,), samples)
        self._reports += 1
        self.publish(topics.telemetry(self.id), codec.encode(report), retain=False)
        return report

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Publish anything, also what it should not."""
        if self._client is not None:
            self._client.publish(topic, payload, 1, retain=retain)

    # -- connection ----------------------------------------------------------------------------------------------------

    def _set_will(self, client: mqtt.Client, sequence: int) -> None:
        death = codec.encode(DeviceState(self.id, self._boot, sequence, online=False, agent="fake"))
        client.will_set(topics.state(self.id), death, 1, retain=True)

    def _on_connect(self, client: mqtt.Client, _data, _flags, reason, _properties) -> None:
        if reason.is_failure:
            return
        birth = DeviceState(self.id, self._boot, self._sequence, online=True, agent="fake 1.0")
        client.publish(topics.state(self.id), codec.encode(birth), 1, retain=True)
        with self._lock:
            self._waiting = {}
            self._say()
        client.subscribe([(topics.desired(self.id), 1), (topics.command(self.id), 1)])
        self._resume()

    def _on_lost(self, client: mqtt.Client, *_: object) -> None:
        self._set_will(client, self._sequence)

    def _on_message(self, _client, _data, message: mqtt.MQTTMessage) -> None:
        if not message.payload:
            return
        with self._lock:
            if message.topic == topics.desired(self.id):
                self._desired(bytes(message.payload))
            elif message.topic == topics.command(self.id):
                self._command(bytes(message.payload))
            elif message.topic in self._waiting:
                self._chunk(message.topic, bytes(message.payload))

    def _say(self) -> None:
        self._sequence += 1
        generation, models = self.kept.generation, self.kept.models
        reported = Reported(
            self.id, self._boot, self._sequence, generation, "fake 1.0", "generic-x86", ("cpu",), models
        )
        self.publish(topics.reported(self.id), codec.encode(reported), retain=True)

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
            self._say()

    def _command(self, raw: bytes) -> None:
        command = codec.decode(codec.decode(raw, Envelope).payload, Command)
        result = self.kept.answered.get(command.id)
        if result is None:
            model = self.kept.models.get(command.model or "fashion")
            ok = model is not None and model.previous is not None
            if ok:
                assert model is not None
                self.kept.models[command.model or "fashion"] = replace(
                    model, current=model.previous, previous=None, state="idle"
                )
                self._say()
            result = CommandResult(self.id, command.id, ok, "" if ok else "there is no previous release")
            self.kept.answered[command.id] = result
        self.publish(topics.command_result(self.id), codec.encode(result), retain=False)

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
        patch = next((p for p in release.patches if p.base_sha256 == base), None) if self._patches else None
        if patch is None:
            return "full", refs
        return "patch", [patch.blob, *(ref for ref in refs if ref.sha256 != patch.new_sha256)]

    def _end(self, assignment: Assignment, release: Release, transfer: str, size: int) -> None:
        outcome, reason = self.behave(assignment.release)
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
        self._say()

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
            if self._client is not None:
                self._client.subscribe(topic, 1)

    def _chunk(self, topic: str, payload: bytes) -> None:
        ref, index = self._waiting.pop(topic)
        time.sleep(self._chunk_s)
        if self._client is not None:
            self._client.unsubscribe(topic)
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
