"""An Edge TPU that comes late, or is another one after a restart: the cpu bundle serves meanwhile, within seconds.

libedgetpu is a stand-in (no Edge TPU is at hand), and leaves every operator to the CPU; plane, agent and runners are
real.
"""

import shutil

import pytest
from msgspec.structs import replace

from skerry_agent.runner.engines.tpu import LIBRARY
from skerry_agent.wire import codec, envelope
from skerry_host.home import Home
from skerry_host.release import keys
from skerry_host.release.store import Store
from tests.kit.commands import serving
from tests.kit.libedgetpu import library  # noqa: F401 - a fixture
from tests.kit.waiting import eventually
from tests.system.fleet import FIRST, Device, await_end, outcomes, provision, start_rollout

pytestmark = pytest.mark.system

BOARD = "raspberry-pi-4-coral-usb"
RELEASE = "fashion@5.0.0"
SECONDS = 15.0
"""Within which a device serves after its start, on a machine that runs other tests; a hanging probe takes more."""


@pytest.fixture
def release(home) -> Home:
    """A release with a bundle for the Edge TPU that the stand-in runs: the cpu's model, under another target."""
    store = Store(home.store)
    made = store.release(FIRST)
    cpu = made.bundle("cpu")
    tpu = replace(cpu, target="edgetpu", min_edgetpu_runtime=13)
    made = replace(made, version=RELEASE.partition("@")[2], counter=99, bundles=(tpu, cpu), patches=())
    store.add(made, keys.load(home.keys, "release").sign(envelope.RELEASE, codec.encode(made)))
    return home


class Stick:
    """What the stand-in does, and which file it is."""

    def __init__(self, folder, built):
        self._folder, self._built = folder, built
        (folder / "lib").mkdir()
        self.replug("none")
        self.upgrade(b"")
        self.environment = {"LD_LIBRARY_PATH": str(folder / "lib"), "STAND_IN_FILE": str(folder / "mood")}

    def replug(self, mood):
        (self._folder / "mood").write_text(f"{mood}\n")

    def upgrade(self, more):
        """Another file of the same library."""
        path = self._folder / "lib" / LIBRARY
        path.unlink(missing_ok=True)
        shutil.copyfile(self._built, path)
        with path.open("ab") as file:
            file.write(more)


def target(device: Device) -> str | None:
    """Of the bundle that serves; None while none does."""
    model = (device.status() or {}).get("models", {}).get("fashion")
    return model["current"]["target"] if model and model["serving"] and model["current"] else None


def changed(device: Device) -> bool:
    """Whether an issue says what is another one."""
    issues = (device.status() or {}).get("issues", [])
    return any(issue.startswith("accelerator_changed: library libedgetpu (") for issue in issues)


def test_it_is_taken_when_it_comes_and_done_without_when_it_has_changed(release, library, tmp_path):  # noqa: F811
    stick = Stick(tmp_path, library)
    with serving(release, "--port", "0", "--no-http") as plane:
        device = provision(release, "coral-01", plane.broker, tmp_path / "device", BOARD)
        device.environment = stick.environment
        device.start()
        try:
            view = await_end(release, start_rollout(release, RELEASE, device.id))
            assert outcomes(view) == {("succeeded", "")}, device.tail()
            eventually(lambda: target(device) == "cpu", "the cpu bundle serves", SECONDS)
            (issue,) = device.status()["issues"]
            assert issue.startswith("fashion runs without the Edge TPU: no Edge TPU is connected; connect it")
            assert issue.endswith(" (device_absent)")
            stick.replug("ok")
            eventually(lambda: target(device) == "edgetpu", "the late accelerator is taken", 70.0)
            model = device.status()["models"]["fashion"]
            assert model["runtime"]["delegate"].startswith("libedgetpu runtime 14 on usb:"), model
            assert (model["current"]["beside"], device.status()["issues"]) == ("cpu", [])
        finally:
            device.kill()
        stick.upgrade(b"another build")
        device.start()
        try:
            eventually(lambda: changed(device), "it is said what has changed", SECONDS)
            eventually(lambda: target(device) == "edgetpu", "it is proven and taken again", 70.0)
        finally:
            device.kill()
        stick.upgrade(b"a build that hangs")
        stick.replug("hang")
        device.start()
        try:
            eventually(lambda: target(device) == "cpu", "the cpu bundle serves without waiting for it", SECONDS)
            assert changed(device), device.status()["issues"]
        finally:
            device.kill()
