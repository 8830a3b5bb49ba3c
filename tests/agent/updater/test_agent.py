"""An agent release is verified, installed beside the one that runs, and proven; what is unfit leaves nothing behind."""

import json
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from skerry_agent.ports.jobs import InstallAgent, PlanAgent
from skerry_agent.state.blobs import BlobStore
from skerry_agent.state.runtimes import PLACE, folder_name
from skerry_agent.trust.key_file import TrustError
from skerry_agent.trust.verification import KeyTrust
from skerry_agent.updater import agent_probe
from skerry_agent.updater.agent import install_agent, plan_agent
from skerry_agent.updater.errors import RefusedError
from skerry_agent.updater.room import Room
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.errors import WireError
from skerry_host.release.sign import Ed25519Signer
from tests.kit.agents import AgentRelease
from tests.kit.wheels import Wheel
from tests.lab.agents import wheel
from tests.lab.device import unpack

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
SIGNER = Ed25519Signer(KEY)
TRUST = KeyTrust({"release": {SIGNER.keyid: KEY.public_key()}})
GOOD = AgentRelease(SIGNER, "9.1.0", wheel("9.1.0"))


class Device:
    """The folders of a device that has fetched an agent release."""

    def __init__(self, state, release):
        self.state, self.release = state, release
        state.mkdir(exist_ok=True)
        release.put(state)
        self.manifest = str(BlobStore(state / "blobs").path(release.manifest.sha256))
        self.root = state / "agents"

    def plan(self, name=None):
        return plan_agent(PlanAgent(name or self.release.release, self.manifest, str(self.root)), TRUST)

    def install(self, prove=lambda _folder, job: job.release.partition("@")[2], name=None, models=()):
        job = InstallAgent(
            name or self.release.release, self.manifest, str(self.root), str(self.state / "blobs"), "agent.toml", models
        )
        return install_agent(job, TRUST, Room(), unpack, prove)

    def left(self):
        return sorted(path.name for path in self.root.iterdir()) if self.root.exists() else []


@pytest.fixture
def device(tmp_path):
    return Device(tmp_path / "state", GOOD)


def test_a_release_is_installed_once_into_a_folder_of_its_own(device):
    assert device.plan().wanted == (describe(GOOD.tar),)
    ready = device.install()
    assert (ready.folder, ready.version) == (folder_name(GOOD.manifest.sha256, PLACE.tag), "9.1.0")
    assert device.left() == [ready.folder]
    assert device.plan().wanted == ()
    (device.state / "blobs" / describe(GOOD.tar).sha256).unlink()
    assert device.install() == ready


def test_one_that_is_damaged_is_installed_anew(device):
    folder = device.root / device.install().folder
    (folder / "skerry_agent" / "part.py").write_text("rotted")
    assert device.plan().wanted
    device.install()
    assert (folder / "skerry_agent" / "part.py").read_text() == "# 9.1.0\n"


OTHER = "aarch64" if PLACE.machine != "aarch64" else "x86_64"
UNFIT = {
    "another release": (GOOD, "agent@9.2.0", "wrong_release"),
    "another machine": (AgentRelease(SIGNER, "9.1.0", wheel("9.1.0"), machine=OTHER), None, "no_wheelhouse"),
    "another Python": (AgentRelease(SIGNER, "9.1.0", wheel("9.1.0"), python="cp399"), None, "no_wheelhouse"),
    "no agent in it": (AgentRelease(SIGNER, "9.1.0", Wheel()), None, "wrong_kind"),
    "a newer C library": (AgentRelease(SIGNER, "9.1.0", wheel("9.1.0"), glibc="2.99"), None, "agent_needs_glibc"),
}


@pytest.mark.parametrize("fault", UNFIT)
def test_what_is_not_for_this_device_is_refused_before_anything_is_fetched(tmp_path, fault):
    release, name, code = UNFIT[fault]
    device = Device(tmp_path / "state", release)
    for work in (device.plan, device.install):
        with pytest.raises((WireError, RefusedError)) as refused:
            work(name=name)
        found = refused.value
        assert (found.refusal.reason if isinstance(found, RefusedError) else found.code) == code
    assert device.left() == []


def test_a_manifest_that_the_release_key_did_not_sign_is_refused(tmp_path):
    forged = AgentRelease(Ed25519Signer(Ed25519PrivateKey.generate()), "9.1.0", wheel("9.1.0"))
    device = Device(tmp_path / "state", forged)
    for work in (device.plan, device.install):
        with pytest.raises(TrustError):
            work()
    assert device.left() == []


