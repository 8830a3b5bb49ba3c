import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from skerry_agent import patch
from skerry_agent.wire import codec, envelope
from skerry_agent.wire.blobs import MAX_BLOB_BYTES, BlobSizeError, describe
from skerry_agent.wire.envelope import Envelope
from skerry_agent.wire.manifest import Release
from skerry_agent.wire.routes import EMPTY_SHA256, bytes_of, cheapest
from skerry_host.cli.main import run
from skerry_host.cli.release import chunk_bytes_of, release_build
from skerry_host.patch import EncodeError, Failed, Fallback, Patch
from skerry_host.patch import create as make_patch
from skerry_host.release.compare import compare, transfer, transfers
from skerry_host.release.create import ReleaseRequest, create_release
from skerry_host.release.errors import ReleaseError
from skerry_host.release.export import export
from tests.kit.home import make_home


def test_what_is_signed_is_stored_byte_for_byte(make_build, store, keys):
    made = create_release(ReleaseRequest(make_build()), store, keys.release)
    raw = store.envelope("toy@1.0.0")
    signed = codec.decode(raw, Envelope)
    assert store.get(made.manifest.sha256) == raw
    assert store.manifest_ref("toy@1.0.0") == made.manifest
    assert signed.payload_type == envelope.RELEASE
    assert codec.decode(signed.payload, Release) == made.release == store.release("toy@1.0.0")
    key = Ed25519PublicKey.from_public_bytes(keys.release.public)
    message = envelope.signing_bytes(envelope.RELEASE, signed.payload)
    key.verify(signed.signatures[0].sig, message)
    with pytest.raises(InvalidSignature):
        key.verify(signed.signatures[0].sig, message + b" ")


def test_counters_rise_per_model_whatever_the_versions_say(make_build, store, keys):
    for model, version in (("toy", "2.0.0"), ("toy", "1.0.0"), ("other", "1.0.0"), ("toy", "1.5.0")):
        create_release(ReleaseRequest(make_build(version, model=model)), store, keys.release)
    assert store.releases() == ["other@1.0.0", "toy@2.0.0", "toy@1.0.0", "toy@1.5.0"]
    assert [store.release(name).counter for name in store.releases()] == [1, 1, 2, 3]


def test_two_at_once_never_share_a_counter(make_build, store, keys):
    builds = [make_build(f"1.{i}.0", i) for i in range(4)]
    with ThreadPoolExecutor() as pool:
        made = list(pool.map(lambda build: create_release(ReleaseRequest(build), store, keys.release), builds))
    assert sorted(one.release.counter for one in made) == [1, 2, 3, 4]


def test_the_same_build_again_changes_nothing(make_build, store, keys):
    build = make_build()
    first = create_release(ReleaseRequest(build), store, keys.release)
    again = create_release(ReleaseRequest(build), store, keys.release)
    assert (first.existed, again.existed) == (False, True)
    assert again.manifest == first.manifest


def test_a_release_never_changes(make_build, store, keys):
    create_release(ReleaseRequest(make_build(seed=1)), store, keys.release)
    before = store.envelope("toy@1.0.0")
    with pytest.raises(ReleaseError) as refused:
        create_release(ReleaseRequest(make_build(seed=2)), store, keys.release)
    assert refused.value.code == "exists"
    assert store.envelope("toy@1.0.0") == before


GOLDEN = b"".join(bytes([n]) * 700 for n in range(200))
"""Packs well."""


def test_a_golden_file_that_packs_well_is_packed_for_agents_that_know_it(make_build, store, keys):
    made = create_release(ReleaseRequest(make_build(golden=GOLDEN)), store, keys.release).release
    sha256 = hashlib.sha256(GOLDEN).hexdigest()
    (packed,) = made.newer_patches
    assert (packed.base_sha256, packed.new_sha256, packed.format_version) == (EMPTY_SHA256, sha256, 2)
    found = bytearray()
    patch.apply(b"", store.get(packed.blob.sha256), found.extend, max_new_bytes=len(GOLDEN))
    assert found == GOLDEN
    (bundle,), fetched = made.bundles, len(GOLDEN) - packed.blob.size
    sizes = [transfer(made.patches_up_to(known), bundle, set()).fetched for known in (1, 2)]
    assert sizes[0] - sizes[1] == fetched > 65536


