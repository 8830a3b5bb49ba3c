"""Readers of model files: the host's own parsers of TFLite and ONNX, and the decoder of patches.

TFLite as objects is parsed by generated code, in a child process that may die (`builder.runtime.probe`): here only what
this process does with a file that the child has accepted. Runtimes are fuzzed in children too: `tests.lab.hostile`.
"""

import contextlib

import numpy as np

from skerry_agent.patch import PatchError, apply
from skerry_host.builder.modelfile import onnx_file, protobuf
from skerry_host.builder.modelfile.graph import describe
from skerry_host.builder.modelfile.tflite import read_model
from skerry_host.builder.sources import unfit
from skerry_host.patch import parse_onnx, parse_tflite
from skerry_host.patch.tensors import LayoutError
from tests.agent.patch import mutate as patches
from tests.kit import patch_models as made
from tests.kit.tiny_models import tiny_model

TFLITE_TOKENS = (b"TFL3", b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", bytes(8))
ONNX_TOKENS = (b"\xff" * 9 + b"\x01", b"\x80" * 12, b"\x0a\xff\xff\xff\xff\x0f", b"\x3a\x00", b"\x0b\x0c")


def tflite_seeds() -> list[bytes]:
    rng = np.random.default_rng(7)
    layers = [made.layer(rng, 6, 8), made.layer(rng, 8, 6)]
    floats = [rng.normal(0, 1, (6, 8)).astype(np.float32)]
    return [
        *(tiny_model(kind) for kind in ("add", "zero", "log", "copy")),
        made.tflite(made.Net(tuple(layers))),
        made.float_tflite(floats),
        made.int4_tflite([rng.integers(-8, 8, (6, 8))]),
    ]


def onnx_seeds() -> list[bytes]:
    rng = np.random.default_rng(8)
    layers = [made.layer(rng, 6, 8), made.layer(rng, 8, 6)]
    net = made.Net(tuple(layers))
    return [
        made.onnx(net),
        made.onnx_on_integers(net, "QLinearMatMul"),
        made.onnx_on_integers(net, "MatMulInteger"),
        made.float_onnx([rng.normal(0, 1, (6, 8)).astype(np.float32)]),
        made.int4_onnx([rng.integers(-8, 8, (6, 8))]),
        made.blocks_onnx([rng.integers(-8, 8, (6, 8))]),
    ]


def read_tflite(raw: bytes) -> None:
    """Where the encoder of patches looks for layers."""
    parse_tflite.is_tflite(raw)
    for layer in parse_tflite.parse_tflite(raw).layers:
        assert layer.weights is None or 0 <= layer.weights.at <= layer.weights.at + layer.weights.size <= len(raw)


def read_onnx(raw: bytes) -> None:
    """The same of ONNX, and what `skerry model inspect` says of a file."""
    with contextlib.suppress(protobuf.DamagedError):
        onnx_file.parse_onnx(raw)
    parse_onnx.is_onnx(raw)
    for layer in parse_onnx.parse_onnx(raw).layers:
        assert layer.weights is None or 0 <= layer.weights.at <= layer.weights.at + layer.weights.size <= len(raw)


def read_accepted(raw: bytes) -> None:
    """What is done here with a TFLite file once the child has parsed it, before it is known whether it runs."""
    try:
        graph = describe(read_model(raw))
    except Exception:  # noqa: BLE001 - the child ends without an answer: "truncated or damaged"
        return
    unfit.not_finite(read_model(raw))
    unfit.unfit_quantized(graph) if unfit.quantized(graph) else unfit.unfit(graph)


def open_patch() -> object:
    seeds = {seed.patch: seed for seed in patches.seeds()}
    olds = sorted({seed.old for seed in seeds.values()})

    def read(raw: bytes) -> None:
        out = bytearray()
        apply(olds[len(raw) % len(olds)], raw, out.extend, max_new_bytes=patches.LIMIT)

    return read


READERS = (
    ("tflite", tflite_seeds, lambda: read_tflite, (LayoutError,), TFLITE_TOKENS),
    ("tflite-source", tflite_seeds, lambda: read_accepted, (), TFLITE_TOKENS, True),
    ("onnx", onnx_seeds, lambda: read_onnx, (LayoutError,), ONNX_TOKENS),
    ("patch", lambda: [seed.patch for seed in patches.seeds()], open_patch, (PatchError,), (), True),
)
