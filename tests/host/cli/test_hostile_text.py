"""What devices say goes into the registry and out to people: no control character of theirs comes through, anywhere.

Every text of every message that a device sends is filled in by walking the types, so a field that is added is tried as
well; and a registry of before is made by writing such messages past the cleaning.
"""

import re
from typing import Annotated, Literal, get_args, get_origin

import msgspec
import pytest
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import update
from starlette.testclient import TestClient

from skerry_agent.wire import codec, topics
from skerry_agent.wire.report_forms import encode_report
from skerry_agent.wire.sketch import Recorder, Sketch
from skerry_agent.wire.telemetry import Report
from skerry_agent.wire.twin import CommandResult, DeviceState, Reported
from skerry_host.plane.broker.link import Incoming
from skerry_host.plane.ingest.ingest import Ingest
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import rollouts
from skerry_host.plane.registry.tables import DeploymentRow, EventRow, OrderRow, ReportRow, RolloutRow, TwinRow
from skerry_host.plane.views.counters import Counters
from skerry_host.plane.web.app import application
from tests.kit.commands import skerry
from tests.kit.home import add_release, make_home, model_bytes

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b1m\x7f\u202egnp\u200b<script>alert(1)</script>\"'[red][/b]\r\nspoofed"
RAW = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
DEVICE, RELEASE, BOOT = "dev-1", "fashion@1.0.0", "b1"
SHA256 = {f"{name}_sha256": digit * 64 for name, digit in (("manifest", "0"), ("model", "1"), ("message", "2"))}
TARGETS = {"target": "cpu", "targets": "cpu", "beside": "cpu"}
PATTERNS = {"device": DEVICE, "release": RELEASE} | SHA256 | TARGETS
PLAIN = {str: HOSTILE, int: 3, float: 3.5, bool: True, bytes: b"", Sketch: Recorder().take()}
"""A sketch's texts are numbers."""
MESSAGES = (DeviceState, Reported, CommandResult, Report)


def hostile(kind, name=""):
    """A value of a type with a hostile text wherever a text may stand; `PATTERNS` where only a name may."""
    if kind in PLAIN:
        return PLAIN[kind]
    if isinstance(kind, type) and issubclass(kind, Struct):
        fields = filter(_is_free, msgspec.structs.fields(kind))
        return kind(**{each.name: hostile(each.type, each.name) for each in fields})
    origin, inside = get_origin(kind), get_args(kind)
    named = origin is Annotated and any(getattr(each, "pattern", None) for each in inside[1:])
    fitting = {
        Annotated: lambda: PATTERNS[name] if named else _cut(hostile(inside[0], name), inside[1:]),
        Literal: lambda: inside[0],
        tuple: lambda: tuple(hostile(each, name) for each in inside if each is not Ellipsis),
        dict: lambda: {hostile(inside[0], name): hostile(inside[1], name)},
    }
    either = [each for each in inside if each is not type(None)]
    return fitting.get(origin, lambda: hostile(either[0], name))()


def _cut(value, limits):
    """A text that is as long as may be."""
    most = next((each.max_length for each in limits if getattr(each, "max_length", None)), None)
    return value[:most] if isinstance(value, str) else value


def _is_free(field):
    """Not a field that may be left out and holds a name of its own pattern: no text of a device fits into it."""
    parts = get_args(field.type)[1:] if get_origin(field.type) is Annotated else ()
    named = any(getattr(each, "pattern", None) for each in parts)
    return field.required or not named or field.name in PATTERNS


