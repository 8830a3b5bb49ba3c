"""What is written for a stick: what a device needs, and nothing that it cannot use."""

import pytest

from skerry_agent.wire import codec
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.envelope import Envelope
from skerry_agent.wire.manifest import PatchRef, Release
from skerry_host.release.errors import ReleaseError
from skerry_host.release.export import MANIFEST_FILE, _leading_to, export
from skerry_host.release.store import Store
from tests.kit.home import add_release, make_home, model_bytes

OLD, NEW = model_bytes("old", 5000), model_bytes("new", 5000)


@pytest.fixture
def store(tmp_path):
    home = make_home(tmp_path / "home")
    add_release(home, "1.0.0", OLD)
    add_release(home, "1.1.0", NEW, base=OLD, patch=b"patch")
    return Store(home.store)


def test_a_stick_holds_the_signed_bytes_and_every_file_by_its_hash(store, tmp_path):
    done = export(store, "fashion@1.1.0", "cpu", tmp_path / "stick")
    files = {path.name: path.read_bytes() for path in (tmp_path / "stick").iterdir()}
    manifest = files.pop(MANIFEST_FILE)
    assert manifest == store.envelope("fashion@1.1.0")
    assert all(describe(data).sha256 == name for name, data in files.items())
    assert {NEW, b"patch"} < set(files.values())
    assert (done.files, done.bytes) == (len(files) + 1, len(manifest) + sum(map(len, files.values())))
    assert codec.decode(codec.decode(manifest, Envelope).payload, Release).name == "fashion@1.1.0"


def test_only_patches_leaves_the_full_model_out(store, tmp_path):
    export(store, "fashion@1.1.0", "cpu", tmp_path / "stick", only_patches=True)
    written = [path.read_bytes() for path in (tmp_path / "stick").iterdir()]
    assert b"patch" in written
    assert NEW not in written


@pytest.mark.parametrize(
    ("name", "target", "only_patches"),
    [("fashion@9.9.9", "cpu", False), ("fashion@1.0.0", "onnx", False), ("fashion@1.0.0", "cpu", True)],
)
def test_what_cannot_be_exported_leaves_nothing(store, tmp_path, name, target, only_patches):
    with pytest.raises(ReleaseError):
        export(store, name, target, tmp_path / "stick", only_patches=only_patches)
    assert not (tmp_path / "stick").exists()


def test_patches_of_patches_come_along():
    def patch(base, new):
        return PatchRef(base * 64, new * 64, "zstd", describe(f"{base}{new}".encode()))

    one, two, loop, other = patch("a", "b"), patch("b", "c"), patch("c", "a"), patch("d", "e")
    assert _leading_to((one, two, loop, other), {"c" * 64}) == [two, one, loop]
