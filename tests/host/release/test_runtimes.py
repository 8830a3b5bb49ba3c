"""Folders of wheels become a signed release: everything that is wrong is said at once, and the same gives the same."""

import hashlib
import io
import struct
import zipfile
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.wire import codec, envelope
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.envelope import Envelope
from skerry_agent.wire.runtimes import REQUIREMENTS, older_glibc
from skerry_agent.wire.wheel_names import parse_wheel_name
from skerry_host.release import keys
from skerry_host.release.errors import ReleaseError
from skerry_host.release.export import export
from skerry_host.release.runtime_store import RuntimeStore
from skerry_host.release.runtimes import RuntimeRequest, create_runtime
from skerry_host.release.sign import Ed25519Signer
from skerry_host.release.store import Store
from skerry_host.release.wheel_place import Place
from skerry_host.release.wheelhouse import WheelhouseError, pack
from tests.kit.home import add_release, make_home
from tests.kit.wheels import Wheel, requirements, write_wheels

HERE = Place("aarch64", "cp311")
TINY = Wheel()
NATIVE = Wheel("tiny-native", tag="cp311-cp311-manylinux_2_27_aarch64.manylinux_2_28_aarch64", needs=("tiny>=1.0",))


def elf(machine):
    return "\x7fELF\x02\x01\x01" + "\0" * 11 + struct.pack("<H", machine).decode("latin-1")


def issues(folder, *wheels, kind="runtime", place=HERE, pins=None):
    write_wheels(folder, *wheels)
    if pins is not None:
        (folder / REQUIREMENTS).write_text(pins)
    with pytest.raises(WheelhouseError) as refused:
        pack(folder, kind, place)
    assert "\n" not in str(refused.value)
    return refused.value.issues


def test_a_wheelhouse_says_what_it_holds_and_what_it_needs(tmp_path):
    packed = pack(write_wheels(tmp_path, TINY, NATIVE), "runtime")
    found = packed.described(describe(packed.tar))
    assert (found.machine, found.python, found.glibc) == ("aarch64", "cp311", "2.27")
    assert found.distributions == {"tiny": "1.0", "tiny-native": "1.0"}
    assert found.imports == ("tiny",), "the module of what nothing else needs"
    assert found.installed_bytes >= 4 * 4096


def test_the_same_wheels_make_the_same_bytes_whatever_their_times_and_order(tmp_path):
    first = pack(write_wheels(tmp_path / "a", TINY, NATIVE), "runtime").tar
    second = pack(write_wheels(tmp_path / "b", NATIVE, TINY), "runtime").tar
    assert first == second


