"""The inference API on a Unix socket: foreign clients, shared memory, and who may use whose."""

import contextlib
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException, shared_memory

from skerry_agent.ports import runner_protocol
from skerry_agent.runner.http.messages import RequestError
from skerry_agent.runner.http.shared_memory import MAX_REGIONS, Regions

SHM = Path("/dev/shm")
X = np.array([[1, 1, 1, 1]], np.float32)


@pytest.fixture
def doors(tmp_path):
    """A listening Unix socket and the memory file of its regions, as the supervisor makes them."""
    store = os.memfd_create("regions")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "model.sock"))
        unix.listen()
        yield {"unix_fd": unix.fileno(), "regions_fd": store}
    os.close(store)


@pytest.fixture
def unix(spawn, tiny, doors, tmp_path):
    """Start a runner on the Unix socket; returns (child, path of the socket)."""

    def start():
        child = spawn(tiny("add", **doors))
        child.ready()
        return child, tmp_path / "model.sock"

    return start


@pytest.fixture
def forwarded():
    """A TCP port that leads to a Unix socket, for clients that know none."""
    with contextlib.ExitStack() as stack:

        def forward(path):
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            threading.Thread(target=_accept, args=(server, str(path)), daemon=True).start()
            return server.getsockname()[1]

        yield forward


def _accept(server, path):
    with contextlib.suppress(OSError):
        while True:
            one, _ = server.accept()
            other = socket.socket(socket.AF_UNIX)
            other.connect(path)
            for source, target in ((one, other), (other, one)):
                threading.Thread(target=_pump, args=(source, target), daemon=True).start()


def _pump(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def memory():
    """Shared memory objects by tritonclient, which are removed in the end."""
    made = []

    def make(size):
        name = f"skerry-test-{uuid.uuid4().hex[:12]}"
        made.append(shared_memory.create_shared_memory_region(name, f"/{name}", size))
        return name, made[-1]

    yield make
    for handle in made:
        with contextlib.suppress(Exception):
            shared_memory.destroy_shared_memory_region(handle)


def curl(path, *arguments):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    command = ["curl", "-sS", "--unix-socket", str(path), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout


def test_curl_reaches_it(unix):
    _, path = unix()
    meta = json.loads(curl(path, "http://localhost/v2"))
    assert {"binary_tensor_data", "system_shared_memory"} <= set(meta["extensions"])
    body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]}]}
    answer = json.loads(curl(path, "-d", json.dumps(body), "http://localhost/v2/models/tiny/infer"))
    assert answer["outputs"][0]["data"] == [2, 3, 4, 5]


def test_a_foreign_client_infers_through_shared_memory(unix, forwarded, memory):
    _, path = unix()
    name, handle = memory(64)
    with triton.InferenceServerClient(f"127.0.0.1:{forwarded(path)}") as client:
        client.register_system_shared_memory("r", f"/{name}", 64)
        assert client.get_system_shared_memory_status() == [
            {"name": "r", "key": f"/{name}", "offset": 0, "byte_size": 64}
        ]
        entry = triton.InferInput("x", [1, 4], "FP32")
        entry.set_shared_memory("r", X.nbytes)
        wanted = triton.InferRequestedOutput("y")
        wanted.set_shared_memory("r", 16, offset=32)
        for step in range(3):  # the same JSON each time, other numbers in the memory
            shared_memory.set_shared_memory_region(handle, [X + step])
            answer = client.infer("tiny", [entry], outputs=[wanted])
            assert answer.get_output("y")["parameters"]["shared_memory_region"] == "r"
            got = shared_memory.get_contents_as_numpy(handle, np.float32, [1, 4], 32)
            assert got.tolist() == [[2 + step, 3 + step, 4 + step, 5 + step]]
        other, handle_2 = memory(64)
        shared_memory.set_shared_memory_region(handle_2, [X * 0])
        client.register_system_shared_memory("r", f"/{other}", 64)  # the same name for another place
        client.infer("tiny", [entry], outputs=[wanted])
        assert shared_memory.get_contents_as_numpy(handle_2, np.float32, [1, 4], 32).tolist() == [[1, 2, 3, 4]]
        client.unregister_system_shared_memory("r")
        assert client.get_system_shared_memory_status() == []
        with pytest.raises(InferenceServerException, match="no region r is registered"):
            client.infer("tiny", [entry], outputs=[wanted])


