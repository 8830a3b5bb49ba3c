"""What a device says of itself: read from names and files, with no runtime imported in the supervisor."""

import subprocess
import sys

from skerry_agent.config import AgentConfig, BoardSection, BrokerSection, DeviceSection
from skerry_agent.supervisor import facts


def _folder(tmp_path, *names):
    for name in names:
        (tmp_path / name).mkdir()
    return str(tmp_path)


def test_runtimes_are_known_by_the_names_of_their_folders(tmp_path):
    path = _folder(tmp_path, "ai_edge_litert-2.3.0.dist-info", "numpy-2.4.6.dist-info", "tflite_runtime")
    assert facts.runtimes([path]) == {"ai-edge-litert": "2.3.0"}


def test_the_first_on_the_path_is_the_one_that_is_imported(tmp_path):
    first = _folder(tmp_path / "a" if (tmp_path / "a").mkdir() is None else tmp_path, "onnxruntime-1.31.1.dist-info")
    second = _folder(tmp_path / "b" if (tmp_path / "b").mkdir() is None else tmp_path, "onnxruntime-1.17.0.dist-info")
    assert facts.runtimes([first, "/nowhere", second]) == {"onnxruntime": "1.31.1"}


def test_a_memory_limit_of_the_service_counts(tmp_path):
    group = tmp_path / "sys/fs/cgroup/system.slice/skerry-agent.service"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("268435456\n")
    (group.parent / "memory.max").write_text("max\n")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/system.slice/skerry-agent.service\n")
    assert facts.ram_bytes(tmp_path) == 268_435_456
    assert facts.ram_bytes(tmp_path / "none") > 268_435_456


def test_gathering_them_imports_no_runtime_and_no_metadata():
    code = (
        "import sys; from skerry_agent.supervisor import facts; facts.runtimes(sys.path); facts.PLACE;"
        "print([m for m in ('numpy', 'ai_edge_litert', 'importlib.metadata', 'ctypes', 'email') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_disk_that_fills_or_empties_is_to_be_said_anew(tmp_path):
    """The host leaves out who has no room, so it has to hear of room that has come back."""
    free = [1_000_000]
    config = AgentConfig(DeviceSection("d-1"), BrokerSection("mqtt://h"), BoardSection("test"), folder=str(tmp_path))
    reader = facts.FactsReader(config, path=["/nowhere"], free=lambda _folder: free[0])
    assert not reader.outdated
    assert reader.told(None).disk_free_bytes == 1_000_000
    for now, outdated in ((1_000_000, False), (600_000, False), (1_900_000, False), (400_000, True), (2_100_000, True)):
        free[0] = now
        assert reader.outdated is outdated, now
        reader.facts(None)
        assert reader.outdated is outdated, "what the device asks for itself tells the host nothing"
