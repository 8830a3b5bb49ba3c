"""The Edge TPU engine against a stand-in for libedgetpu, built here: its C entry points, no Edge TPU behind them."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from skerry_agent.ports import runner_protocol
from skerry_agent.ports.edgetpu_devices import by_system
from skerry_agent.runner.engines import About, ModelFile, edgetpu, tpu, tpu_probe
from skerry_agent.runner.errors import EngineError, InferenceError
from skerry_agent.wire.accelerators import PROBLEMS, library_for
from tests.kit.tiny_models import infer

RUNTIME = "ai_edge_litert.interpreter"
DRIVER_SAYS = (
    "Failed precondition: Package requires runtime version (14), which is newer than this runtime version (13)."
)


@pytest.fixture
def model(tiny, tmp_path):
    """An int8 model that any delegate may leave to the CPU."""
    tiny("copy")
    return ModelFile(str(tmp_path / "copy" / "model.tflite"))


def refusal(model, library, code=None, **request) -> str:
    with pytest.raises(EngineError) as refused:
        tpu_probe.probe(tpu_probe.ProbeRequest(RUNTIME, library, model), **request)
    assert refused.value.code in PROBLEMS
    assert code in {None, refused.value.code}
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_device_is_found_and_the_engine_says_what_runs_it(library, model, monkeypatch):
    monkeypatch.setenv("STAND_IN", "ok")
    engine = edgetpu.open_edgetpu(model, library)
    assert engine.about.name == "ai-edge-litert"
    assert engine.about.delegate == "libedgetpu runtime 14 on usb:/sys/bus/usb/devices/2-1"
    x = np.array([[1, 2, 3, 4]], np.int8)
    np.testing.assert_array_equal(infer(engine, [x])[0], x)
    engine.close()


def test_of_several_devices_the_first_that_is_free_is_used(library, model, monkeypatch):
    monkeypatch.setenv("STAND_IN", "two")
    assert edgetpu.open_edgetpu(model, library).about.delegate.endswith(" on usb:/sys/bus/usb/devices/2-2")


def test_a_device_that_comes_a_moment_later_is_waited_for(library, model, monkeypatch):
    monkeypatch.setenv("STAND_IN", "late")
    assert "no Edge TPU is connected" in refusal(model, library)
    edgetpu.open_edgetpu(model, library)


@pytest.mark.parametrize(
    ("what", "code", "words"),
    [
        ("none", "device_absent", "no Edge TPU is connected"),
        ("busy", "device_busy", "Failed to open the device: it is in use"),
        ("segv_list", "driver_crashes", "crashes with ai_edge_litert (signal 11) as it looks for devices"),
        ("segv_delegate", "driver_crashes", "crashes with ai_edge_litert (signal 11)"),
        ("segv_load", "driver_for_other_tflite", "crashes with ai_edge_litert (signal 11) as a model is loaded"),
        ("hang", "device_silent", "did not answer"),
    ],
)
def test_whatever_goes_wrong_does_so_in_the_probe(library, model, monkeypatch, what, code, words):
    """Pain edgetpu#812: a runtime and a libedgetpu that do not fit end the process."""
    monkeypatch.setenv("STAND_IN", what)
    assert words in refusal(model, library, code, timeout_s=2.0 if what == "hang" else 60.0)


NEWEST = "install a libedgetpu1-std that was built for TensorFlow 2.19.1"


@pytest.mark.parametrize("what", ["segv_list", "segv_load"])
def test_a_library_that_crashes_is_told_with_the_build_to_take(library, model, monkeypatch, what):
    monkeypatch.setenv("STAND_IN", what)
    assert NEWEST in refusal(model, library)


