"""A home that is backed up and restored is the same home; whatever goes wrong, nothing is there that was not before."""

import contextlib
import errno
import itertools
import os
import shutil
import stat
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import pytest

from skerry_host.fleet.device import Device
from skerry_host.home import Home, open_home
from skerry_host.plane.backup import contents, create, restore, sealed, workplace
from skerry_host.plane.backup.create import Source
from skerry_host.plane.errors import BackupError, PassphraseError, RegistryError
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import devices, events, heartbeats
from skerry_host.plane.registry.records.heartbeats import Heartbeat
from skerry_host.release.store import Store
from tests.kit.home import add_release, make_home, model_bytes

PHRASE = "five random words of a test"
QUICK = 4
NOW = 1_700_000_000.0
GOLDEN = Path(__file__).parent / "golden" / "backup.v1.bin"


@pytest.fixture
def home(tmp_path) -> Home:
    """With a release, two devices, a heartbeat, settings, and files that are of this moment only."""
    made = make_home(tmp_path / "home")
    add_release(made, "1.0.0", model_bytes("a", 20_000))
    with open_registry(made.registry) as registry, registry.write() as session:
        for name in ("dev-1", "dev-2"):
            devices.add(session, Device(name, "generic-x86", targets=("cpu",)), 1.0)
        heartbeats.store(session, Heartbeat(NOW, NOW, NOW, None, "i", 1, "elsewhere", "b", "0"))
    (made.broker / "password").write_text("s3cret")
    (made.broker / "password").chmod(0o600)
    (made.root / "identity").mkdir(mode=0o700)
    (made.root / "identity" / "root.key").write_text("a key of the fleet")
    (made.root / "identity" / "root.key").chmod(0o600)
    (made.root / "a setting of later").write_text("kept")
    (made.root / "wheels").mkdir()
    names = ("serve.json", "serve.lock", "broker/mosquitto.db", "broker/mosquitto.log", "store/.tmp-1", ".tmp-2")
    for name in (*names, "wheels/numpy-2.4.6-cp311-cp311-manylinux_2_27_aarch64.whl"):
        (made.root / name).write_text("of this moment")
    return made


def back_up(home: Home, file: Path) -> create.Made:
    return create.create(Source(home, home.registry, "0.1.0"), file, PHRASE, NOW, QUICK)


def restored(file: Path, to: Path, phrase: str = PHRASE, url: str | None = None) -> Home:
    restore.restore(file, phrase, Home(to), url, NOW + 60)
    return open_home(to)


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    """Path to rights and content of every file that a backup is to keep."""
    return {
        name: (stat.S_IMODE(path.stat().st_mode), path.read_bytes())
        for name, path in contents.files_of(root)
        if not name.startswith("registry.sqlite")
    }


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def ids(home: Home) -> list[str]:
    with open_registry(home.registry) as registry, registry.read() as session:
        return sorted(each.id for each in devices.all_devices(session))


# -- there and back ----------------------------------------------------------------------------------------------------


def test_a_restored_home_has_every_file_with_its_rights_and_the_registry(home, tmp_path):
    before = tree(home.root)
    made = back_up(home, tmp_path / "b")
    again = restored(tmp_path / "b", tmp_path / "again")
    assert tree(again.root) == before
    assert {
        "keys/director.pem",
        "keys/release.pem",
        "identity/root.key",
        "broker/password",
        "a setting of later",
    } < set(before)
    assert ids(again) == ["dev-1", "dev-2"]
    assert (made.contents.devices, made.contents.releases, made.contents.created) == (2, 1, NOW)
    assert Store(again.store).release("fashion@1.0.0").counter == 100


def test_what_is_of_the_moment_or_of_the_other_machine_does_not_come_back(home, tmp_path):
    back_up(home, tmp_path / "b")
    again = restored(tmp_path / "b", tmp_path / "again")
    assert [path for path in again.root.rglob("*") if path.is_file() and path.read_bytes() == b"of this moment"] == []
    with open_registry(again.registry) as registry, registry.read() as session:
        assert heartbeats.find(session) is None, "the next plane would wait for the former one"


def test_the_restored_registry_says_when_it_ends(home, tmp_path):
    back_up(home, tmp_path / "b")
    again = restored(tmp_path / "b", tmp_path / "again")
    with open_registry(again.registry) as registry, registry.read() as session:
        newest = events.latest(session, 1)[0]
    assert (newest.kind, newest.at) == ("restored", NOW + 60)
    assert "2023-11-14 22:13:20" in newest.text


