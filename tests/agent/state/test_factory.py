"""The factory release: verified as an install is, kept whole whatever happens, and served when nothing else is."""

import hashlib
import shutil

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from skerry_agent.cli.factory_install import install_factory
from skerry_agent.config import AgentConfig, BoardSection, BrokerSection, DeviceSection
from skerry_agent.machine import events
from skerry_agent.machine.records import State
from skerry_agent.ports.jobs import FactoryJob, FactoryReady, Refusal
from skerry_agent.state.disk import DiskError, locked
from skerry_agent.state.factory import FactoryFolder
from skerry_agent.state.install import MANIFEST_FILE, InstallError
from skerry_agent.trust.verification import KeyTrust
from skerry_agent.updater.perform import perform
from skerry_agent.wire import codec, envelope
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.errors import SkerryError
from skerry_agent.wire.manifest import Artifact, Bundle, Provenance, Quality, Release, TensorSpec
from skerry_host.release.sign import Ed25519Signer
from tests.kit.unit import Device, order

SPEC = TensorSpec("x", "int8", (1, 4))
QUALITY = Quality("top1", 1, 1.0, 1.0, (0.0, 1.0), (0.0, 1.0), {}, 1, 1)
SIGNER = Ed25519Signer(Ed25519PrivateKey.from_private_bytes(b"k" * 32))
STRANGER = Ed25519Signer(Ed25519PrivateKey.from_private_bytes(b"s" * 32))
TRUST = KeyTrust({"release": {SIGNER.keyid: Ed25519PrivateKey.from_private_bytes(b"k" * 32).public_key()}})


def export(folder, version="1.0.0", *, model="m", targets=("cpu",), signer=SIGNER):
    """A release as `skerry release export` writes it; the folder."""
    folder.mkdir(parents=True)
    bundles = []
    for target in targets:
        files = {"model": f"{model} {version} {target}".encode(), "labels": b"cat\n"}
        for data in files.values():
            (folder / describe(data).sha256).write_bytes(data)
        artifacts = tuple(Artifact(f"{role}.bin", role, describe(data)) for role, data in files.items())
        bundles.append(Bundle(target, artifacts, (SPEC,), (SPEC,)))
    release = Release(1, model, version, 1, tuple(bundles), QUALITY, Provenance("0" * 64, "1" * 64, {}, ""))
    (folder / MANIFEST_FILE).write_bytes(codec.encode(signer.sign(envelope.RELEASE, codec.encode(release))))
    return folder


def verified(folder, *targets, model="m"):
    return perform(FactoryJob(model, str(folder), targets or ("cpu",)), TRUST)


def largest(folder, prefix=b"m "):
    """The file with a model in it."""
    return next(path for path in folder.iterdir() if path.read_bytes().startswith(prefix))


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def _exchange(folder, **other):
    """Put another export's manifest into a folder."""
    shutil.copy(export(folder.parent / "other", **other) / MANIFEST_FILE, folder)


# -- verification ------------------------------------------------------------------------------------------------------


def test_it_is_verified_where_it_lies(tmp_path):
    answer = verified(export(tmp_path / "m"))
    assert isinstance(answer, FactoryReady)
    assert (answer.slot.bundle, answer.slot.release, answer.slot.factory) == ("factory/m", "m@1.0.0", True)
    bundle = FactoryFolder(tmp_path).read(answer.slot)
    assert all(describe((tmp_path / "m" / a.name).read_bytes()).sha256 == a.blob.sha256 for a in bundle.artifacts)