def texts(value):
    """Every text in a message."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Struct):
        for name in value.__struct_fields__:
            yield from texts(getattr(value, name))
    elif isinstance(value, dict):
        for each in (*value, *value.values()):
            yield from texts(each)
    elif isinstance(value, tuple):
        for each in value:
            yield from texts(each)


def messages(order, deployment):
    """One of each kind, about things that exist."""
    made = {kind: hostile(kind) for kind in MESSAGES}
    reported = made[Reported]
    model = next(iter(reported.models.values()))
    mine = replace(model.deployment, id=deployment, release=RELEASE, outcome="failed")
    model = replace(model, deployment=mine, state="idle", serving=False)
    made[Reported] = replace(reported, boot=BOOT, sequence=9, models={**reported.models, "fashion": model})
    made[DeviceState] = replace(made[DeviceState], boot=BOOT, sequence=9)
    made[CommandResult] = replace(made[CommandResult], id=order)
    stats = replace(made[Report].models[0], model="fashion", outputs={HOSTILE: 2})
    made[Report] = replace(made[Report], boot=BOOT, sequence=1, models=(stats,))  # packed, it is a name
    return made


TOPICS = {
    DeviceState: topics.state(DEVICE), Reported: topics.reported(DEVICE), CommandResult: topics.command_result(DEVICE),
    Report: topics.telemetry(DEVICE),
}  # fmt: skip


class Scene:
    """A home with one device, its rollout and its order; everything it said is hostile."""

    def __init__(self, folder, *, of_before=False):
        self.home = make_home(folder / "home")
        add_release(self.home, "1.0.0", model_bytes("a", 1000))
        self.registry = open_registry(self.home.registry)
        options = ("--board", "generic-x86", "--broker", "mqtt://h", "--config-only", "--out", str(folder / "d"))
        skerry(self.home, "device", "provision", DEVICE, *options)
        self.rollout = msgspec.json.decode(
            skerry(self.home, "rollout", "start", RELEASE, "--device", DEVICE, "--json").stdout
        )["rollout"]
        with self.registry.write() as session:
            (row,) = rollouts.deployments(session, self.rollout)
            session.add(OrderRow(id="order-1", device=DEVICE, kind="rollback", state="sent", created=1.0, sent=1.0))
        self.said = messages("order-1", row.id)
        ingest = Ingest(self.registry, lambda: 2e9)
        for kind in (Report, DeviceState, Reported, CommandResult):
            ingest.apply([Incoming(TOPICS[kind], codec.encode(self.said[kind]))])
        assert ingest.counts["accepted"] == 4, ingest.counts
        if of_before:
            self._write_past_the_cleaning()

    def _write_past_the_cleaning(self):
        with self.registry.write() as session:
            session.execute(update(TwinRow).values(reported=codec.encode(self.said[Reported]), agent=HOSTILE))
            session.execute(update(DeploymentRow).values(reason=HOSTILE, detail=HOSTILE, transports=HOSTILE))
            session.execute(update(RolloutRow).values(reason=HOSTILE, selection=HOSTILE))
            session.execute(update(ReportRow).values(body=encode_report(self.said[Report])))
            session.add(EventRow(at=1.0, kind=HOSTILE[:30], subject=HOSTILE, text=HOSTILE))
            session.execute(update(OrderRow).values(detail=HOSTILE))

    def commands(self):
        """Every command that shows what a device said."""
        yield from (("device", "list"), ("device", "show", DEVICE), ("device", "history", DEVICE), ("event", "list"))
        yield from (
            ("rollout", "status"),
            ("rollout", "status", self.rollout),
            ("monitor", "--once"),
            ("group", "list"),
        )
        yield from (("rollout", "plan", RELEASE, "--device", DEVICE), ("rollback", "--device", DEVICE))
        yield from (("device", "watch", DEVICE), ("device", "show", HOSTILE), ("rollout", "abort", HOSTILE))

    def pages(self):
        """Every page and endpoint."""
        yield from ("/", f"/devices/{DEVICE}", f"/rollouts/{self.rollout}", "/metrics", "/api/v1/overview")
        yield from ("/api/v1/devices", f"/api/v1/devices/{DEVICE}", f"/api/v1/rollouts/{self.rollout}")
        yield from ("/api/v1/rollouts", f"/api/v1/devices/{DEVICE}/history?span=365d")


@pytest.fixture(scope="module", params=[False, True], ids=["now", "of_before"])
def scene(request, tmp_path_factory):
    made = Scene(tmp_path_factory.mktemp("hostile"), of_before=request.param)
    yield made
    made.registry.close()


@pytest.mark.parametrize("kind", MESSAGES)
def test_the_messages_are_hostile_in_every_text(scene, kind):
    free = [text for text in texts(scene.said[kind]) if text not in {*PATTERNS.values(), BOOT, "fashion", "order-1"}]
    assert free.count(HOSTILE) >= 1 or kind is CommandResult
    assert {type(each) for each in texts(scene.said[kind])} == {str}


@pytest.mark.parametrize("as_json", [False, True], ids=["table", "json"])
def test_no_command_lets_a_control_character_through(scene, as_json):
    for command in scene.commands():
        done = skerry(scene.home, *command, *(["--json"] if as_json else []), check=False)
        assert not RAW.search(done.stdout + done.stderr), command
        assert "Traceback" not in done.stderr
        assert not any(line.startswith("spoofed") for line in done.stdout.splitlines()), command


def test_no_page_lets_a_control_character_or_markup_through(scene):
    plane = application(scene.registry, lambda: Counters({}, 0, 0, True))
    with TestClient(plane, "http://127.0.0.1") as client:
        for path in scene.pages():
            answer = client.get(path)
            assert answer.status_code == 200, path
            assert not RAW.search(answer.text), path
            if "html" in answer.headers["content-type"]:
                assert "<script>alert" not in answer.text
                assert "gnp" in answer.text or path.startswith("/rollouts"), "it is shown, and harmless"


def test_what_is_stored_is_clean(tmp_path):
    scene = Scene(tmp_path)
    with scene.registry.read() as session:
        twin = session.get_one(TwinRow, DEVICE)
        (deployment,) = rollouts.deployments(session, scene.rollout)
        stored = [twin.agent, deployment.reason, deployment.detail, session.get_one(OrderRow, "order-1").detail]
        reported = codec.decode(twin.reported, Reported)
    scene.registry.close()
    assert not [text for text in (*stored, *texts(reported)) if RAW.search(text)]
    assert all(r"\x1b]0;owned\x07" in text for text in stored)