def test_real_values_of_an_int8_model_travel_through_shared_memory_as_floats(
    spawn, tiny, doors, tmp_path, forwarded, memory
):
    spawn(tiny("copy", **doors)).ready()  # int8, real = (q - 3) / 2
    name, handle = memory(64)
    with triton.InferenceServerClient(f"127.0.0.1:{forwarded(tmp_path / 'model.sock')}") as client:
        client.register_system_shared_memory("r", f"/{name}", 64)
        shared_memory.set_shared_memory_region(handle, [X * 2.5])
        entry, wanted = triton.InferInput("input", [1, 4], "FP32"), triton.InferRequestedOutput("output")
        entry.set_shared_memory("r", 16)
        wanted.set_shared_memory("r", 16, offset=32)
        client.infer("tiny", [entry], outputs=[wanted])
        assert shared_memory.get_contents_as_numpy(handle, np.float32, [1, 4], 32).tolist() == [[2.5] * 4]
        wanted.set_shared_memory("r", 4, offset=32)
        with pytest.raises(InferenceServerException, match="the tensor has 16 bytes"):
            client.infer("tiny", [entry], outputs=[wanted])
        raw = triton.InferInput("x", [1, 4], "INT8")
        raw.set_shared_memory("r", 4, offset=60)
        client.infer("tiny", [raw], outputs=[wanted])  # as applications of before did it
        assert shared_memory.get_contents_as_numpy(handle, np.int8, [1, 4], 32).tolist() == [[0] * 4]
        best = triton.InferRequestedOutput("output", class_count=1)
        best._parameters |= {"shared_memory_region": "r", "shared_memory_byte_size": 16}
        with pytest.raises(InferenceServerException, match="not known beforehand"):
            client.infer("tiny", [entry], outputs=[best])


def test_a_release_that_takes_over_knows_the_regions(unix, forwarded, memory):
    first, path = unix()
    name, handle = memory(16)
    shared_memory.set_shared_memory_region(handle, [X])
    entry = triton.InferInput("x", [1, 4], "FP32")
    entry.set_shared_memory("r", 16)
    with triton.InferenceServerClient(f"127.0.0.1:{forwarded(path)}") as client:
        client.register_system_shared_memory("r", f"/{name}", 16)
    first.say(runner_protocol.Drain(0.0))
    first.expect(runner_protocol.Drained)
    unix()
    with triton.InferenceServerClient(f"127.0.0.1:{forwarded(path)}") as client:
        assert client.infer("tiny", [entry]).as_numpy("y").tolist() == [[2, 3, 4, 5]]


def test_shared_memory_is_not_for_clients_of_tcp(spawn, tiny, listener):
    child = spawn(tiny("add", listen_fd=listener.fileno()), listener)
    child.ready()
    with triton.InferenceServerClient(f"127.0.0.1:{listener.getsockname()[1]}") as client:
        assert "system_shared_memory" not in client.get_server_metadata()["extensions"]
        entry = triton.InferInput("x", [1, 4], "FP32")
        entry.set_shared_memory("r", 16)
        for ask in (client.get_system_shared_memory_status, lambda: client.infer("tiny", [entry])):
            with pytest.raises(InferenceServerException, match="for clients on the Unix socket"):
                ask()
        with pytest.raises(InferenceServerException, match="for clients on the Unix socket"):
            client.register_system_shared_memory("r", "/r", 16)


@pytest.fixture
def regions(tmp_path):
    """Regions over a folder of the test's own, whose files are 64 bytes long."""
    (tmp_path / "mine").write_bytes(bytes(64))
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    store = os.memfd_create("regions")
    yield Regions(store, tmp_path)
    os.close(store)


ME = os.getuid()


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        ("r", b"{", "region: "),
        ("r", b'{"key": "/mine"}', "byte_size"),
        ("r", b'{"key": "/../mine", "byte_size": 8}', "no name of shared memory"),
        ("r", b'{"key": "..", "byte_size": 8}', "no name of shared memory"),
        ("r", b'{"key": "/a/b", "byte_size": 8}', "no name of shared memory"),
        ("r", b'{"key": "/a\\u0000b", "byte_size": 8}', "no name of shared memory"),
        ("r", b'{"key": "", "byte_size": 8}', "no name of shared memory"),
        ("r", b'{"key": "/absent", "byte_size": 8}', "No such file"),
        ("r", b'{"key": "/link", "byte_size": 8}', "symbolic links"),
        ("r", b'{"key": "/folder", "byte_size": 8}', "directory"),
        ("r", b'{"key": "/fifo", "byte_size": 8}', "not shared memory of the user who asks"),
        ("r", b'{"key": "/mine", "byte_size": 65}', "shorter than 65 bytes"),
        ("r", b'{"key": "/mine", "byte_size": 8, "offset": 60}', "shorter than 68 bytes"),
        ("r", b'{"key": "/mine", "byte_size": 0}', "no size"),
        ("r", b'{"key": "/mine", "byte_size": 8, "offset": -1}', "no size"),
        ("r", b'{"key": "/mine", "byte_size": 4611686018427387904}', "no size"),
        ("", b'{"key": "/mine", "byte_size": 8}', "name"),
        ("r" * 300, b'{"key": "/mine", "byte_size": 8}', "name"),
    ],
)
def test_a_region_that_cannot_be_used_is_refused_in_one_line(regions, name, body, words):
    with pytest.raises(RequestError) as refused:
        regions.register(ME, name, body)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert regions.status(ME, None) == []


