"""The updater with real keys, real patches and real files: what it plans, what it makes, what it refuses."""

import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from skerry_agent.ports.jobs import Planned, Refusal, Staged, VerifyMessage, VerifyMessages
from skerry_agent.state.blobs import RESERVE_BYTES
from skerry_agent.state.slots import read_bundle
from skerry_agent.trust.verification import KeyTrust, TrustError
from skerry_agent.updater.perform import perform
from skerry_agent.wire import codec, envelope
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.envelope import Envelope, Signature
from skerry_agent.wire.manifest import Artifact, PatchRef, Quality
from skerry_agent.wire.routes import EMPTY_SHA256
from tests.kit.patch_models import patch_of
from tests.kit.updater import NEW, OLD, Bench, SmallDisk, board


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_a_patch_is_planned_from_a_file_at_hand(bench):
    assert bench.plan() == Planned("patch", (describe(bench.patch),), len(NEW))


@pytest.mark.parametrize("why", [{"have": {}}, {"force_full": True}])
def test_without_base_or_after_a_failed_patch_the_full_file_is_planned(bench, why):
    assert bench.plan(**why) == Planned("full", (describe(NEW),), len(NEW))


def test_what_is_there_is_not_fetched(bench):
    held = bench.blobs / "held"
    held.write_bytes(NEW)
    assert bench.plan(have={describe(NEW).sha256: str(held)}) == Planned("full", (), len(NEW))


def test_what_has_changed_on_the_disk_is_fetched_again(bench):
    held = bench.blobs / "held"
    held.write_bytes(NEW[::-1])
    assert bench.plan(have={describe(NEW).sha256: str(held)}) == Planned("full", (describe(NEW),), len(NEW))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"have": {}, "full_fallback": "never"}, "full_not_allowed"),
        ({"have": {}, "full_fallback": "unmetered", "metered": True}, "full_not_allowed"),
        ({"byte_budget": 10}, "over_byte_budget"),
        ({"target": "edgetpu"}, "no_bundle"),
        ({"release": "m@9.9.9"}, "wrong_release"),
    ],
)
def test_a_plan_that_may_not_be_is_rejected_with_its_reason(bench, changes, reason):
    answer = bench.plan(**changes)
    assert (answer.kind, answer.reason) == ("rejected", reason)


@pytest.mark.parametrize("way", ["patch", "full"])
def test_a_bundle_is_made_and_made_again_for_nothing(bench, way):
    bench.put(bench.patch if way == "patch" else NEW)
    expected = Staged(describe(NEW).sha256)
    assert bench.stage() == expected
    assert (bench.bundle_dir / "model.tflite").read_bytes() == NEW
    assert read_bundle(bench.bundle_dir) == bench.release.bundles[0]
    assert codec.decode((bench.bundle_dir / "quality.json").read_bytes(), Quality) == bench.release.quality
    made = (bench.bundle_dir / "model.tflite").stat().st_mtime_ns
    assert bench.stage() == expected
    assert (bench.bundle_dir / "model.tflite").stat().st_mtime_ns == made


def with_chain(bench):
    """The release with two patches, one after the other, instead of the direct one."""
    between = OLD[:5_000] + b"between" + OLD[5_007:]
    steps = [(OLD, between), (between, NEW)]
    data = [patch_of(old, new).data for old, new in steps]
    refs = tuple(
        PatchRef(describe(old).sha256, describe(new).sha256, "zstd", describe(patch))
        for (old, new), patch in zip(steps, data, strict=True)
    )
    bench.release = replace(bench.release, patches=refs)
    bench.sign(bench.signer)
    return data


def test_patches_of_patches_are_planned_and_applied_in_order(bench):
    data = with_chain(bench)
    assert bench.plan() == Planned("patch", tuple(map(describe, data)), len(NEW))
    for patch in data:
        bench.put(patch)
    assert bench.stage() == Staged(describe(NEW).sha256)
    assert (bench.bundle_dir / "model.tflite").read_bytes() == NEW
    assert sorted(path.name for path in bench.bundle_dir.iterdir()) == [
        "bundle.json",
        "model.tflite",
        "quality.json",
    ]