def test_a_backup_and_what_is_restored_are_for_their_owner_only(home, tmp_path):
    back_up(home, tmp_path / "b")
    again = restored(tmp_path / "b", tmp_path / "again")
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o600
    assert stat.S_IMODE(again.root.stat().st_mode) == 0o700
    assert stat.S_IMODE(again.keys.stat().st_mode) == 0o700


def test_no_secret_can_be_read_in_a_backup(home, tmp_path):
    back_up(home, tmp_path / "b")
    raw = (tmp_path / "b").read_bytes()
    secrets = [(home.keys / "director.pem").read_bytes().splitlines()[1], b"a key of the fleet", b"s3cret", b"dev-1"]
    assert [secret for secret in secrets if secret in raw] == []


def test_a_backup_is_restored_into_a_folder_that_is_there_and_empty(home, tmp_path):
    back_up(home, tmp_path / "b")
    (tmp_path / "again").mkdir()
    assert ids(restored(tmp_path / "b", tmp_path / "again")) == ["dev-1", "dev-2"]


def test_a_store_that_is_a_link_to_another_disk_is_in_the_backup(home, tmp_path):
    before = tree(home.root)
    home.store.rename(tmp_path / "disk")
    home.store.symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "loop").symlink_to(tmp_path / "disk")
    back_up(home, tmp_path / "b")
    assert tree(restored(tmp_path / "b", tmp_path / "again").root) == before


def test_a_backup_of_today_can_be_read_for_ever(tmp_path):
    again = restored(GOLDEN, tmp_path / "again")
    assert ids(again) == ["dev-1", "dev-2"]
    assert (again.broker / "password").read_text() == "s3cret"
    assert (again.keys / "director.pem").stat().st_mode & 0o777 == 0o600
    assert restore._damaged(Store(again.store)) == ()


# -- while it is used --------------------------------------------------------------------------------------------------


def test_a_backup_that_is_made_while_releases_and_devices_are_added_is_whole(home, tmp_path):
    """Whatever the registry or a release names is in it, however the writers fall between its steps."""
    ending = threading.Event()

    def write() -> None:
        number = 0
        with open_registry(home.registry) as registry:
            while not ending.is_set():
                number += 1
                add_release(home, f"2.0.{number}", model_bytes(f"b{number}", 60_000))
                with registry.write() as session:
                    devices.add(session, Device(f"of-2.0.{number}", "generic-x86"), 1.0)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(4):
            back_up(home, tmp_path / f"b{number}")
    finally:
        ending.set()
        writer.join()
    for number in range(4):
        done = restore.restore(tmp_path / f"b{number}", PHRASE, Home(tmp_path / f"again{number}"), None, NOW)
        assert done.warnings == ()
        again = open_home(tmp_path / f"again{number}")
        there = set(Store(again.store).releases())
        assert {f"fashion@{each[3:]}" for each in ids(again) if each.startswith("of-")} <= there


def test_a_release_that_is_added_at_any_moment_is_in_the_backup_with_all_its_files_or_not_at_all(home):
    store, at = Store(home.store), 0
    while True:
        walk = contents.files_of(home.root)
        found = [name for name, _path in itertools.islice(walk, at)]
        add_release(home, f"3.0.{at}", model_bytes(f"c{at}", 2000))
        rest = [name for name, _path in walk]
        there = {name.rpartition("/")[2] for name in found + rest}
        releases = [name for name in store.releases() if f"{name.partition('@')[2]}.json" in there]
        assert {ref.sha256 for name in releases for ref in store.blob_refs(name)} <= there
        if not rest:
            break
        at += 7