FAULTS = {
    "a name that leads out": (replace(TINY, files={"../evil.py": ""}), "leads out of its folder"),
    "an absolute name": (replace(TINY, files={"/etc/evil.py": ""}), "leads out of its folder"),
    "a name of another system": (replace(TINY, files={"a\\..\\evil.py": ""}), "leads out of its folder"),
    "a file that RECORD does not have": (
        replace(TINY, record="tiny-1.0.dist-info/RECORD,,\n"),
        "its RECORD does not have 'tiny.py'",
    ),
    "a file that only RECORD has": (
        replace(TINY, record="nothing.py,sha256=x,1\n"),
        "its RECORD lists 'nothing.py'",
    ),
    "another Python": (replace(TINY, tag="cp39-cp39-manylinux_2_17_aarch64"), "are for Python cp39, not cp311"),
    "another machine": (replace(TINY, tag="py3-none-manylinux_2_17_x86_64"), "are for machine x86_64, not aarch64"),
    "musl": (replace(TINY, tag="cp311-cp311-musllinux_1_2_aarch64"), "is for musl"),
    "code for another processor": (
        replace(TINY, files={"tiny/x.so": elf(62)}, tag="cp311-cp311-manylinux_2_17_aarch64"),
        "holds code for x86_64, whatever its name says",
    ),
    "what it needs is not there": (replace(TINY, needs=("absent>=2",)), "needs absent>=2, which is not in it"),
    "the agent itself": (replace(TINY, name="skerry-agent"), "a runtime may not bring skerry-agent"),
    "what the agent is made of": (replace(TINY, name="msgspec"), "a runtime may not bring msgspec"),
    "the agent's code under another name": (replace(TINY, files={"skerry_agent/x.py": ""}), "brings skerry_agent"),
    "a module of Python's own": (replace(TINY, files={"json/__init__.py": ""}), "would come before Python's own"),
    "a hook of Python's start": (replace(TINY, files={"sitecustomize.py": ""}), "would come before Python's own"),
    "a hook without its source": (replace(TINY, files={"sitecustomize.pyc": ""}), "would come before Python's own"),
    "a hook among its data": (
        replace(TINY, files={"tiny-1.0.data/data/sitecustomize.py": ""}),
        "would come before Python's own",
    ),
    "the agent's module among its data": (
        replace(TINY, files={"tiny-1.0.data/data/lib/python/msgspec/__init__.py": ""}),
        "of which the agent is made",
    ),
    "a requirement that is none": (replace(TINY, needs=(">>>",)), "is no requirement"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wheel_that_no_device_should_get_is_refused(tmp_path, fault):
    wheel, words = FAULTS[fault]
    assert [each for each in issues(tmp_path, wheel) if words in each], "by another reason"


def test_everything_that_is_wrong_is_said_in_one_round(tmp_path):
    found = issues(tmp_path, replace(TINY, needs=("absent",)), replace(NATIVE, needs=("tiny>=9",)))
    assert sorted(each.split(" needs ")[1] for each in found) == [
        "absent, which is not in it",
        "tiny>=9, and it holds 1.0",
    ]


PINS = {
    "no line for it": ("", "does not name tiny-1.0-py3-none-any.whl"),
    "another hash": (f"tiny==1.0 --hash=sha256:{'0' * 64}\n", "does not have a hash"),
    "no hash": ("tiny==1.0\n", "does not have a hash"),
    "another version": (requirements(TINY).replace("==1.0", "==2.0"), "is not the version"),
    "a wheel that is not there": (requirements(TINY) + "numpy==1 --hash=sha256:00\n", "names numpy, of which"),
    "a line that is none": (requirements(TINY) + "--index-url somewhere\n", "has a line that is none"),
}


@pytest.mark.parametrize("fault", PINS)
def test_each_wheel_is_pinned_by_its_hash(tmp_path, fault):
    pins, words = PINS[fault]
    assert [each for each in issues(tmp_path, TINY, pins=pins) if words in each]


def test_a_lock_with_markers_comments_and_several_hashes_is_read(tmp_path):
    digest = hashlib.sha256(TINY.data).hexdigest()
    lock = f"""# made by a tool
tiny==1.0 ; platform_machine == 'aarch64' \\
    --hash=sha256:{"1" * 64} \\
    --hash=sha256:{digest}
absent==1.0 ; platform_machine == 'x86_64' --hash=sha256:{"2" * 64}
"""
    write_wheels(tmp_path, TINY)
    (tmp_path / REQUIREMENTS).write_text(lock)
    assert pack(tmp_path, "runtime", HERE).machine == "aarch64"


@pytest.mark.parametrize(
    ("wheels", "place", "words"),
    [
        ((TINY,), Place(), "do not tell the machine"),
        ((TINY,), Place("aarch64"), "do not tell the Python"),
        ((TINY,), Place("aarch64", "python3"), "is no tag of a CPython"),
        ((NATIVE, TINY), Place("x86_64"), "are for machine aarch64, not x86_64"),
        ((TINY, replace(TINY, version="2.0")), HERE, "2 times"),
        ((), HERE, "holds no wheel"),
    ],
)
def test_a_folder_that_is_not_for_one_machine_and_python_is_refused(tmp_path, wheels, place, words):
    assert [each for each in issues(tmp_path, *wheels, place=place) if words in each]


BROKEN = {
    "no zip": b"x" * 100,
    "an empty file": b"",
    "cut off": TINY.data[:-30],
    "no metadata": None,
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_file_that_is_no_wheel_is_named(tmp_path, fault):
    data = BROKEN[fault]
    if data is None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("tiny.py", "")
        data = buffer.getvalue()
    write_wheels(tmp_path, TINY)
    (tmp_path / TINY.file).write_bytes(data)
    with pytest.raises(WheelhouseError, match=r"tiny-1\.0-py3-none-any\.whl is no whole wheel"):
        pack(tmp_path, "runtime", HERE)


@given(st.integers(0, len(TINY.data) - 1), st.integers(0, 7))
def test_a_bit_that_flipped_never_passes(tmp_path_factory, at, bit):
    folder = write_wheels(tmp_path_factory.mktemp("w"), TINY)
    data = bytearray(TINY.data)
    data[at] ^= 1 << bit
    (folder / TINY.file).write_bytes(bytes(data))
    with pytest.raises(WheelhouseError):
        pack(folder, "runtime", HERE)


def test_an_agents_wheelhouse_must_hold_the_agent(tmp_path):
    assert "must hold skerry-agent" in " ".join(issues(tmp_path / "without", TINY, kind="agent"))
    agent = replace(TINY, name="skerry-agent", files={"skerry_agent/__init__.py": ""})
    assert pack(write_wheels(tmp_path / "with", agent), "agent", HERE).machine == "aarch64"


class Bench:
    def __init__(self, folder):
        self.folder, self.store = folder, Store(folder / "store")
        self.signer = Ed25519Signer(Ed25519PrivateKey.generate())
        self.runtimes = RuntimeStore(self.store)

    def create(self, *wheels, name="litert", version="2.4.0", when="now", **fields):
        folder = write_wheels(self.folder / f"w{len(list(self.folder.iterdir()))}", *wheels)
        request = RuntimeRequest((folder,), name, version, place=HERE, **fields)
        return create_runtime(request, self.store, self.signer, when)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_a_release_is_signed_under_a_type_of_its_own_and_its_tar_is_an_object(bench):
    made = bench.create(TINY)
    signed = codec.decode(bench.runtimes.envelope("litert@2.4.0"), Envelope)
    assert signed.payload_type == envelope.RUNTIME
    tar = bench.store.get(made.manifest.wheelhouses[0].artifact.sha256)
    assert describe(tar) == made.manifest.wheelhouses[0].artifact
    ref = bench.runtimes.manifest_ref("litert@2.4.0")
    assert bench.store.get(ref.sha256) == bench.runtimes.envelope("litert@2.4.0")
    assert bench.runtimes.named(ref.sha256) == "litert@2.4.0"


def test_the_same_again_changes_nothing_and_another_is_refused(bench):
    first = bench.create(TINY)
    again = bench.create(TINY, when="later")
    assert (again.manifest, again.existed) == (first.manifest, True)
    with pytest.raises(ReleaseError) as refused:
        bench.create(replace(TINY, files={"tiny.py": "other"}))
    assert refused.value.code == "exists"


@pytest.mark.parametrize(("name", "version"), [("base", "1.0.0"), ("Lite RT", "1.0.0"), ("litert", "2.4")])
def test_a_name_that_no_release_may_have_is_refused(bench, name, version):
    with pytest.raises(ReleaseError):
        bench.create(TINY, name=name, version=version)


def test_several_machines_are_one_release_and_one_only_once(tmp_path):
    bench = Bench(tmp_path)
    pi = write_wheels(tmp_path / "pi", NATIVE, TINY)
    pc = write_wheels(tmp_path / "pc", replace(NATIVE, tag="cp312-cp312-manylinux_2_34_x86_64"), TINY)
    request = RuntimeRequest((pi, pc), "litert", "2.4.0")
    made = create_runtime(request, bench.store, bench.signer, "now")
    assert [house.tag for house in made.manifest.wheelhouses] == ["cp311-aarch64", "cp312-x86_64"]
    assert [house.glibc for house in made.manifest.wheelhouses] == ["2.27", "2.34"]
    with pytest.raises(ReleaseError, match="two folders are for cp311 on aarch64"):
        create_runtime(replace(request, folders=(pi, pi)), bench.store, bench.signer, "now")


def test_runtimes_are_listed_apart_from_agents(bench):
    bench.create(TINY)
    bench.create(replace(TINY, name="skerry-agent", files={"skerry_agent/x.py": ""}), name="agent", kind="agent")
    assert bench.runtimes.names("runtime") == ["litert@2.4.0"]
    assert bench.runtimes.names() == ["agent@2.4.0", "litert@2.4.0"]
    with pytest.raises(ReleaseError, match="of kind agent"):
        bench.runtimes.of_kind("agent@2.4.0", "runtime")
    with pytest.raises(ReleaseError, match=r"available: agent@2\.4\.0, litert@2\.4\.0"):
        bench.runtimes.manifest("litert@9.0.0")


NAMES = [
    ("numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl", "x86_64", "cp311", True),
    ("numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl", "x86_64", "cp312", False),
    ("protobuf-7.36.2-cp310-abi3-manylinux2014_x86_64.whl", "x86_64", "cp313", True),
    ("protobuf-7.36.2-cp310-abi3-manylinux2014_x86_64.whl", "x86_64", "cp39", False),
    ("flatbuffers-25.12.19-py2.py3-none-any.whl", "aarch64", "cp311", True),
    ("six-1.0-py2-none-any.whl", "aarch64", "cp311", False),
    ("tiny-1.0-py312-none-any.whl", "aarch64", "cp311", False),
    ("tiny-1.0-1build-cp311-none-linux_aarch64.whl", "aarch64", "cp311", True),
]


@pytest.mark.parametrize(("file", "machine", "python", "fits"), NAMES)
def test_a_wheels_name_says_for_whom_it_is(file, machine, python, fits):
    assert (parse_wheel_name(file).misfit(machine, python) is None) == fits


def test_versions_of_glibc_are_numbers():
    assert older_glibc("2.9", "2.28")
    assert not older_glibc("2.36", "2.4")
    assert not older_glibc("", "2.28")


def test_a_stick_brings_the_runtime_with_the_release_and_one_of_before_does_not_stay(tmp_path):
    home = make_home(tmp_path / "home")
    add_release(home, "1.0.0", b"model")
    store = Store(home.store)
    folder = write_wheels(tmp_path / "wheels", TINY)
    request = RuntimeRequest((folder,), "litert", "2.4.0", place=HERE)
    made = create_runtime(request, store, keys.load(home.keys, "release"), "now")
    stick = tmp_path / "stick"
    export(store, "fashion@1.0.0", "cpu", stick, runtime="litert@2.4.0")
    assert (stick / "runtime.json").read_bytes() == RuntimeStore(store).envelope("litert@2.4.0")
    tar = made.manifest.wheelhouses[0].artifact
    assert describe((stick / tar.sha256).read_bytes()) == tar
    export(store, "fashion@1.0.0", "cpu", stick)
    assert not (stick / "runtime.json").exists()
