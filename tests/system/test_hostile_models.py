"""Signed models that kill, hang or starve the runtime, or answer nonsense: the one before serves, the host is told."""

import http.client
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from skerry_agent.wire.manifest import Probation
from tests.kit.commands import Serving, serving
from tests.kit.home import make_home
from tests.kit.programs import require_program
from tests.kit.waiting import eventually
from tests.system import hostile_models as odd
from tests.system.fleet import BOARD, ROOT, Device, await_end, skerry, start_rollout

pytestmark = pytest.mark.system
REAL = Path(os.environ.get("SKERRY_REAL_MODELS", ROOT.parent / "shared" / "models"))
QUICK = Probation(min_inferences=20, max_seconds=10.0, latency_p95_us=1_000_000.0)
LONG = Probation(min_inferences=1_000_000, max_seconds=600.0)
SUM = tuple(map(tuple, odd.POSITIVE + np.asarray([1, 2, 3, 4])))
ZERO = ((0.0,) * 4,) * 3
NEGATED = tuple(tuple(-value for value in row) for row in SUM)
LOGARITHM = tuple(map(tuple, np.log(odd.POSITIVE)))
START_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Case:
    """A hostile release, and how its deployment ends: the outcome, and any of these reasons with what the host is told.

    The segfaulting one is refused instead where memory happens to be laid out otherwise.
    """

    name: str
    model: object
    outcome: str
    reasons: dict[str, str]
    claims: tuple = SUM


CASES = [
    Case("nonsense", lambda: b"not a model at all" * 10, "failed", {"load_failed": "does not load"}),
    Case("segfault", None, "failed", {"crashed": "killed by SIGSEGV", "load_failed": "does not load"}),
    Case("endless", odd.endless, "failed", {"start_timeout": "not ready within", "board_busy": "for the processor"}),
    Case("glutton", odd.glutton, "failed", dict.fromkeys(("crashed", "load_failed", "golden_mismatch", "memory"), "")),
    Case("constant", odd.constant, "failed", {"constant_output": "every output is the same"}, ZERO),
    Case("nan_in_service", odd.logarithm, "rolled_back", {"invalid_output": "NaN"}, LOGARITHM),
    Case("wrong_answers", odd.logarithm, "failed", {"golden_mismatch": "top-1"}, NEGATED),
]


class Site:
    """One home, plane and device for all cases: a device meets many models in its life."""

    def __init__(self, folder: Path, plane: Serving, home) -> None:
        self.home, self.plane, self.version = home, plane, 0
        folder_of = folder / "device"
        skerry(
            home,
            "device",
            "provision",
            "odd-01",
            "--board",
            BOARD,
            "--broker",
            plane.broker,
            "--config-only",
            "--out",
            str(folder_of),
        )
        self.device = Device("odd-01", folder_of)
        samples = folder / "samples.npz"
        np.savez(samples, inputs=-np.ones((8, 4), np.float32))
        self.device.configure("agent", f"beat_s = 0.2\nstart_timeout_s = {START_TIMEOUT_S}\nhang_s = 3.0")
        source = f'type = "replay"\npath = "{samples}"\nrate_hz = 100.0\n'
        limit = "memory_limit_bytes = 300000000\n"
        text = self.device.config.read_text()
        self.device.config.write_text(f"{text}\n[models.odd]\n{limit}[[models.odd.sources]]\n{source}")

    def deploy(self, model: bytes, outputs, probation: Probation = QUICK) -> str:
        """Sign and order a model; the rollout's id."""
        self.version += 1
        release = odd.publish(self.home, f"1.{self.version}.0", model, outputs, probation)
        return start_rollout(self.home, release, self.device.id)

    def status(self) -> dict:
        return (self.device.status() or {}).get("models", {}).get("odd", {})


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    require_program("mosquitto", "mosquitto")
    folder = tmp_path_factory.mktemp("odd")
    home = make_home(folder / "home")
    with serving(home, "--port", "0", "--no-http") as plane:
        made = Site(folder, plane, home)
        made.device.start()
        try:
            view = await_end(home, made.deploy(odd.good(), SUM))
            assert view["deployments"][0]["outcome"] == "succeeded", view
            yield made
        finally:
            made.device.kill()


def model_of(case: Case) -> bytes:
    if case.name == "segfault":
        path = REAL / "segfaults_the_runtime.tflite"
        if not path.exists():
            pytest.skip(f"no real models at {REAL}: set SKERRY_REAL_MODELS")
        return path.read_bytes()
    return case.model()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_goes_and_the_one_before_serves(site, case):
    agent = site.device.process.pid
    view = await_end(site.home, site.deploy(model_of(case), case.claims))
    ended = view["deployments"][0]
    assert (ended["outcome"], ended["reason"] in case.reasons) == (case.outcome, True), ended
    assert ended["detail"]
    assert case.reasons[ended["reason"]] in ended["detail"], ended["detail"]
    print(f"{case.name}: {ended['outcome']} {ended['reason']}: {ended['detail']}")
    status = site.status()
    assert status["current"]["release"] == "odd@1.1.0"
    assert status["serving"]
    assert site.device.process.pid == agent
    assert site.device.process.poll() is None


def test_a_failed_release_is_not_tried_again_by_itself(site):
    before = site.status()["deployment"]
    time.sleep(3.0)
    assert site.status()["deployment"] == before


def test_killed_in_service_the_one_before_answers_within_two_seconds_without_a_network(site, record_property):
    site.deploy(odd.good(), SUM, LONG)
    eventually(lambda: site.status().get("state") == "probation", "the candidate is on probation", 30.0)
    url = urlsplit(site.device.status()["http"]["odd"])
    eventually(lambda: answers(url), "the candidate answers", 10.0)
    site.plane.kill()
    os.kill(newest_runner(site.device), signal.SIGSEGV)
    killed = time.monotonic()
    eventually(lambda: site.status().get("state") == "idle" and answers(url), "the one before answers", 10.0)
    took = time.monotonic() - killed
    record_property("rollback_s", round(took, 3))
    print(f"rollback to serving again after {took:.3f} s")
    assert took < 2.0
    deployment = site.status()["deployment"]
    assert (deployment["outcome"], deployment["reason"]) == ("rolled_back", "crashed")
    assert "SIGSEGV" in deployment["detail"]


def answers(url) -> bool:
    """Whether an inference is answered now."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=1.0)
    try:
        connection.request("POST", "/v2/models/odd/infer", json.dumps({"inputs": [tensor]}))
        response = connection.getresponse()
        return response.status == http.client.OK and bool(response.read())
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def newest_runner(device: Device) -> int:
    """The process id of the runner that was started last."""
    children = Path(f"/proc/{device.process.pid}/task/{device.process.pid}/children").read_text().split()
    runners = [int(pid) for pid in children if b"skerry_agent.runner" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return max(runners)