def test_what_packs_badly_or_is_held_is_sent_as_it_is(make_build, store, keys):
    noise = np.random.default_rng(1).bytes(200_000)
    first = create_release(ReleaseRequest(make_build(golden=noise)), store, keys.release).release
    assert first.newer_patches == ()
    assert create_release(ReleaseRequest(make_build("1.1.0", golden=noise)), store, keys.release).release.patches == ()


def test_a_changed_golden_file_is_patched(make_build, store, keys):
    create_release(ReleaseRequest(make_build(golden=GOLDEN)), store, keys.release)
    changed = GOLDEN[:-100] + bytes(100)
    made = create_release(ReleaseRequest(make_build("1.1.0", golden=changed)), store, keys.release).release
    held = {hashlib.sha256(GOLDEN).hexdigest()}
    route = cheapest(made.patches, held, hashlib.sha256(changed).hexdigest())
    assert bytes_of(route) < 300


def test_a_stick_holds_whatever_an_agent_of_any_age_plans_to_fetch(make_build, store, keys, tmp_path):
    """An agent plans by the manifest and then has only the stick: what it finds packed there must be on it."""
    made = create_release(ReleaseRequest(make_build(golden=GOLDEN)), store, keys.release).release
    export(store, made.name, "cpu", tmp_path / "stick")
    written = {path.name for path in (tmp_path / "stick").iterdir()}
    golden = hashlib.sha256(GOLDEN).hexdigest()
    for known in (1, 2):
        route = cheapest(made.patches_up_to(known), set(), golden)
        assert ({golden} if route is None else {ref.blob.sha256 for ref in route}) <= written
    assert route
    with pytest.raises(ReleaseError, match="has no patch for cpu"):
        export(store, made.name, "cpu", tmp_path / "other", only_patches=True)


def test_patches_from_the_last_releases_make_the_new_files(make_build, store, keys):
    for seed in (1, 2, 3, 4):
        create_release(ReleaseRequest(make_build(f"1.{seed}.0", seed)), store, keys.release)
    made = create_release(ReleaseRequest(make_build("1.5.0", 5), patches_from=2), store, keys.release).release
    bases = {store.release(f"toy@1.{seed}.0").bundles[0].model.blob.sha256 for seed in (3, 4)}
    model = made.bundles[0].model.blob
    assert {ref.base_sha256 for ref in made.patches if ref.new_sha256 == model.sha256} == bases
    for ref in made.patches:
        new = bytearray()
        patch.apply(store.get(ref.base_sha256), store.get(ref.blob.sha256), new.extend, max_new_bytes=model.size)
        assert bytes(new) == store.get(ref.new_sha256)
        assert ref.blob.size < len(new)


def test_a_device_that_is_further_behind_follows_a_chain(make_build, store, keys):
    for seed in (1, 2, 3):
        create_release(ReleaseRequest(make_build(f"1.{seed}.0", seed), patches_from=1), store, keys.release)
    made = store.release("toy@1.3.0")
    first, last = (store.release(f"toy@1.{seed}.0").bundles[0].model.blob for seed in (1, 3))
    route = cheapest(made.patches, {first.sha256}, last.sha256)
    assert len(route) == 2
    content = store.get(first.sha256)
    for ref in route:
        new = bytearray()
        patch.apply(content, store.get(ref.blob.sha256), new.extend, max_new_bytes=10 * last.size)
        content = bytes(new)
    assert content == store.get(last.sha256)
    (way,) = transfers(store.release("toy@1.1.0"), made)
    assert bytes_of(route) <= way.fetched < way.full