@pytest.mark.parametrize(
    ("distribution", "version", "package"),
    [
        ("tflite-runtime", "2.5.0.post1", "libedgetpu1-std 16.0 of the vendor's Debian repository"),
        ("tflite-runtime", "2.11.1", "libedgetpu1-std 16.0 of the vendor's Debian repository"),
        ("tflite-runtime", "2.14.0", "a libedgetpu1-std that was built for TensorFlow 2.16.1"),
        ("tflite-runtime", "2.17.1", "a libedgetpu1-std that was built for TensorFlow 2.17"),
        ("ai-edge-litert", "2.3.0", "a libedgetpu1-std that was built for TensorFlow 2.19.1, the newest there is"),
    ],
)
def test_the_build_to_take_follows_the_runtime(distribution, version, package):
    assert library_for(distribution, version).startswith(package)


def test_a_device_that_is_not_there_one_that_may_not_be_opened_and_one_that_is_silent(tmp_path):
    assert tpu.absence(tmp_path)[0] == "device_absent"
    (tmp_path / "sys/class/apex/apex_0").mkdir(parents=True)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/apex_0").touch()
    assert tpu.absence(tmp_path)[0] == "device_silent"
    forbidden = tpu_probe.unusable(*tpu.absence(tmp_path, lambda _seen, _root: False))
    assert (forbidden.code, "join the group plugdev" in forbidden.hint) == ("device_forbidden", True)


def test_the_file_of_a_usb_device_is_found_by_its_numbers(tmp_path):
    device(tmp_path, "2-1", "18d1", "9302")
    folder = tmp_path / "sys/bus/usb/devices/2-1"
    (folder / "busnum").write_text("2\n")
    (folder / "devnum").write_text("7\n")
    assert tpu._node(folder, tmp_path) == tmp_path / "dev/bus/usb/002/007"
    assert tpu.may_be_opened(f"usb:{folder}", tmp_path)


@pytest.mark.parametrize(("need", "have"), [(14, 13), (13, 12)])
def test_a_model_for_a_newer_runtime_is_not_even_loaded(library, model, monkeypatch, need, have):
    monkeypatch.setenv("STAND_IN", "segv_delegate")  # were it tried, this would be told instead
    monkeypatch.setenv("STAND_IN_RUNTIME", str(have))
    said = refusal(ModelFile(model.path, min_edgetpu_runtime=need), library)
    assert said == (
        f"the model is compiled for Edge TPU runtime {need}, this device's libedgetpu has {have}; "
        f"compile it with -m {have}, or upgrade libedgetpu"
    )


@pytest.mark.parametrize("need", [10, 14, None])
def test_a_model_for_this_runtime_or_an_older_one_is_loaded(library, model, monkeypatch, need):
    monkeypatch.setenv("STAND_IN", "ok")
    edgetpu.open_edgetpu(ModelFile(model.path, min_edgetpu_runtime=need), library)


@pytest.mark.parametrize(
    ("driver", "words"),
    [
        (DRIVER_SAYS, "the model is compiled for Edge TPU runtime 14, this device's libedgetpu has 13; compile it"),
        (
            "Internal: Unsupported data type in custom op handler: 0",
            "does not run the model: the model does not load: Internal: Unsupported data type in custom op handler",
        ),
    ],
)
def test_what_the_driver_says_of_a_model_is_understood(library, model, monkeypatch, driver, words):
    """Of a manifest from before `min_edgetpu_runtime`; and of a libedgetpu for another TFLite that does not crash."""
    monkeypatch.setenv("STAND_IN", "refuse")
    monkeypatch.setenv("STAND_IN_WORDS", driver)
    assert words in refusal(model, library)


