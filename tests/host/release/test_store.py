import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.wire import blobs
from skerry_agent.wire.twin import SlotReport
from skerry_host.files import write_atomic, write_new
from skerry_host.home import HomeError, home_at, init_home, open_home
from skerry_host.release.create import ReleaseRequest, create_release
from skerry_host.release.errors import KeyFileError, ReleaseError, StoreError
from skerry_host.release.keys import load, load_or_create, trust_keys
from skerry_host.release.store import Store


@given(data=st.binary(max_size=300_000))
def test_what_is_put_comes_back(tmp_path_factory: pytest.TempPathFactory, data: bytes):
    store = Store(tmp_path_factory.mktemp("store"))
    ref = store.put(data)
    assert ref == blobs.describe(data) == store.put(data)
    assert store.get(ref.sha256) == data


def test_damage_is_noticed_and_repaired_by_putting_again(store: Store, tmp_path: Path):
    ref = store.put(b"content")
    path = tmp_path / "store" / "objects" / ref.sha256[:2] / ref.sha256
    path.write_bytes(b"contenT")
    with pytest.raises(StoreError) as refused:
        store.get(ref.sha256)
    assert (refused.value.code, refused.value.exit_code) == ("damaged", 1)
    store.put(b"content")
    assert store.get(ref.sha256) == b"content"


@pytest.mark.parametrize("name", ["0" * 64, "../../etc/passwd", "", "A" * 64])
def test_an_object_that_is_not_there(store: Store, name: str):
    with pytest.raises(StoreError):
        store.get(name)


@pytest.mark.parametrize("name", ["toy@9.9.9", "toy", "../x@1.0.0", "toy@1.0.0/../../x"])
def test_a_release_that_is_not_there(store: Store, name: str):
    with pytest.raises(ReleaseError) as refused:
        store.release(name)
    assert refused.value.exit_code == 2


def test_a_damaged_release_names_its_file(make_build, store: Store, keys, tmp_path: Path):
    create_release(ReleaseRequest(make_build()), store, keys.release)
    (tmp_path / "store" / "releases" / "toy" / "1.0.0.json").write_bytes(b"{}")
    with pytest.raises(StoreError, match=r"1\.0\.0\.json is damaged"):
        store.release("toy@1.0.0")


def test_the_files_of_a_device_s_slot(make_build, store: Store, keys):
    """Of a release that another host made, only the model is known: the device names it."""
    release = create_release(ReleaseRequest(make_build()), store, keys.release).release
    files = {artifact.blob.sha256 for artifact in release.bundle("cpu").artifacts}
    model = release.bundle("cpu").model.blob.sha256
    assert len(files) == 3
    assert store.files_of(SlotReport(release.name, "cpu", "0" * 64, model)) == files
    assert store.files_of(SlotReport("toy@9.9.9", "cpu", "0" * 64, model)) == {model}


def test_foreign_files_in_the_store_are_not_releases(store: Store, tmp_path: Path):
    folder = tmp_path / "store" / "releases" / "toy"
    folder.mkdir(parents=True)
    for name in ("notes.json", ".tmp-1.json", "1.0.json"):
        (folder / name).touch()
    assert store.releases() == []


def test_keys_are_made_once_private_and_of_two_kinds(tmp_path: Path):
    first, again = load_or_create(tmp_path / "k"), load_or_create(tmp_path / "k")
    assert first.release.keyid == again.release.keyid != first.director.keyid
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "k").iterdir()} == {0o600}
    assert set(trust_keys(tmp_path / "k")) == {"release", "director"}


BAD_KEYS = {
    "missing": (Path.unlink, "run `skerry init`"),
    "open to others": (lambda path: path.chmod(0o644), "chmod 600"),
    "damaged": (lambda path: path.write_bytes(b"-----BEGIN PRIVATE KEY-----\n"), "not a plain PEM"),
}


@pytest.mark.parametrize("case", BAD_KEYS)
def test_an_unusable_key(tmp_path: Path, case: str):
    load_or_create(tmp_path)
    spoil, expected = BAD_KEYS[case]
    spoil(tmp_path / "release.pem")
    with pytest.raises(KeyFileError, match=expected):
        load(tmp_path, "release")


def test_a_file_is_replaced_whole_and_a_new_one_never_replaces(tmp_path: Path):
    path = tmp_path / "f"
    write_new(path, b"one", mode=0o600)
    with pytest.raises(FileExistsError):
        write_new(path, b"two")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"one", 0o600)
    write_atomic(path, b"three")
    assert path.read_bytes() == b"three"
    assert list(tmp_path.iterdir()) == [path]


def test_homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SKERRY_HOME", raising=False)
    assert home_at().root == tmp_path / ".skerry"
    monkeypatch.setenv("SKERRY_HOME", str(tmp_path / "elsewhere"))
    with pytest.raises(HomeError, match="skerry init"):
        open_home()
    assert init_home() == init_home() == open_home()
    (tmp_path / "file").touch()
    with pytest.raises(HomeError, match="--home"):
        init_home(tmp_path / "file" / "home")