@pytest.mark.parametrize("damaged", [0, 1])
def test_each_patch_of_a_chain_is_verified(bench, damaged):
    data = with_chain(bench)
    for index, patch in enumerate(data):
        bench.put(patch[:-1] + b"?" if index == damaged else patch, describe(patch).sha256)
    assert bench.stage().kind == "patch_failed"
    assert not list(bench.bundle_dir.parent.iterdir())


def test_a_damaged_bundle_is_made_anew(bench):
    bench.put(NEW)
    bench.stage()
    (bench.bundle_dir / "model.tflite").write_bytes(b"damaged")
    bench.stage()
    assert (bench.bundle_dir / "model.tflite").read_bytes() == NEW


@pytest.mark.parametrize("position", [3, 60, -1])
def test_a_damaged_patch_leaves_no_bundle(bench, position):
    damaged = bytearray(bench.patch)
    damaged[position] ^= 8
    bench.put(bytes(damaged), describe(bench.patch).sha256)
    answer = bench.stage()
    assert (type(answer), answer.kind) == (Refusal, "patch_failed")
    assert not bench.bundle_dir.exists()
    assert not list(bench.bundle_dir.parent.iterdir())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda patch: b"", "not_a_patch"),
        (lambda patch: b"PK\x03\x04" + patch, "not_a_patch"),
        (lambda patch: patch[:3] + b"\xff" + patch[4:], "format_version"),
        (lambda patch: patch[:4] + b"\xff" + patch[5:], "format_version"),
        (lambda patch: patch[:40], "damaged"),
        (lambda patch: patch[: len(patch) // 2 + 40], "damaged"),
        (lambda patch: patch[:-1], "damaged"),
        (lambda patch: patch + b"more", "trailing_bytes"),
    ],
    ids=["empty", "foreign", "newer", "newer codec", "cut in its header", "cut", "cut at its end", "longer"],
)
def test_a_patch_that_is_none_is_one_line_and_leaves_nothing(bench, change, reason):
    bench.put(change(bench.patch), describe(bench.patch).sha256)
    answer = bench.stage()
    assert (answer.kind, answer.reason, len(answer.detail.splitlines())) == ("patch_failed", reason, 1)
    assert not list(bench.bundle_dir.parent.iterdir())


@pytest.mark.parametrize("content", [OLD[::-1], b""], ids=["changed", "emptied"])
def test_a_patch_for_a_base_that_changed_on_disk_is_refused(bench, content):
    Path(bench.have[describe(OLD).sha256]).write_bytes(content)
    bench.put(bench.patch)
    assert (bench.stage().kind, bench.stage().reason) == ("patch_failed", "wrong_base")


def test_a_file_at_hand_that_has_rotted_is_made_by_the_patch(bench):
    held = bench.blobs.parent / "held"
    held.write_bytes(NEW[::-1])
    bench.put(bench.patch)
    assert bench.stage(have={**bench.have, describe(NEW).sha256: str(held)}) == Staged(describe(NEW).sha256)
    assert (bench.bundle_dir / "model.tflite").read_bytes() == NEW


def test_a_patch_that_makes_something_else_is_refused(bench):
    """It is signed, whole and fits the base; what it makes is not what the manifest says."""
    wrong = patch_of(OLD, NEW[::-1]).data
    ref = PatchRef(describe(OLD).sha256, describe(NEW).sha256, "zstd", describe(wrong))
    bench.sign(bench.signer, replace(bench.release, patches=(ref,)))
    bench.put(wrong)
    answer = bench.stage()
    assert (answer.kind, answer.reason) == ("patch_failed", "wrong_result")
    assert not bench.bundle_dir.exists()


def test_a_blob_that_is_not_what_its_name_says_is_refused(bench):
    bench.put(NEW[::-1], describe(NEW).sha256)
    assert bench.stage().reason == "hash_mismatch"
    assert not bench.bundle_dir.exists()


def test_a_blob_that_is_not_there_is_named(bench):
    assert bench.stage().reason == "missing_blob"


# -- what the board cannot hold ----------------------------------------------------------------------------------------