def test_a_runner_refuses_with_the_code_that_makes_the_device_fall_back(library, spawn, tiny, tmp_path, monkeypatch):
    """The manifest's need reaches the probe through the job; libedgetpu is found under its own name."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / tpu.LIBRARY).symlink_to(library)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path / "lib"))
    monkeypatch.setenv("STAND_IN_RUNTIME", "13")
    job = tiny("copy", bundle={"min_edgetpu_runtime": 14})
    refused = spawn(replace(job, engine="edgetpu"))
    said = refused.expect(runner_protocol.Refused)
    assert (said.code, "has 13" in said.detail) == ("driver_too_old", True)
    assert refused.process.wait(10) == 3


def test_no_library_is_one_line_that_names_the_way_out(model):
    said = refusal(model, "libno_such_edgetpu.so.1", "driver_absent")
    assert NEWEST in said


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_a_library_of_something_else_is_no_libedgetpu(tmp_path, model):
    (tmp_path / "other.c").write_text("int other(void) { return 1; }\n")
    path = tmp_path / "libother.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(path), str(tmp_path / "other.c")], check=True)
    assert "is not a libedgetpu" in refusal(model, str(path), "driver_unfit")


def test_a_library_for_another_machine_or_without_what_it_needs_is_unfit(tmp_path, model):
    other = tmp_path / "libedgetpu_other.so.1"
    other.write_bytes(b"\x7fELF\x01\x01\x01" + bytes(60))
    assert "wrong ELF class" in refusal(model, str(other), "driver_unfit")


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_what_the_library_itself_lacks_is_named(tmp_path, model):
    (tmp_path / "usb.c").write_text("int usb(void) { return 1; }\n")
    (tmp_path / "tpu.c").write_text("int usb(void); int tpu(void) { return usb(); }\n")
    usb, library = tmp_path / "libusb-none.so.0", tmp_path / "libtpu.so.1"
    for source, made, more in (("usb.c", usb, []), ("tpu.c", library, [str(usb)])):
        named = f"-Wl,-soname,{made.name}"
        command = ["gcc", "-shared", "-fPIC", named, "-o", str(made), str(tmp_path / source), *more]
        subprocess.run(command, check=True)
    usb.unlink()
    said = refusal(model, str(library), "driver_unfit")
    assert "install libusb-none.so.0" in said


class Pulled:
    """Stands in for a loaded engine whose device no longer answers."""

    about, inputs, outputs = About("", "", ""), (), ()

    def infer(self, inputs):
        raise InferenceError("inference failed: USB transfer error 5")

    def close(self):
        """Nothing is held."""


@pytest.mark.skipif(bool(by_system()), reason="there is an Edge TPU here, so that none can be missing")
def test_a_failed_inference_without_a_device_says_that_it_is_gone():
    with pytest.raises(EngineError, match=r"the Edge TPU was lost \(.*transfer error 5\)") as lost:
        edgetpu.EdgeTpuEngine(Pulled()).infer([])
    assert lost.value.code == "device_lost"


def test_the_doctor_s_look_opens_nothing(library, monkeypatch):
    monkeypatch.setenv("STAND_IN", "busy")  # as while the agent itself uses it
    assert edgetpu.check(library).endswith("libedgetpu runtime 14: usb:/sys/bus/usb/devices/2-1")


def device(root: Path, name: str, vendor: str, product: str) -> None:
    folder = root / "sys/bus/usb/devices" / name
    folder.mkdir(parents=True)
    (folder / "idVendor").write_text(f"{vendor}\n")
    (folder / "idProduct").write_text(f"{product}\n")


def test_devices_that_the_kernel_shows(tmp_path):
    assert by_system(tmp_path) == []
    device(tmp_path, "1-1", "1d6b", "0002")
    device(tmp_path, "2-1", "1a6e", "089a")  # before it has its firmware
    device(tmp_path, "2-2", "18d1", "9302")
    (tmp_path / "sys/class/apex/apex_0").mkdir(parents=True)
    found = by_system(tmp_path)
    assert found[0] == "pci:/dev/apex_0"
    assert [Path(name).name for name in found[1:]] == ["2-1", "2-2"]


@pytest.mark.parametrize(
    ("version", "runtime"),
    [
        ("BuildLabel(COMPILER=6.3.0 20170516,DATE=redacted,TIME=redacted), RuntimeVersion(13)", 13),
        ("BuildLabel(N/A), RuntimeVersion(14)", 14),
        ("", None),
    ],
)
def test_the_runtime_version_is_read_from_the_library_s_line(version, runtime):
    assert tpu.Found(version, ()).runtime == runtime