def test_a_chain_longer_than_the_file_is_not_kept(make_build, store, keys):
    for seed in (1, 2):
        create_release(ReleaseRequest(make_build(f"1.{seed}.0", seed), patches_from=0), store, keys.release)
    made = create_release(ReleaseRequest(make_build("1.3.0", 3), patches_from=0), store, keys.release).release
    assert made.patches == ()


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"x")], ids=["gone", "damaged"])
def test_an_earlier_file_that_the_store_cannot_give_costs_its_patch_only(make_build, store, keys, spoil):
    first = create_release(ReleaseRequest(make_build("1.0.0", 1)), store, keys.release).release
    lost = first.bundles[0].model.blob.sha256
    spoil(store.path(lost))
    made = create_release(ReleaseRequest(make_build("1.1.0", 2)), store, keys.release)
    assert lost not in {ref.base_sha256 for ref in made.release.patches}
    (warning,) = made.warnings
    assert warning.startswith(f"no patch from {lost[:12]}: ")


def test_unchanged_files_need_no_patch_and_none_is_asked_for(make_build, store, keys):
    create_release(ReleaseRequest(make_build("1.0.0")), store, keys.release)
    same = create_release(ReleaseRequest(make_build("1.0.1")), store, keys.release).release
    assert same.patches == ()
    none = create_release(ReleaseRequest(make_build("1.0.2", 2), patches_from=0), store, keys.release).release
    assert none.patches == ()


@pytest.mark.parametrize(("newer_bytes", "formats"), [(500, {1, 2}), (900, {1})])
def test_a_patch_of_a_newer_format_comes_beside_one_for_old_agents_where_it_saves_enough(
    make_build, store, keys, newer_bytes, formats
):
    def encoder(old: bytes, new: bytes, _share: object) -> Patch:
        return Patch(b"2" * newer_bytes, "typed", 0.0, {}, format_version=2, fallback=Fallback(b"1" * 1000, "bsdiff"))

    create_release(ReleaseRequest(make_build("1.0.0", 1)), store, keys.release, encoder=encoder)
    made = create_release(ReleaseRequest(make_build("1.1.0", 2)), store, keys.release, encoder=encoder).release
    assert {ref.format_version for ref in made.patches} == {1}
    assert {ref.format_version for ref in (*made.patches, *made.newer_patches)} == formats
    assert {ref.blob.sha256 for ref in made.newer_patches} <= {ref.sha256 for ref in store.blob_refs("toy@1.1.0")}


def test_old_agents_keep_a_chain_of_their_own(make_build, store, keys):
    def encoder(old: bytes, new: bytes, _share: object) -> Patch:
        data = hashlib.sha256(old + new).digest()
        return Patch(data, "typed", 0.0, {}, format_version=2, fallback=Fallback(data * 30, "bsdiff"))

    for seed in range(1, 4):
        request = ReleaseRequest(make_build(f"1.{seed}.0", seed), patches_from=1)
        create_release(request, store, keys.release, encoder=encoder)
    first, last = (store.release(f"toy@1.{seed}.0").bundles[0].model.blob.sha256 for seed in (1, 3))
    made = store.release("toy@1.3.0")
    for patch_format in (1, 2):
        route = cheapest(made.patches_up_to(patch_format), {first}, last)
        assert [patch.format_version for patch in route] == [patch_format] * 2


def test_blob_refs_name_all_that_a_device_may_need_once(make_build, store, keys):
    create_release(ReleaseRequest(make_build("1.0.0", 1)), store, keys.release)
    made = create_release(ReleaseRequest(make_build("1.1.0", 2)), store, keys.release)
    refs = store.blob_refs("toy@1.1.0")
    expected = {made.manifest.sha256, *(ref.blob.sha256 for ref in made.release.patches)}
    expected |= {artifact.blob.sha256 for artifact in made.release.bundles[0].artifacts}
    assert {ref.sha256 for ref in refs} == expected
    assert len(refs) == len(expected)
    assert all(len(store.get(ref.sha256)) == ref.size for ref in refs)