def test_another_user_s_memory_is_not_read_and_another_user_s_regions_are_not_seen(regions):
    stranger = ME + 1
    with pytest.raises(RequestError, match="not shared memory of the user who asks"):
        regions.register(stranger, "r", b'{"key": "/mine", "byte_size": 8}')
    regions.register(ME, "r", b'{"key": "/mine", "byte_size": 8}')
    assert regions.status(stranger, None) == []
    with pytest.raises(RequestError, match="no region r"):
        regions.span(stranger, "r", 0, 8)
    regions.unregister(stranger, None)
    assert [region["name"] for region in regions.status(ME, None)] == ["r"]


@pytest.mark.parametrize(("offset", "size"), [(1, 8), (-1, 4), (0, -4), (True, 4), (0.0, 4), ("0", 4), (0, 1 << 70)])
def test_a_part_outside_of_its_region_is_refused(regions, offset, size):
    regions.register(ME, "r", b'{"key": "/mine", "byte_size": 8}')
    with pytest.raises(RequestError):
        regions.span(ME, "r", offset, size)


def test_memory_that_its_owner_shrinks_or_removes_is_an_error_not_a_crash(regions, tmp_path):
    regions.register(ME, "r", b'{"key": "/mine", "byte_size": 64}')
    span = regions.span(ME, "r", 0, 64)
    regions.write(span, b"x" * 64)
    assert regions.read(span) == b"x" * 64
    os.truncate(tmp_path / "mine", 10)
    for use in (lambda: regions.read(span), lambda: regions.write(span, bytes(64))):
        with pytest.raises(RequestError, match="shorter than 64 bytes"):
            use()
    assert (tmp_path / "mine").stat().st_size == 10
    (tmp_path / "mine").unlink()
    with pytest.raises(RequestError, match="No such file"):
        regions.read(span)


def test_regions_are_bounded(regions):
    for i in range(MAX_REGIONS):
        regions.register(ME, f"r{i}", b'{"key": "/mine", "byte_size": 8}')
    regions.register(ME, "r0", b'{"key": "/mine", "byte_size": 9}')  # in place of the one of this name
    with pytest.raises(RequestError, match="regions already"):
        regions.register(ME, "one more", b'{"key": "/mine", "byte_size": 8}')
    regions.unregister(ME, None)
    assert regions.status(ME, None) == []


REGISTERING = """
import sys
from pathlib import Path
from skerry_agent.runner.http.shared_memory import Regions
regions = Regions(int(sys.argv[1]), Path(sys.argv[2]))
for i in range(100):
    regions.register(int(sys.argv[3]), f"{sys.argv[4]} {'long ' * (i % 7)}{i}", b'{"key": "/mine", "byte_size": 8}')
"""


def test_two_runners_that_register_at_a_time_lose_no_region(regions, tmp_path):
    """In a swap the one that drains and the one that takes over write the same memory file."""
    store = os.dup(regions._store)
    commands = [[sys.executable, "-c", REGISTERING, str(store), str(tmp_path), str(ME), name] for name in "ab"]
    runners = [subprocess.Popen(command, pass_fds=[store]) for command in commands]
    while any(runner.poll() is None for runner in runners):
        regions.status(ME, None)
    os.close(store)
    assert [runner.wait() for runner in runners] == [0, 0]
    assert len(regions.status(ME, None)) == 200


def test_what_a_killed_runner_left_half_written_is_no_region(regions):
    regions.register(ME, "r", b'{"key": "/mine", "byte_size": 8}')
    os.pwrite(regions._store, b"[]", 0)
    with pytest.raises(RequestError, match="no region r"):
        regions.span(ME, "r", 0, 8)
    regions.register(ME, "r", b'{"key": "/mine", "byte_size": 8}')
    assert [region["name"] for region in regions.status(ME, None)] == ["r"]


def test_an_output_that_memory_has_no_room_for_is_an_error(regions):
    """/dev/shm may be full: a region's pages are made when they are first written."""
    regions.register(ME, "r", b'{"key": "/mine", "byte_size": 64}')
    span, limits = regions.span(ME, "r", 0, 64), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (32, limits[1]))
    try:
        with pytest.raises(RequestError, match="no memory left"):
            regions.write(span, bytes(64))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