def test_an_agent_that_says_another_version_than_its_manifest_is_taken_away(device):
    with pytest.raises(RefusedError) as refused:
        device.install(lambda _folder, _job: "9.0.9")
    assert refused.value.refusal.reason == "agent_version"
    assert device.left() == []


def test_the_agent_before_is_kept_when_it_is_found_unfit_now(device):
    """It was installed already: somebody may have to go back to it."""
    folder = device.install().folder

    def unfit(_folder, _job):
        raise agent_probe._refused("agent_selftest", "x")

    with pytest.raises(RefusedError):
        device.install(unfit)
    assert device.left() == [folder]


# -- the probe ---------------------------------------------------------------------------------------------------------


def probed(candidate, own, models=("m",)):
    """What the probe finds, where candidate and the agent that runs say these checks in their selftests."""

    def run(folder, arguments, _limit_s, _what):
        if arguments[0] == "-c":
            return subprocess.CompletedProcess([], 0, f"{folder}/skerry_agent/__init__.py\n9.1.0\n", "")
        said = candidate if folder is not None else own
        return subprocess.CompletedProcess([], 0, said if isinstance(said, str) else json.dumps(said), "")

    job = InstallAgent("agent@9.1.0", "", "", "", "agent.toml", models)
    return agent_probe.probe(Path("/agents/x"), job, run)


def check(name, ok, detail=""):
    return {"check": f"model {name}", "ok": ok, "detail": detail, "of_later": 1}


def test_a_candidate_that_reproduces_every_model_passes():
    assert probed([check("m", True), {"check": "disk", "ok": False, "detail": ""}], []) == "9.1.0"


def test_a_candidate_that_computes_something_else_is_refused():
    with pytest.raises(RefusedError) as refused:
        probed([check("m", False, "golden_mismatch: 9 steps")], [check("m", True)])
    assert refused.value.refusal.reason == "agent_selftest"
    assert "golden_mismatch" in refused.value.refusal.detail


def test_what_the_agent_that_runs_cannot_do_either_is_not_held_against_it():
    """A damaged golden file: the upgrade may be what mends it."""
    failed = [check("m", False, "golden_damaged")]
    assert probed(failed, failed) == "9.1.0"


def test_a_candidate_that_does_not_know_a_model_is_refused():
    with pytest.raises(RefusedError, match="does not know this model"):
        probed([check("other", True)], [check("m", True)])


def test_a_candidate_whose_selftest_says_nothing_is_refused():
    with pytest.raises(RefusedError) as refused:
        probed("usage: no such option --beside", [check("m", True)])
    assert refused.value.refusal.reason == "agent_selftest"


def test_a_device_without_a_model_needs_no_selftest():
    assert probed("", "", models=()) == "9.1.0"


# -- with real children ------------------------------------------------------------------------------------------------

BROKEN = {
    "it dies at import": (
        "import os, signal; os.kill(os.getpid(), signal.SIGILL)",
        "agent_crashed",
        "SIGILL at import",
    ),
    "it cannot be imported": ("import nothing_of_that_name", "agent_import", "nothing_of_that_name"),
    "it ends at once": ("raise SystemExit(3)", "agent_import", "cannot be imported"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_what_does_not_load_is_named_and_this_process_lives(tmp_path, fault):
    code, reason, words = BROKEN[fault]
    (tmp_path / "skerry_agent").mkdir()
    (tmp_path / "skerry_agent" / "__init__.py").write_text(code)
    with pytest.raises(RefusedError) as refused:
        agent_probe.probe(tmp_path, InstallAgent("agent@9.1.0", "", "", "", "agent.toml"))
    assert refused.value.refusal.reason == reason
    assert words in refused.value.refusal.detail


def test_what_hangs_at_import_is_given_up(tmp_path):
    (tmp_path / "skerry_agent").mkdir()
    (tmp_path / "skerry_agent" / "__init__.py").write_text("while True: pass")
    with pytest.raises(RefusedError) as refused:
        agent_probe.run_python(tmp_path, ["-c", agent_probe.IMPORTS], 0.5, "agent@9.1.0 does not load")
    assert refused.value.refusal.reason == "agent_hangs"


def test_an_agent_that_is_not_in_its_folder_is_not_taken_for_it(tmp_path):
    """Else the base environment's would pass in its place."""
    with pytest.raises(RefusedError) as refused:
        agent_probe.probe(tmp_path, InstallAgent("agent@9.1.0", "", "", "", "agent.toml"))
    assert refused.value.refusal.reason == "agent_import"