BAD_BUILDS = {
    "no build.json": lambda folder: (folder / "build.json").unlink(),
    "malformed": lambda folder: (folder / "build.json").write_text('{"schema": 1, "model": "UPPER"}'),
    "changed model": lambda folder: (folder / "model.tflite").write_bytes(b"other"),
    "missing golden": lambda folder: (folder / "golden.npz").unlink(),
    "escaping name": lambda folder: (folder / "build.json").write_text(
        (folder / "build.json").read_text().replace('"model.tflite"', '"../model.tflite"')
    ),
}


@pytest.mark.parametrize("case", BAD_BUILDS)
def test_a_folder_that_is_no_build_is_refused_and_nothing_is_stored(make_build, store, keys, case: str):
    folder = make_build()
    BAD_BUILDS[case](folder)
    with pytest.raises(ReleaseError) as refused:
        create_release(ReleaseRequest(folder), store, keys.release)
    assert refused.value.exit_code == 2
    assert store.releases() == []


def test_an_artifact_that_no_device_accepts_is_refused_before_it_is_read(make_build, store, keys):
    folder = make_build()
    with (folder / "model.tflite").open("r+b") as file:
        file.truncate(MAX_BLOB_BYTES + 1)
    with pytest.raises(BlobSizeError, match="at most 268,435,456"):
        create_release(ReleaseRequest(folder), store, keys.release)
    assert store.releases() == []


@pytest.mark.parametrize("version", ["1", "v1.0.0", "1.0.0/../..", ""])
def test_a_version_that_is_none(make_build, store, keys, version: str):
    with pytest.raises(ReleaseError) as refused:
        create_release(ReleaseRequest(make_build(None), version), store, keys.release)
    assert refused.value.code == "version"


def test_compare_and_transfers(make_build, store, keys):
    old = create_release(ReleaseRequest(make_build("1.0.0", 1)), store, keys.release).release
    new = create_release(ReleaseRequest(make_build("1.1.0", 2)), store, keys.release).release
    assert compare(old, old) == []
    assert {row.what for row in compare(old, new)} == {"counter", "source", "cpu model.tflite", "cpu golden.npz"}
    (way,) = transfers(old, new)
    assert way.patched
    assert way.fetched == sum(ref.blob.size for ref in new.patches)
    assert way.full == 102_004
    (back,) = transfers(new, old)
    assert (back.patched, back.fetched) == (False, 102_000)


def test_an_error_with_a_unit_is_not_compared_in_percent(make_build, store, keys):
    old = create_release(ReleaseRequest(make_build("1.0.0", 1)), store, keys.release).release
    quality = msgspec.structs.replace(old.quality, metric="MAE", int8_value=3.25, better="lower", unit="mm")
    rows = {row.what: row.new for row in compare(old, msgspec.structs.replace(old, quality=quality))}
    assert rows["MAE int8"] == "3.25 mm"


