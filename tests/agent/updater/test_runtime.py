"""A deployment's runtime: verified, planned, installed beside the others, and probed before anything runs with it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace as other

import pytest
from msgspec.structs import replace

from skerry_agent.machine.records import SlotRuntime
from skerry_agent.ports.jobs import Planned, Refusal, RuntimeOrder, Staged
from skerry_agent.ports.probe import Probe
from skerry_agent.updater import runtime
from skerry_agent.updater.errors import RefusedError
from skerry_agent.updater.room import Room
from skerry_agent.wire import codec, envelope
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.errors import WireError
from tests.kit.updater import NEW, Bench
from tests.kit.wheels import Wheel, manifest_of, wheelhouse_of, wheelhouse_tar

TINY = Wheel()


class RuntimeBench(Bench):
    """An updater's bench with a runtime of one tiny wheel, which a probe takes for good unless `found` says else."""

    def __init__(self, folder):
        super().__init__(folder)
        self.found = Probe("", "tiny 1.0")
        self.probed = []
        self.bring(TINY)

    def bring(self, *wheels, payload_type=envelope.RUNTIME, kind="runtime", signer=None, **fields):
        """Sign a manifest of these wheels; their tar is fetched."""
        self.tar = wheelhouse_tar(*wheels)
        manifest = manifest_of(wheelhouse_of(self.tar, *wheels, **fields), kind=kind)
        signed = (signer or self.signer).envelope(payload_type, codec.encode(manifest))
        file = self.folder / "runtime"
        file.write_bytes(signed)
        self.order = RuntimeOrder(describe(signed), str(file), str(self.folder / "runtimes"), "litert")
        self.put(self.tar)

    def installed(self):
        return sorted(path.name for path in (self.folder / "runtimes").iterdir())

    def stage_runtime(self, order=None):
        tools = runtime.Tools(probe=self._probe)
        return runtime.stage_runtime(order or self.order, self.blobs, self.trust, Room(), tools)

    def _probe(self, _order, _wheelhouse, folder, _title):
        self.probed.append(folder.name)
        return self.found


@pytest.fixture
def bench(tmp_path):
    return RuntimeBench(tmp_path)


def test_a_model_that_is_there_costs_only_the_runtimes_bytes(bench):
    held = bench.blobs / "held"
    held.write_bytes(NEW)
    have = {describe(NEW).sha256: str(held)}
    assert bench.plan(have=have, runtime=bench.order) == Planned(
        "full", (describe(bench.tar),), len(NEW) + 10_000 + len(bench.tar)
    )
    bench.stage_runtime()
    assert bench.plan(have=have, runtime=bench.order) == Planned("full", (), len(NEW)), "it is installed"


def test_a_budget_holds_for_a_runtime_too(bench):
    answer = bench.plan(runtime=bench.order, byte_budget=len(bench.patch) + len(bench.tar) - 1)
    assert (answer.kind, answer.reason) == ("rejected", "over_byte_budget")


def test_staging_installs_and_probes_for_real(bench):
    bench.put(NEW)
    answer = bench.stage(runtime=bench.order)
    assert isinstance(answer, Staged)
    assert answer.runtime == SlotRuntime("tiny@1.0.0", bench.installed()[0], bench.order.manifest)
    assert (bench.folder / "runtimes" / answer.runtime.folder / "tiny.py").exists()


def test_one_that_crashes_when_it_is_imported_is_a_reason_and_not_the_updaters_end(bench):
    bench.bring(other(TINY, files={"tiny.py": "import os; os.kill(os.getpid(), 4)"}))
    bench.put(NEW)
    answer = bench.stage(runtime=bench.order)
    assert (answer.kind, answer.reason) == ("failed", "runtime_crashed")
    assert "SIGILL at import of runtime tiny@1.0.0 (tiny 1.0, cp3" in answer.detail


UNFIT = {
    "for another machine": ({"machine": "riscv64"}, "no_wheelhouse"),
    "for another Python": ({"python": "cp399"}, "no_wheelhouse"),
    "for a newer C library": ({"glibc": "2.99"}, "runtime_needs_glibc"),
    "a release of another kind": ({"payload_type": envelope.RELEASE}, "wrong_payload_type"),
}


@pytest.mark.parametrize("fault", UNFIT)
def test_what_is_not_for_this_device_is_rejected_before_it_is_fetched(bench, fault):
    fields, reason = UNFIT[fault]
    bench.bring(TINY, **fields)
    answer = bench.plan(runtime=bench.order)
    assert isinstance(answer, Refusal)
    assert answer.kind == "rejected"
    assert answer.reason == reason or fault == "a release of another kind"


def test_a_stranger_signs_no_runtime(bench):
    bench.bring(TINY, signer=bench.stranger)
    assert bench.plan(runtime=bench.order).kind == "rejected"


@pytest.mark.parametrize("wheels", [(other(TINY, name="skerry-agent"),), (TINY, other(TINY, name="msgspec"))])
def test_a_runtime_that_would_replace_the_agent_is_rejected(bench, wheels):
    bench.bring(*wheels)
    assert bench.plan(runtime=bench.order).reason == "wrong_kind"


def test_an_agent_is_no_runtime(bench):
    bench.bring(TINY, other(TINY, name="skerry-agent"), kind="agent")
    with pytest.raises(WireError, match="of kind agent"):
        runtime.read_order(bench.order, bench.trust)


def test_one_with_which_a_slot_serves_is_not_probed_again(bench):
    first = bench.stage_runtime()
    assert bench.probed == [first.folder]
    assert bench.stage_runtime(replace(bench.order, proven=(first.folder,))) == first
    assert bench.stage_runtime() == first
    assert bench.probed == [first.folder] * 2


def test_a_damaged_one_is_made_anew_beside_it_for_it_may_be_in_use(bench):
    first = bench.stage_runtime()
    broken = bench.folder / "runtimes" / first.folder / "tiny.py"
    broken.write_text("rotten")
    second = bench.stage_runtime()
    assert second.folder != first.folder
    assert bench.installed() == sorted([first.folder, second.folder])
    assert broken.read_text() == "rotten"


def test_a_probe_that_somebody_ended_is_made_again(bench):
    bench.found = Probe("interrupted", "killed")
    with pytest.raises(RefusedError) as refused:
        bench.stage_runtime()
    assert refused.value.refusal.kind == "crashed"


def test_two_models_that_are_given_one_runtime_install_it_once(bench):
    with ThreadPoolExecutor(2) as pool:
        slots = list(pool.map(lambda _: bench.stage_runtime(), range(2)))
    assert slots[0] == slots[1]
    assert bench.installed() == [slots[0].folder]


def test_without_its_wheelhouse_nothing_is_installed(bench):
    (bench.blobs / describe(bench.tar).sha256).unlink()
    with pytest.raises(RefusedError, match="was not fetched"):
        bench.stage_runtime()
