"""The Edge TPU engine against a stand-in for libedgetpu, built here: its C entry points, no Edge TPU behind them."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from skerry_agent.runner.engines import edgetpu, tpu
from skerry_agent.runner.errors import EngineError

RUNTIME = "ai_edge_litert.interpreter"
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("stand_in") / "libedgetpu_stand_in.so"
    source = Path(__file__).with_name("stand_in_edgetpu.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(path), str(source)], check=True)
    return str(path)


@needs_gcc
def test_a_device_is_found_and_the_engine_says_what_runs_it(library, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("STAND_IN", "ok")
    tiny("copy")
    engine = edgetpu.open_edgetpu(str(tmp_path / "copy" / "model.tflite"), 1, library)
    assert engine.about.delegate == "libedgetpu runtime 14 on usb:/sys/bus/usb/devices/2-1"
    x = np.array([[1, 2, 3, 4]], np.int8)
    np.testing.assert_array_equal(engine.infer([x])[0], x)
    engine.close()


@needs_gcc
@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("none", "no Edge TPU is connected"),
        ("busy", "Failed to open the device: it is in use"),
        ("segv_list", "crashes with ai_edge_litert (signal 11)"),
        ("segv_delegate", "crashes with ai_edge_litert (signal 11)"),
        ("hang", "does not answer"),
    ],
)
def test_whatever_goes_wrong_does_so_in_the_probe(library, monkeypatch, what, words):
    monkeypatch.setenv("STAND_IN", what)
    with pytest.raises(EngineError) as refused:
        edgetpu.probe(RUNTIME, library, timeout_s=2.0 if what == "hang" else 60.0)
    assert refused.value.code == "no_accelerator"
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_no_library_is_one_line_that_names_the_way_out():
    with pytest.raises(EngineError, match="use the cpu target") as refused:
        edgetpu.probe(RUNTIME, "libno_such_edgetpu.so.1")
    assert "libedgetpu1-std" in str(refused.value)
    assert "\n" not in str(refused.value)


@needs_gcc
def test_a_library_of_something_else_is_no_libedgetpu(tmp_path):
    (tmp_path / "other.c").write_text("int other(void) { return 1; }\n")
    path = tmp_path / "libother.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(path), str(tmp_path / "other.c")], check=True)
    with pytest.raises(EngineError, match="is no libedgetpu"):
        edgetpu.probe(RUNTIME, str(path))


def device(root: Path, name: str, vendor: str, product: str) -> None:
    folder = root / "sys/bus/usb/devices" / name
    folder.mkdir(parents=True)
    (folder / "idVendor").write_text(f"{vendor}\n")
    (folder / "idProduct").write_text(f"{product}\n")


def test_devices_that_the_kernel_shows(tmp_path):
    assert tpu.by_system(tmp_path) == []
    device(tmp_path, "1-1", "1d6b", "0002")
    device(tmp_path, "2-1", "1a6e", "089a")  # before it has its firmware
    device(tmp_path, "2-2", "18d1", "9302")
    (tmp_path / "sys/class/apex/apex_0").mkdir(parents=True)
    found = tpu.by_system(tmp_path)
    assert found[0] == "pci:/dev/apex_0"
    assert [Path(name).name for name in found[1:]] == ["2-1", "2-2"]


@pytest.mark.parametrize(("version", "runtime"), [("BuildLabel(x), RuntimeVersion(13)", 13), ("", None)])
def test_the_runtime_version_is_read_from_the_library_s_line(version, runtime):
    assert tpu.Found(version, ()).runtime == runtime