def test_the_commands(make_build, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SKERRY_HOME", str(tmp_path / "home"))
    assert run(["release", "list"]) == 2
    assert "run `skerry init`" in capsys.readouterr().err
    assert run(["init"]) == 0
    for version, seed in (("1.0.0", 1), ("1.1.0", 2)):
        assert run(["release", "create", str(make_build(version, seed))]) == 0
    capsys.readouterr()
    assert run(["release", "list", "--json"]) == 0
    assert [row["release"] for row in json.loads(capsys.readouterr().out)] == ["toy@1.0.0", "toy@1.1.0"]
    assert run(["release", "show", "toy@1.1.0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["manifest"]["counter"] == 2
    assert run(["release", "diff", "toy@1.0.0", "toy@1.1.0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["transfers"][0]["full"] == 102_004
    for arguments in (["list"], ["show", "toy@1.1.0"], ["diff", "toy@1.0.0", "toy@1.1.0"]):
        assert run(["release", *arguments]) == 0
    assert "with patches" in capsys.readouterr().out
    assert run(["release", "show", "toy@9.0.0"]) == 2
    assert "available: toy@1.0.0, toy@1.1.0" in capsys.readouterr().err


def test_a_failing_encoder_costs_a_patch_and_a_line_but_no_release(make_build, store, keys):
    def failing(old: bytes, new: bytes, _share: object) -> Patch:
        if len(old) == 2000:
            raise EncodeError("every candidate failed")
        return replace(make_patch(old, new), failed=(Failed("model", "ValueError: shapes"),))

    create_release(ReleaseRequest(make_build("1.0.0", 1)), store, keys.release)
    made = create_release(ReleaseRequest(make_build("1.1.0", 2)), store, keys.release, encoder=failing)
    assert made.release.name in store.releases()
    assert len(made.release.patches) == 1
    texts = sorted(line.partition(": ")[2] for line in made.warnings)
    assert texts[0].startswith("every candidate failed; ")
    assert texts[1].startswith("the model candidate failed and was left out (ValueError: shapes)")


@pytest.mark.parametrize("as_json", [False, True])
def test_the_command_says_what_failed(as_json, make_build, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    def failing(old: bytes, new: bytes, _share: object) -> Patch:
        return replace(make_patch(old, new), failed=(Failed("model", "ValueError: shapes"),))

    monkeypatch.setenv("SKERRY_HOME", str(tmp_path / "home"))
    assert run(["init"]) == 0
    assert run(["release", "create", str(make_build("1.0.0", 1))]) == 0
    assert "warning" not in capsys.readouterr().err
    release_build(ReleaseRequest(make_build("1.1.0", 2)), as_json, failing)
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert len(lines) == 2  # one for each of two files
    assert all("the model candidate failed and was left out (ValueError: shapes)" in line for line in lines)
    if as_json:
        assert [f"warning: {line}" for line in json.loads(said.out)["warnings"]] == lines


def test_chunks_are_as_large_as_they_are_wanted_and_the_same_for_manifest_and_patches(make_build, store, keys):
    create_release(ReleaseRequest(make_build("1.0.0", 1)), store, keys.release)
    made = create_release(ReleaseRequest(make_build("1.1.0", 2), chunk_bytes=1024), store, keys.release)
    refs = store.blob_refs("toy@1.1.0")
    assert {ref.chunk_bytes for ref in refs if ref.size > 1024} == {1024}
    assert store.manifest_ref("toy@1.1.0") == made.manifest
    assert made.manifest.digests_sha256 is not None
    assert all(min(ref.size, ref.chunk_bytes) <= 1024 for ref in refs)
    assert store.manifest_ref("toy@1.0.0").chunk_bytes == 65536


def test_a_file_of_too_many_chunks_is_refused_in_one_line(make_build, store, keys):
    build = make_build()
    record = json.loads((build / "build.json").read_text())
    name = record["bundles"][0]["artifacts"][0]["name"]
    data = bytes(5_000_000)
    (build / name).write_bytes(data)
    record["bundles"][0]["artifacts"][0]["blob"] = json.loads(codec.encode(describe(data)))
    (build / "build.json").write_text(json.dumps(record))
    with pytest.raises(ReleaseError, match="chunks are over the limit of 4096; choose larger chunks") as error:
        create_release(ReleaseRequest(build, chunk_bytes=1024), store, keys.release)
    assert error.value.code == "chunks"
    assert store.releases() == []


@pytest.mark.parametrize(
    ("limit", "chunk"),
    [(None, 65536), ("32768", 32768), ("40000", 32768), ("131072", 65536), ("0", 1024), ("x", 65536)],
)
def test_chunks_follow_what_the_broker_passes_on(tmp_path, limit, chunk):
    home = make_home(tmp_path / "home")
    if limit is not None:
        home.chunk_limit.write_text(limit)
    assert chunk_bytes_of(home) == chunk