@pytest.fixture
def narrow(bench, tmp_path):
    """A board without the memory for a patch."""
    bench.room = board(tmp_path / "root", {"proc/meminfo": "MemAvailable: 5000 kB\n"})
    return bench


def test_without_memory_for_a_patch_the_full_file_is_planned(narrow):
    assert narrow.plan() == Planned("full", (describe(NEW),), len(NEW))


@pytest.mark.parametrize("policy", [{"full_fallback": "never"}, {"full_fallback": "unmetered", "metered": True}])
def test_without_memory_for_a_patch_nor_leave_for_the_full_file_the_plan_is_rejected(narrow, policy):
    answer = narrow.plan(**policy)
    assert (answer.kind, answer.reason) == ("rejected", "not_enough_memory")
    assert f"full_fallback = {policy['full_fallback']} forbids {len(NEW)} B" in answer.detail


def test_memory_that_went_since_the_plan_is_missed_before_anything_is_written(narrow):
    narrow.put(narrow.patch)
    answer = narrow.stage()
    assert (answer.kind, answer.reason) == ("patch_refused", "not_enough_memory")
    assert not list(narrow.bundle_dir.parent.iterdir())
    narrow.put(NEW)
    assert narrow.stage() == Staged(describe(NEW).sha256)


def test_memory_that_runs_out_all_the_same_is_the_patchs_fault(bench, monkeypatch):
    def apply(*_arguments, **_limits):
        raise MemoryError

    monkeypatch.setattr("skerry_agent.updater.bundle.apply", apply)
    bench.put(bench.patch)
    answer = bench.stage()
    assert (answer.kind, answer.reason) == ("patch_refused", "not_enough_memory")
    assert not list(bench.bundle_dir.parent.iterdir())


@pytest.mark.parametrize("spare", [-1, 0])
@pytest.mark.parametrize("chain", [False, True])
def test_a_disk_that_is_too_small_is_seen_before_anything_is_written(bench, chain, spare):
    """In a chain the file before it is there beside the last one."""
    for patch in with_chain(bench) if chain else [bench.patch]:
        bench.put(patch)
    needed = (2 if chain else 1) * len(NEW)
    bench.room = SmallDisk(free=needed + RESERVE_BYTES + spare)
    answer = bench.stage()
    if spare < 0:
        assert (answer.kind, answer.reason) == ("failed", "disk_full")
        assert answer.detail.startswith(f"{needed} B do not fit")
        assert not list(bench.bundle_dir.parent.iterdir())
    else:
        assert answer == Staged(describe(NEW).sha256)


def test_a_manifest_by_a_stranger_is_rejected(bench):
    bench.sign(bench.stranger)
    for answer in (bench.plan(), bench.stage()):
        assert (answer.kind, answer.reason) == ("rejected", "untrusted")
    assert not bench.bundle_dir.exists()


def test_a_changed_manifest_is_rejected(bench):
    raw = bench.manifest_file.read_bytes()
    bench.manifest_file.write_bytes(raw.replace(b'"payload":"ey', b'"payload":"eX'))
    assert bench.plan().kind == "rejected"


def test_a_signature_for_another_type_does_not_pass(bench):
    payload = codec.encode(bench.release)
    raw = bench.signer.envelope(envelope.RELEASE, payload)
    answer = perform(VerifyMessage(raw, envelope.DESIRED, "release"), bench.trust)
    assert (answer.kind, answer.reason) == ("rejected", "wrong_type")


def test_a_role_cannot_sign_for_another(bench):
    raw = bench.signer.envelope(envelope.DESIRED, b"{}")
    assert perform(VerifyMessage(raw, envelope.DESIRED, "director"), bench.trust).reason == "untrusted"


@pytest.mark.parametrize("sig", [b"", b"\0" * 64, b"x" * 64, b"x" * 10_000])
def test_worthless_signatures_are_refused_without_a_traceback(bench, sig):
    raw = codec.encode(Envelope(envelope.RELEASE, b"{}", (Signature(bench.signer.keyid, sig),)))
    assert perform(VerifyMessage(raw, envelope.RELEASE, "release"), bench.trust).reason == "untrusted"