def test_the_first_target_that_is_whole_is_taken(tmp_path):
    folder = export(tmp_path / "m", targets=("cpu", "edgetpu"))
    assert verified(folder, "edgetpu", "cpu").slot.target == "edgetpu"
    flip(next(path for path in folder.iterdir() if path.read_bytes().endswith(b"edgetpu")))
    assert verified(folder, "edgetpu", "cpu").slot.target == "cpu"
    assert "edgetpu bundle" in verified(folder, "edgetpu").detail


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: flip(largest(folder)), "factory_unfit"),
        (lambda folder: largest(folder).unlink(), "factory_unfit"),
        (lambda folder: flip(folder / MANIFEST_FILE), "malformed"),
        (lambda folder: (folder / MANIFEST_FILE).unlink(), "disk"),
        (lambda folder: _exchange(folder, signer=STRANGER), "untrusted"),
        (lambda folder: _exchange(folder, model="n"), "wrong_release"),
        (lambda folder: _exchange(folder, targets=("onnx",)), "factory_unfit"),
    ],
    ids=["flipped", "missing", "manifest", "no_manifest", "stranger", "other_model", "other_target"],
)
def test_what_is_not_whole_or_not_signed_is_refused(tmp_path, spoil, reason):
    folder = export(tmp_path / "m")
    spoil(folder)
    answer = verified(folder)
    assert isinstance(answer, Refusal)
    assert answer.reason == reason


def test_a_slot_binds_the_manifest_that_was_verified(tmp_path):
    folder = export(tmp_path / "m")
    slot = verified(folder).slot
    shutil.copy(export(tmp_path / "later", "2.0.0") / MANIFEST_FILE, folder)
    with pytest.raises(DiskError, match="has changed since it was verified"):
        FactoryFolder(tmp_path).read(slot)


# -- install --factory -------------------------------------------------------------------------------------------------


def config(folder, **board):
    return AgentConfig(
        DeviceSection("dev-1"), BrokerSection("mqtt://x"), BoardSection("test", **board), folder=str(folder)
    )


def test_install_keeps_copies_of_its_own_and_replaces_the_one_before(tmp_path):
    first, second = export(tmp_path / "stick1"), export(tmp_path / "stick2", "2.0.0")
    assert install_factory(config(tmp_path), TRUST, first) == "m@1.0.0"
    folder = tmp_path / "state" / "factory" / "m"
    assert verified(folder).slot.release == "m@1.0.0"
    assert not {p.stat().st_ino for p in folder.iterdir()} & {p.stat().st_ino for p in first.iterdir()}
    install_factory(config(tmp_path), TRUST, second)
    assert {p.name for p in folder.iterdir()} == {p.name for p in second.iterdir()}


def test_install_mends_a_damaged_copy(tmp_path):
    stick = export(tmp_path / "stick")
    install_factory(config(tmp_path), TRUST, stick)
    folder = tmp_path / "state" / "factory" / "m"
    flip(largest(folder))
    install_factory(config(tmp_path), TRUST, stick)
    assert isinstance(verified(folder), FactoryReady)


@pytest.mark.parametrize("board", [{}, {"targets": ("onnx",)}])
def test_what_is_not_verified_is_not_kept(tmp_path, board):
    stick = export(tmp_path / "stick", signer=SIGNER if board else STRANGER)
    with pytest.raises(InstallError, match="cannot be used as a factory release"):
        install_factory(config(tmp_path, **board), TRUST, stick)
    assert FactoryFolder(tmp_path / "state" / "factory").models() == set()


def test_two_installs_do_not_mix(tmp_path):
    stick = export(tmp_path / "stick")
    install_factory(config(tmp_path), TRUST, stick)
    with locked(tmp_path / "state" / "factory" / "m", "other"), pytest.raises(SkerryError, match="another install"):
        install_factory(config(tmp_path), TRUST, stick)


def test_folders_that_are_no_models_are_not_seen(tmp_path):
    for name in ("m", ".m", "M", "m@1"):
        export(tmp_path / name)
    (tmp_path / "empty").mkdir()
    assert FactoryFolder(tmp_path).models() == {"m"}
    assert FactoryFolder(tmp_path / "nowhere").models() == set()


# -- a unit with a factory release behind it ---------------------------------------------------------------------------


class WithFactory(Device):
    """A unit whose updater really verifies the factory release."""

    def answer(self, job):
        return perform(job, TRUST) if isinstance(job, FactoryJob) else super().answer(job)

    def serve(self):
        runner = self.processes.runners[-1]
        runner.validate()
        runner.follow()
        return runner.job.release

    @property
    def searches(self):
        return [job for job in self.processes.jobs if isinstance(job, FactoryJob)]


@pytest.fixture
def device(tmp_path):
    export(tmp_path / "factory" / "m", "0.1.0")
    return WithFactory(tmp_path)


