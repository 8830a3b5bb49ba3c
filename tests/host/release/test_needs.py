"""What a bundle needs of a device follows from its files: the versions of its operators, and nothing by guess."""

import pytest
from msgspec.structs import replace

from skerry_agent.wire import codec, envelope
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.manifest import Artifact, Bundle
from skerry_host.patch.operators import onnx_opset, tflite_operators
from skerry_host.release.create import ReleaseRequest, create_release
from skerry_host.release.needs import of_operators, steps, with_needs
from skerry_host.release.store import Store
from tests.kit.edgetpu.models import compiled


def _needs(data: bytes, target: str = "cpu", **more):
    model = Artifact("model.tflite", "model", describe(data))
    return with_needs(Bundle(target, (model,), (), (), **more), data).needs


@pytest.mark.parametrize(
    ("operators", "tflite_runtime", "litert"),
    [
        ({"CONV_2D": 1}, "2.5", "1.0"),
        ({"CONV_2D": 6, "ADD": 4}, "2.9", "1.0"),
        ({"FULLY_CONNECTED": 10}, "2.14", "1.0"),
        ({"CONV_2D": 8}, "2.15", "1.0"),
        ({"CONV_2D": 1, "TRANSPOSE": 7}, "2.18", "1.2"),
        ({"GELU": 3}, "2.18", "2.2"),
        ({}, "2.5", "1.0"),
    ],
)
def test_the_newest_operator_says_which_runtime_is_needed(operators, tflite_runtime, litert):
    assert of_operators(operators) == {"tflite-runtime": tflite_runtime, "ai-edge-litert": litert}


def test_an_operator_that_the_table_does_not_know_leaves_no_device_out():
    assert of_operators({"CONV_2D": 99}) == {}
    assert of_operators({"CONV_2D": 1, "BUILTIN_300": 1}) == {}


def test_later_steps_add_and_never_take_away():
    best: dict[str, int] = {}
    for step in steps():
        assert all(version > best.get(name, 0) for name, version in step.operators.items())
        best |= step.operators


def test_a_compiled_model_needs_a_runtime_with_a_delegate_and_the_driver_that_its_file_names():
    data = compiled()
    needs = _needs(data, "edgetpu", min_edgetpu_runtime=13)
    assert set(needs.runtimes) == {"tflite-runtime", "ai-edge-litert"}
    assert (needs.target, needs.edgetpu_runtime, needs.disk_bytes) == ("edgetpu", 13, len(data))


def test_a_file_that_is_no_model_needs_no_runtime():
    assert _needs(b"not a model").runtimes == {}
    assert tflite_operators(b"\x00\x00\x00\xffTFL3" + b"\xff" * 40) == {}
    assert onnx_opset(b"\x42\xff\xff\xff") == 0


def test_an_onnx_model_needs_onnxruntime_by_its_operator_set():
    opset = b"\x42\x04\x0a\x00\x10\x11"  # opset_import { domain: "", version: 17 }
    assert onnx_opset(opset) == 17
    assert _needs(opset, "onnx").runtimes == {"onnxruntime": "1.17"}
    assert _needs(b"\x42\x04\x0a\x00\x10\x63", "onnx").runtimes == {}


def test_a_release_says_what_it_needs(make_build, store, keys):
    (bundle,) = create_release(ReleaseRequest(make_build()), store, keys.release).release.bundles
    assert bundle.needs is not None
    assert bundle.needs.disk_bytes == sum(each.blob.size for each in bundle.artifacts)


def test_a_release_of_before_needs_were_said_is_the_same_release(make_build, store, keys, tmp_path):
    build = make_build()
    made = create_release(ReleaseRequest(build), store, keys.release).release
    before = replace(made, bundles=tuple(replace(bundle, needs=None) for bundle in made.bundles))
    older = Store(tmp_path / "older")
    older.add(before, keys.release.sign(envelope.RELEASE, codec.encode(before)))
    for name, data in ((a.blob.sha256, store.get(a.blob.sha256)) for b in made.bundles for a in b.artifacts):
        assert older.put(data).sha256 == name
    again = create_release(ReleaseRequest(build), older, keys.release)
    assert again.existed
    assert again.release == before