@pytest.mark.parametrize("text", ["", "{", '{"release":[1]}', '{"release":["!!"]}', '{"release":["AAAA"]}'])
def test_an_unusable_trust_file_is_one_line(tmp_path, text):
    (tmp_path / "trust.json").write_text(text)
    with pytest.raises(TrustError, match="holds no usable keys"):
        KeyTrust.from_file(tmp_path / "trust.json", tmp_path)


def test_a_file_that_cannot_be_written_is_a_failure_with_its_cause(bench):
    bench.put(NEW)
    bench.bundle_dir.parent.parent.joinpath("bundles").write_text("a file stands where the folder should be")
    answer = bench.stage()
    assert (answer.kind, answer.reason) == ("failed", "disk")


def test_a_patch_of_a_newer_format_is_planned_and_applied_where_it_is_known(bench):
    first = bench.release.patches[0]
    later = replace(first, blob=describe(bench.newer_patch), format_version=2)
    unknown = replace(first, blob=describe(b"?"), format_version=99)
    bench.release = replace(bench.release, newer_patches=(later, unknown))
    bench.sign(bench.signer)
    assert bench.plan() == Planned("patch", (describe(bench.newer_patch),), len(NEW))
    bench.put(bench.newer_patch)
    bench.stage()
    assert (bench.bundle_dir / "model.tflite").read_bytes() == NEW


def test_a_file_comes_packed_where_nothing_like_it_is_held(bench):
    """As a patch from the empty file, which every device holds; the model is still sent whole only where it may be."""
    golden = bytes(50_000) + b"end"
    packed = patch_of(b"", golden).data
    bundle = replace(bench.release.bundles[0], artifacts=(
        *bench.release.bundles[0].artifacts, Artifact("golden.npz", "golden", describe(golden))
    ))  # fmt: skip
    ref = PatchRef(EMPTY_SHA256, describe(golden).sha256, "full", describe(packed), 2)
    bench.sign(bench.signer, replace(bench.release, bundles=(bundle,), newer_patches=(ref,)))
    planned = bench.plan(have={})
    assert planned.wanted == (describe(NEW), ref.blob)
    assert bench.plan(have={}, force_full=True).wanted == (describe(NEW), describe(golden))
    assert bench.plan(have={}, full_fallback="never").reason == "full_not_allowed"
    bench.put(NEW)
    bench.put(packed)
    assert isinstance(bench.stage(have={}), Staged)
    assert (bench.bundle_dir / "golden.npz").read_bytes() == golden


def test_an_empty_file_is_fetched_like_any_other(bench):
    labels = Artifact("labels.txt", "labels", describe(b""))
    bundle = replace(bench.release.bundles[0], artifacts=(*bench.release.bundles[0].artifacts, labels))
    bench.sign(bench.signer, replace(bench.release, bundles=(bundle,)))
    assert describe(b"") in bench.plan().wanted


def test_of_several_messages_each_is_judged_by_itself(bench):
    trust = KeyTrust({"director": {bench.signer.keyid: bench.signer.public}})
    good, bad = (signer.envelope(envelope.DESIRED, b"{}") for signer in (bench.signer, bench.stranger))
    jobs = tuple(VerifyMessage(raw, envelope.DESIRED, "director") for raw in (bad, good, b"garbage", good))
    verified = perform(VerifyMessages(jobs), trust)
    assert [getattr(answer, "reason", "") for answer in verified.answers] == ["untrusted", "", "malformed", ""]


def test_to_verify_a_message_takes_neither_numpy_nor_the_decoder_of_patches():
    """Whoever reaches the broker can have messages verified: it must cost little. Other jobs take what they need."""
    code = "import skerry_agent.updater.__main__, skerry_agent.updater.verify, sys; print(*sys.modules)"
    modules = set(subprocess.check_output([sys.executable, "-c", code], text=True).split())
    heavy = {"numpy", "zstandard", "skerry_agent.patch", "skerry_agent.processing"}
    assert "cryptography" in modules
    assert modules & heavy == set()