def damage(device, version):
    digest = describe(f"manifest {version}".encode()).sha256
    flip(device.folders.folder(f"{digest[:16]}-cpu") / "bundle.json")


def test_a_first_start_serves_it(device):
    assert device.serve() == "m@0.1.0"
    assert device.unit.issues == ("m serves its factory release m@0.1.0: no_other_release",)


def test_an_order_takes_its_place_and_may_be_rolled_back_to_it(device):
    device.serve()
    device.install("1.0.0", 1)
    assert device.unit.issues == ()
    device.unit.handle(events.RollbackOrdered())
    assert device.serve() == "m@0.1.0"


@pytest.mark.parametrize("before", [("1.0.0",), ("1.0.0", "1.1.0")])
def test_it_serves_when_current_and_previous_are_damaged(device, before):
    device.serve()
    for number, version in enumerate(before):
        device.install(version, number)
    if len(before) == 1:  # the previous one is the factory release itself
        device.unit.record = replace(device.unit.record, slots=replace(device.unit.record.slots, previous=None))
        device.journal.write(device.unit.record)
    for version in before:
        damage(device, version)
    device.boot()
    assert device.serve() == "m@0.1.0"
    assert device.unit.record.state is State.IDLE
    assert (device.deployment.outcome, device.deployment.reason) == ("rolled_back", "bundle_damaged")
    assert "bundle_damaged" in device.unit.issues[0]
    device.boot()
    assert device.serve() == "m@0.1.0"
    assert "bundle_damaged" in device.unit.issues[0]


def test_it_serves_when_both_journals_are_damaged(device):
    device.install("1.0.0", 1)
    for path in device.folder.glob("journal.json*"):
        flip(path)
    device.boot()
    assert device.serve() == "m@0.1.0"
    assert "damaged" in device.unit.issues[0]
    assert device.install("1.1.0", 2).job.release == "m@1.1.0"


def test_a_candidate_that_fails_leaves_it_serving(device):
    old = device.serve()
    device.unit.order(order("1.0.0", 1))
    device.pump()
    bad = device.processes.runners[-1]
    bad.validate()
    bad.follow()
    bad.listener.exited("crashed", "killed by SIGSEGV")
    for runner in device.processes.runners:
        runner.follow()
    assert device.unit.current.accepting
    assert device.unit.current.job.release == old


def test_a_damaged_one_is_said_to_be_so_and_nothing_else_changes(device):
    device.install("1.0.0", 1)
    device.unit.record = replace(device.unit.record, slots=replace(device.unit.record.slots, previous=None))
    device.journal.write(device.unit.record)
    damage(device, "1.0.0")
    flip(largest(device.folder / "factory" / "m"))
    device.boot()
    assert device.unit.record.slots.current.release == "m@1.0.0"
    assert any("factory release m@0.1.0 cannot serve" in issue for issue in device.unit.issues)
    assert device.install("1.1.0", 2).job.release == "m@1.1.0"
    assert device.unit.issues == ()


def test_without_one_the_unit_says_what_that_means(tmp_path):
    device = WithFactory(tmp_path)
    assert device.unit.issues == ()
    device.install("1.0.0", 1)
    damage(device, "1.0.0")
    device.boot()
    assert "m has no usable factory release; it will serve again after its next order" in device.unit.issues
    assert device.searches == []


def test_one_that_crashes_itself_is_not_verified_again_and_again(device):
    for _ in range(5):
        device.processes.runners[-1].listener.exited("crashed", "killed by SIGSEGV")
        device.clock.advance(40.0)
    assert len(device.searches) == 1
    assert device.processes.runners[-1].job.release == "m@0.1.0"


def test_somebody_may_order_it(device):
    device.serve()
    device.install("1.0.0", 1)
    device.install("1.1.0", 2)
    device.unit.return_to_factory()
    assert device.serve() == "m@0.1.0"
    assert device.unit.record.fallback == "ordered"
    assert hashlib.sha256((device.folder / "factory/m/release.json").read_bytes()).hexdigest() == (
        device.unit.record.slots.current.manifest_sha256
    )
