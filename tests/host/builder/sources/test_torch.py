"""What PyTorch exports, by both of its exporters, becomes TFLite that computes the same, in the source's order."""

import re

import numpy as np
import onnx
import pytest

from skerry_host.builder.modelfile.graph import describe
from skerry_host.builder.modelfile.tflite import read_model
from skerry_host.builder.sources.load import load_source
from skerry_host.builder.sources.onnx_child import prepare
from tests.kit.programs import ROOT
from tests.kit.torch_nets import NETS, needs_torch, torch_nets

__all__ = ["torch_nets"]
SOURCE = NETS.read_text("utf-8")
NAMES = re.findall(r'^    "(\w+)": lambda', SOURCE, re.MULTILINE)
NEW = re.findall(r'"(\w+)"', re.search(r"^NEW = \((.*)\)$", SOURCE, re.MULTILINE)[1])


def graph_of(folder, name, out):
    found = prepare(folder / f"{name}.onnx", out / "model.onnx", {})
    assert found.problem == ""
    assert found.unknown == ""
    return found, describe(read_model((out / "model.tflite").read_bytes()))


@needs_torch
@pytest.mark.parametrize("name", [*(f"{n}.old" for n in NAMES), *(f"{n}.new" for n in NEW)])
def test_a_net_is_written_as_it_computes(name, torch_nets, tmp_path):
    """It is run on random inputs beside its source, axis by axis; every axis has a size and values of its own."""
    found, graph = graph_of(torch_nets, name, tmp_path)
    assert found.lowered
    source = onnx.load(str(torch_nets / f"{name}.onnx"), load_external_data=False).graph
    assert list(graph.input_names) == [value.name for value in source.input]
    assert list(graph.output_names) == [value.name for value in source.output]
    assert not graph.custom_ops


@needs_torch
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("tall", (1, 48, 3, 3)),  # an image of 3 x 48 x 3: pixels, by what is done with it and not by its sizes
        ("square_sequence", (1, 6, 6)),
        ("tcn", (1, 6, 50)),
        ("einsum", (1, 10, 8)),
        ("audio", (1, 1, 800)),
        ("conv3d", (1, 2, 6, 6, 6)),
    ],
)
def test_inputs_keep_the_order_of_axes_of_the_source(name, shape, torch_nets, tmp_path):
    """onnx2tf took a 3x48x3 image for 48x3x3, sequences for their transposes, and cubes by chance."""
    assert graph_of(torch_nets, f"{name}.old", tmp_path)[1].input_specs()[0].shape == shape


@needs_torch
def test_a_yolo_is_nearly_free_of_transposes(torch_nets, tmp_path):
    """onnx2tf put 22 into one of 304 operators."""
    graph = graph_of(torch_nets, "csp.new", tmp_path)[1]
    assert sum(op.name == "TRANSPOSE" for op in graph.ops) <= 4
    assert graph.output_specs()[0].shape == (1, 9, 320)


@needs_torch
def test_gelu_is_found_however_it_is_written(torch_nets, tmp_path):
    for name in ("convnext.old", "convnext.new", "gelu_tanh.old"):
        kinds = [op.name for op in graph_of(torch_nets, name, tmp_path)[1].ops]
        assert "GELU" in kinds, name
        assert "TANH" not in kinds, name


@needs_torch
def test_the_new_exporters_data_beside_the_model_is_part_of_the_source(torch_nets):
    """The new exporter writes weights into a file of their own."""
    loaded = load_source(torch_nets / "csp.new.onnx")
    assert (torch_nets / "csp.new.onnx.data").is_file()
    assert loaded.file_bytes > (torch_nets / "csp.new.onnx").stat().st_size
    assert np.any(["compared with the source: 1" in change for change in loaded.changes])


def test_the_documented_line_is_the_one_that_was_exported_with():
    opset = re.search(r"^OPSET = (\d+)$", SOURCE, re.MULTILINE)[1]
    text = (ROOT / "docs/recipe.md").read_text("utf-8")
    assert f'torch.onnx.export(model, sample, "model.onnx", opset_version={opset})' in text