def test_two_backups_of_a_home_at_once_are_not_made(home, tmp_path):
    with (
        workplace.workplace(home.root / contents.WORKPLACE, "taken"),
        pytest.raises(BackupError, match="another backup"),
    ):
        back_up(home, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_what_a_killed_backup_has_left_goes_with_the_next(home, tmp_path):
    left = home.root / contents.WORKPLACE
    left.mkdir()
    (left / "registry.sqlite").write_text("half of it")
    (tmp_path / ".b.unfinished").write_text("half of it")
    back_up(home, tmp_path / "b")
    assert not left.exists()
    assert names(tmp_path) == ["b", "home"]


def test_what_a_killed_restore_has_left_goes_with_the_next(home, tmp_path):
    back_up(home, tmp_path / "b")
    left = tmp_path / ".again.restoring"
    (left / "keys").mkdir(parents=True)
    (left / "keys" / "director.pem").write_text("half of it")
    restored(tmp_path / "b", tmp_path / "again")
    assert names(tmp_path) == ["again", "b", "home"]


KILLED = """
import os, signal, sys
from pathlib import Path
from skerry_host.home import Home
from skerry_host.plane.backup.restore import restore

file, to, phrase, at = sys.argv[1:]
steps = iter(range(int(at)))

def watch(frame, event, called):
    durable = event == "c_call" and called.__name__ in {"fsync", "fchmod", "rename", "unlink"}
    if durable and next(steps, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)

sys.setprofile(watch)
restore(Path(file), phrase, Home(Path(to)), None, 1.0)
"""


@pytest.mark.parametrize("at", [0, 3, 8, 20])
def test_a_restore_that_is_killed_leaves_no_home_and_the_next_one_makes_it(home, tmp_path, at):
    back_up(home, tmp_path / "b")
    words = [str(tmp_path / "b"), str(tmp_path / "again"), PHRASE, str(at)]
    assert subprocess.run([sys.executable, "-c", KILLED, *words], check=False).returncode == -9
    assert not (tmp_path / "again").exists()
    assert ids(restored(tmp_path / "b", tmp_path / "again")) == ["dev-1", "dev-2"]
    assert names(tmp_path) == ["again", "b", "home"]


def test_a_registry_of_sqlite_that_is_elsewhere_is_in_the_backup(home, tmp_path):
    elsewhere = tmp_path / "elsewhere.sqlite"
    home.registry.rename(elsewhere)
    create.create(Source(home, f"sqlite:///{elsewhere}", "0"), tmp_path / "b", PHRASE, NOW, QUICK)
    assert ids(restored(tmp_path / "b", tmp_path / "again")) == ["dev-1", "dev-2"]


def test_a_home_may_be_named_by_a_way_around(home, tmp_path):
    back_up(home, tmp_path / "b")
    done = restore.restore(tmp_path / "b", PHRASE, Home(tmp_path / "nowhere" / ".." / "again"), None, NOW)
    assert ids(done.home) == ["dev-1", "dev-2"]
    assert names(tmp_path) == ["again", "b", "home"]


def test_an_older_backup_is_replaced_only_by_one_that_is_whole(home, tmp_path):
    back_up(home, tmp_path / "b")
    before = (tmp_path / "b").read_bytes()
    (home.root / "registry.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(RegistryError):
        back_up(home, tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == before
    assert names(tmp_path) == ["b", "home"]


def test_memory_does_not_grow_with_what_is_in_it(home, tmp_path):
    with (home.root / "large").open("wb") as file:
        file.truncate(64 << 20)
    tracemalloc.start()
    try:
        back_up(home, tmp_path / "b")
        restored(tmp_path / "b", tmp_path / "again")
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()


# -- what cannot be done -----------------------------------------------------------------------------------------------


def refused(file: Path, to: Path, phrase: str = PHRASE) -> BackupError:
    """The refusal, which leaves nothing beside what was there."""
    before = names(to.parent)
    with pytest.raises(BackupError) as caught:
        restored(file, to, phrase)
    assert names(to.parent) == before
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_damaged_or_shortened_backup_leaves_nothing(home, tmp_path):
    back_up(home, tmp_path / "b")
    raw = (tmp_path / "b").read_bytes()
    for number, place in enumerate((sealed.HEADER_BYTES + 5, len(raw) // 2, len(raw) - 1)):
        (tmp_path / "cut").write_bytes(raw[:place])
        flipped = bytearray(raw)
        flipped[place] ^= 1
        (tmp_path / "flipped").write_bytes(flipped)
        for name in ("cut", "flipped"):
            assert refused(tmp_path / name, tmp_path / f"again{number}").code == "damaged"


def test_a_wrong_passphrase_leaves_nothing(home, tmp_path):
    back_up(home, tmp_path / "b")
    assert isinstance(refused(tmp_path / "b", tmp_path / "again", "another passphrase"), PassphraseError)


def test_a_home_with_anything_in_it_is_left_alone(home, tmp_path):
    back_up(home, tmp_path / "b")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "letter").write_text("mine")
    assert refused(tmp_path / "b", tmp_path / "used").code == "not_empty"
    assert refused(tmp_path / "b", home.root).code == "not_empty"
    assert (tmp_path / "used" / "letter").read_text() == "mine"
    assert ids(home) == ["dev-1", "dev-2"]


def test_a_file_that_is_none_or_cannot_be_read(home, tmp_path):
    assert refused(home.keys / "director.pem", tmp_path / "again").code == "format"
    assert refused(tmp_path / "nothing", tmp_path / "again").code == "unreadable"
    assert refused(tmp_path, tmp_path / "again").code == "unreadable"


def test_a_backup_is_written_neither_into_its_home_nor_over_another_file(home, tmp_path):
    (tmp_path / "letter").write_text("mine")
    os.mkfifo(tmp_path / "pipe")
    for place in (
        tmp_path / "pipe",
        home.root / "b",
        home.store / "b",
        tmp_path / "letter",
        tmp_path,
        tmp_path / "nowhere" / "b",
    ):
        with pytest.raises(BackupError):
            back_up(home, place)
    assert (tmp_path / "letter").read_text() == "mine"
    assert names(tmp_path) == ["home", "letter", "pipe"]


def test_what_a_member_of_the_archive_is_called_never_leads_out_of_the_home():
    for name in ("/etc/passwd", "home/../../x", "..", "", "home/a\0b"):
        with pytest.raises(BackupError):
            contents.checked(name)


class FullDisk:
    """Takes so many bytes."""

    def __init__(self, room: int) -> None:
        self._room = room

    def write(self, data: bytes) -> int:
        self._room -= len(data)
        if self._room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return len(data)


def test_a_full_disk_is_named(tmp_path):
    written = create._Written(FullDisk(10), tmp_path / "b")
    assert written.write(b"12345") == 5
    with pytest.raises(BackupError, match=r"cannot write .*/b: No space left on device"):
        written.write(b"123456")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB; only root can make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_keeps_the_older_backup_and_leaves_no_half_of_a_new_one(home, small_disk):
    back_up(home, small_disk / "b")
    before = (small_disk / "b").read_bytes()
    add_release(home, "1.1.0", model_bytes("more", 2_000_000))
    with pytest.raises(BackupError, match=r"disk/b: No space left on device"):
        back_up(home, small_disk / "b")
    assert (small_disk / "b").read_bytes() == before
    assert names(small_disk) == ["b"]
    assert not (home.root / contents.WORKPLACE).exists()


def test_a_disk_that_is_full_while_restoring_holds_nothing_afterwards(home, small_disk, tmp_path):
    add_release(home, "1.1.0", model_bytes("more", 2_000_000))
    back_up(home, tmp_path / "b")
    assert "No space left on device" in str(refused(tmp_path / "b", small_disk / "again"))


def test_a_home_without_room_for_a_copy_of_its_registry_says_so(home, small_disk, tmp_path):
    shutil.copytree(home.root, small_disk / "home")
    with contextlib.suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
        while filler.write(b"x" * 4096):
            pass
    os.truncate(small_disk / "filler", (small_disk / "filler").stat().st_size - 120 * 1024)  # to open it, but no more
    with pytest.raises(RegistryError, match=r"cannot be copied: .*full.*needs as much room") as caught:
        back_up(Home(small_disk / "home"), tmp_path / "b")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "b").exists()
    assert not (small_disk / "home" / contents.WORKPLACE).exists()


def test_no_backup_is_made_of_a_damaged_registry_which_could_not_be_used(home, tmp_path):
    back_up(home, tmp_path / "b")
    before = (tmp_path / "b").read_bytes()
    with home.registry.open("r+b") as file:
        file.seek(20 * 4096)
        file.write(b"\xff" * 8 * 4096)
    with pytest.raises(RegistryError, match="is damaged") as caught:
        back_up(home, tmp_path / "b")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "b").read_bytes() == before


def test_a_home_that_is_a_file_system_of_its_own_is_said_to_be_one(home, small_disk, tmp_path):
    back_up(home, tmp_path / "b")
    assert refused(tmp_path / "b", small_disk).code == "mount"


# -- what was damaged before -------------------------------------------------------------------------------------------


def test_an_object_that_was_damaged_before_is_named_on_both_sides_and_spoils_nothing_else(home, tmp_path):
    sha256 = Store(home.store).blob_refs("fashion@1.0.0")[1].sha256
    Store(home.store).path(sha256).write_bytes(b"damaged")
    made = back_up(home, tmp_path / "b")
    done = restore.restore(tmp_path / "b", PHRASE, Home(tmp_path / "again"), None, NOW)
    assert [sha256[:12] in each for each in (*made.warnings, *done.warnings)] == [True, True]
    assert ids(open_home(tmp_path / "again")) == ["dev-1", "dev-2"]
