"""The same model at other input sizes: shapes as the runtime gives them, what maps there, and what stands against."""

import json
from pathlib import Path

import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from click.testing import CliRunner

from skerry_host.builder.edgetpu.resize import FixedSizeError, resize
from skerry_host.builder.edgetpu.sizes import preflight_sizes
from skerry_host.builder.edgetpu.view import view
from skerry_host.builder.modelfile.tflite import read_model, write_model
from skerry_host.cli.main import cli
from tests.kit.edgetpu.compiler import REAL
from tests.kit.edgetpu.net import Net

PLAIN = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES


def options(kind: str, **fields: object) -> object:
    made = getattr(schema, f"{kind}T")()
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def windows(net: Net, data: str, depth: int, stride: int = 1, padding: int = 0) -> str:
    """A 3 x 3 convolution."""
    _batch, height, width, before = net.shapes[data]
    weights = net.tensor((depth, 3, 3, before), data=[1] * depth * 9 * before)
    bias = net.tensor((depth,), "int32", data=[0] * depth, scale=0.25)
    side = [-(-n // stride) if padding == 0 else (n - 3) // stride + 1 for n in (height, width)]
    chosen = options(
        "Conv2DOptions", strideH=stride, strideW=stride, padding=padding, dilationHFactor=1, dilationWFactor=1
    )
    return net.op("CONV_2D", data, weights, bias, shape=(1, *side, depth), options=chosen)


def pyramid() -> bytes:
    """Two maps of a backbone, the deeper one enlarged and joined, one head channels-first and both in one list."""
    net = Net((1, 64, 64, 3))
    low = windows(net, windows(net, net.input, 4, stride=2), 8, stride=2)
    deep = windows(net, low, 8, stride=2)
    pool = options("Pool2DOptions", filterHeight=2, filterWidth=2, strideH=2, strideW=2, padding=1)
    deepest = net.op("MAX_POOL_2D", deep, shape=(1, 4, 4, 8), options=pool)
    up = net.op(
        "RESIZE_NEAREST_NEIGHBOR",
        deepest,
        net.ints(8, 8),
        shape=(1, 8, 8, 8),
        options=options("ResizeNearestNeighborOptions"),
    )
    both = net.concat(deep, up, axis=3)
    heads = [
        net.reshape(net.op("TRANSPOSE", head, net.ints(0, 3, 1, 2), shape=(1, d, s, s)), 1, d, s * s)
        for head, d, s in ((low, 8, 16), (windows(net, both, 8), 8, 8))
    ]
    return net.made.data([net.input], [net.concat(*heads, axis=2)])


def shapes(data: bytes) -> list[tuple[int, ...]]:
    seen = view(read_model(data))
    return [tensor.shape for node in seen.nodes for tensor in node.outputs]


def test_the_shapes_are_those_that_the_runtime_computes() -> None:
    """Sizes that the runtime can give by itself: it knows no other target of a RESHAPE, or of an enlargement."""
    net = Net((1, 64, 64, 3))
    last = windows(net, windows(net, windows(net, net.input, 4, stride=2), 8, padding=1), 4, stride=2, padding=1)
    turned = net.op("TRANSPOSE", last, net.ints(0, 3, 1, 2), shape=(1, 4, 14, 14))
    data = net.made.data([net.input], [turned])
    for height, width in ((64, 64), (33, 70), (128, 96), (9, 200)):
        model = read_model(data)
        resize(model, height, width)
        runtime = Interpreter(model_content=data, experimental_op_resolver_type=PLAIN)
        runtime.resize_tensor_input(0, [1, height, width, 3])
        runtime.allocate_tensors()
        wanted = [
            tuple(runtime.get_tensor_details()[t]["shape"]) for op in runtime._get_ops_details() for t in op["outputs"]
        ]
        assert shapes(write_model(model)) == [tuple(map(int, shape)) for shape in wanted], (height, width)


def test_a_pyramid_of_maps_grows_as_one() -> None:
    model = read_model(pyramid())
    resize(model, 128, 128)
    assert shapes(write_model(model))[-1] == (1, 8, 32 * 32 + 16 * 16)


def test_the_size_at_which_a_transpose_becomes_too_large_is_found() -> None:
    found = preflight_sizes(pyramid(), range(64, 1025, 64))
    by_size = {at.height: at for at in found.at}
    assert by_size[64].all_map
    assert found.largest is not None
    assert found.largest.height == 320  # 80 x 80 x 8 = 51,200 bytes; at 384 it is 73,728
    assert by_size[384].unknown
    assert not by_size[384].cpu
    assert by_size[512].cpu
    assert "TRANSPOSE to 1x8x128x128" in by_size[512].cause


def test_weights_made_for_one_size_are_named() -> None:
    net = Net((1, 8, 8, 4))
    weights = net.tensor((2, 256), data=[1] * 512)
    dense = net.op("FULLY_CONNECTED", net.reshape(net.input, 1, 256), weights, shape=(1, 2))
    data = net.made.data([net.input], [dense])
    resize(read_model(data), 8, 8)
    with pytest.raises(FixedSizeError, match="FULLY_CONNECTED: its weights are made for 256 inputs, 1024 would come"):
        resize(read_model(data), 16, 16)


@pytest.mark.parametrize("name", ["mobilenet_v1_0.25_128_quant", "deeplabv3_mnv2_dm05_pascal_quant"])
def test_a_real_model_at_its_own_size_keeps_every_shape(name: str) -> None:
    data = (REAL / f"{name}.tflite").read_bytes()
    seen = view(read_model(data))
    height, width = seen.graph.tensors[seen.graph.inputs[0]].shape[1:3]
    model = read_model(data)
    resize(model, height, width)
    assert shapes(write_model(model)) == shapes(data)


def test_a_model_of_another_size_is_predicted_like_the_real_one_of_that_size() -> None:
    """MobileNet of 128 pixels as it would be at 160, beside the file made for 160: half the depth, same shapes."""
    small, large = ((REAL / f"mobilenet_v1_{kind}_quant.tflite").read_bytes() for kind in ("0.25_128", "0.5_160"))
    model = read_model(small)
    resize(model, 160, 160)
    assert [s[:3] for s in shapes(write_model(model))[:-3]] == [s[:3] for s in shapes(large)[:-3]]


def test_the_command_prints_the_largest_size_at_which_all_maps(tmp_path: Path) -> None:
    file = tmp_path / "pyramid.tflite"
    file.write_bytes(pyramid())
    done = CliRunner().invoke(cli, ["edgetpu", "preflight", str(file), "--sizes", "64..512:64"])
    assert done.exit_code == 0, done.output
    assert "predicted: all of it maps up to 320x320; the file is made for 64x64" in done.output
    assert "a transpose to channels-first is of at most 66,560 bytes" in done.output
    told = json.loads(
        CliRunner().invoke(cli, ["edgetpu", "preflight", str(file), "--sizes", "64..512:64", "--json"]).output
    )
    assert told["largest"] == [320, 320]


@pytest.mark.parametrize("sizes", ["96-640", "640..96", "0", "1..20000:1"])
def test_sizes_that_are_none_are_refused_by_name(tmp_path: Path, sizes: str) -> None:
    done = CliRunner().invoke(cli, ["edgetpu", "preflight", str(tmp_path / "none"), "--sizes", sizes])
    assert done.exit_code == 2
    assert sizes in done.output
