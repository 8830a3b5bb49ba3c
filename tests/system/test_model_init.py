"""From an ONNX file and a folder of images to a signed release: three commands, and no edit between them."""

import re

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from tests.kit.commands import skerry
from tests.kit.home import make_home

SIDE, KINDS = 16, ("across", "along", "plain")


def images(root):
    """Stripes across, stripes along and neither, with noise, of another size than the model takes."""
    random = np.random.default_rng(5)
    rows, columns = np.mgrid[0:32, 0:32] // 4 % 2
    for kind, pattern in zip(KINDS, (columns, rows, rows * 0 + 0.5), strict=True):
        (root / kind).mkdir(parents=True)
        for at in range(80):
            pixels = 60 + 120 * pattern[..., None] + random.normal(0, 12, (32, 32, 3))
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(root / kind / f"{at}.png")
    return root


def model(path):
    """How much edge there is across and along, as a network of convolution, activation, pooling and a dense layer."""
    edges = np.zeros((2, 3, 3, 3), np.float32)
    edges[0, :, 1, 0], edges[0, :, 1, 2] = 1, -1
    edges[1, :, 0, 1], edges[1, :, 2, 1] = 1, -1
    dense = np.array([[6, -6, 0], [-6, 6, 0]], np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "edges"], ["c"], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "dense", "bias"], ["logits"]),
    ]
    constants = {"edges": edges, "dense": dense, "bias": np.array([0, 0, 1.2], np.float32)}
    graph = helper.make_graph(
        nodes,
        "stripes",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_an_onnx_file_and_a_folder_of_images_become_a_signed_release(tmp_path):
    home, made, built = make_home(tmp_path / "home"), tmp_path / "recipe", tmp_path / "build"
    file, data = model(tmp_path / "stripes.onnx"), images(tmp_path / "photos")
    first = skerry(home, "model", "init", str(file), "--data", str(data), "--out", str(made))
    assert re.search(r"values in 0\.\.1: top1 \d", first.stdout)
    build = ("model", "build", str(made), "--board", "raspberry-pi-4", "--version", "1.0.0", "--out", str(built))
    second = skerry(home, *build)
    assert "top1 drop" in second.stdout
    third = skerry(home, "release", "create", str(built))
    assert "release stripes@1.0.0 is in the store" in third.stdout
