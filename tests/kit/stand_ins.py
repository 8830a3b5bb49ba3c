"""Stand-ins for models behind the inference API: they compute in the integers of each target. No tests here."""

import numpy as np

from skerry_agent.processing import dequantize, quantize
from skerry_agent.runner.arrays import from_array, to_array
from skerry_agent.runner.http.oip import Served
from skerry_agent.runner.http.routes import Routes
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.manifest import Artifact, Bundle, Postprocess, Preprocess, TensorSpec

MODEL = (Artifact("model.tflite", "model", describe(b"x")),)


PREP = {"scale": 1 / 127.5, "offset": -1.0, "resize": "stretch"}


class Stand:
    """What every stand-in of a runner's `Inference` has."""

    refused = 0

    def refused_input(self):
        self.refused += 1


class Means(Stand):
    """In place of a runner's `Inference`: the mean of each channel of the real-valued input."""

    def __init__(self, bundle):
        self._bundle, self.calls = bundle, 0

    def infer(self, inputs):
        self.calls += 1
        spec, output = self._bundle.inputs[0], self._bundle.outputs[0]
        real = dequantize(to_array(inputs[0]), spec)
        assert real.shape == spec.shape
        axes = (2, 3) if self._bundle.preprocess.layout == "nchw" else (1, 2)
        return [from_array(quantize(real.mean(axis=axes), output).reshape(output.shape))]


class Names:
    """In place of a runner's labels."""

    names = ("red", "green", "blue")

    def name(self, index):
        return self.names[index]


def bundle(target, size=8, **prep):
    """A bundle of a release whose model takes RGB pictures of `size`, in the integers of a target."""
    nhwc, planes = (1, size, size, 3), (1, 3, size, size)
    inputs = {
        "int8": TensorSpec("serving_default_x:0", "int8", nhwc, 1 / 127.5, 0),
        "uint8": TensorSpec("image", "uint8", nhwc, 1 / 127.5, 128),
        "other uint8": TensorSpec("image", "uint8", nhwc, 1 / 100, 120),
        "int16": TensorSpec("image", "int16", nhwc, 1 / 32767, 0),
        "float": TensorSpec("serving_default_x:0", "float32", nhwc),
        "onnx": TensorSpec("x", "float32", planes),
    }
    outputs = {
        "onnx": TensorSpec("scale_0.tmp_1", "float32", (1, 3)),
        "int8": TensorSpec("Identity", "int8", (1, 3), 1 / 127, 0),
        "int16": TensorSpec("Identity", "int16", (1, 3), 1 / 32767, 0),
        "float": TensorSpec("Identity", "float32", (1, 3)),
    }
    output = outputs.get(target, TensorSpec("y", "uint8", (1, 3), 1 / 127, 127))
    layout = "nchw" if target == "onnx" else "nhwc"
    made = Preprocess(**{**PREP, "layout": layout, **prep})
    return Bundle("cpu", MODEL, (inputs[target],), (output,), task="classification", preprocess=made)


TARGETS = ["int8", "uint8", "other uint8", "int16", "float", "onnx"]


def routes(made, values=None, inference=None):
    return Routes(
        Served("m", "1.2.3", "litert", made, None, Names(), None, values), inference or Means(made), lambda: True
    )


class Doubled(Stand):
    """In place of an `Inference` whose model takes integers that are not quantized, such as words' numbers."""

    def infer(self, inputs):
        return [from_array(to_array(inputs[0]) * 2)]


def no_batch():
    return Bundle("cpu", MODEL, (TensorSpec("x", "int8", (4,), 0.5, 0),), (TensorSpec("y", "int8", (4,), 0.5, 0),))


class Boxes(Stand):
    """In place of an `Inference` of a detector: one sure box, the left half of the input, in two raw outputs."""

    def infer(self, _inputs):
        boxes = np.zeros((1, 2, 4), np.float32)
        boxes[0, 0] = [0.25, 0, 0.75, 0.5]
        return [from_array(boxes), from_array(np.array([[[90, 0, 0], [0, 0, 0]]], np.int8))]


def detector():
    inputs = (TensorSpec("x", "int8", (1, 8, 8, 3), 1 / 127.5, 0),)
    outputs = (TensorSpec("b", "float32", (1, 2, 4)), TensorSpec("s", "int8", (1, 2, 3), 0.01, 0))
    prep = Preprocess(**(PREP | {"resize": "letterbox"}))
    return Bundle("cpu", MODEL, inputs, outputs, task="detection", preprocess=prep, postprocess=Postprocess())


class Sum(Stand):
    """In place of an `Inference` of a model with two inputs."""

    def infer(self, inputs):
        return [from_array(to_array(inputs[0]) + to_array(inputs[1]))]


def two_inputs():
    specs = (TensorSpec("a", "int8", (1, 2), 0.5, 0), TensorSpec("b", "int8", (1, 2), 0.5, 0))
    return Bundle("cpu", MODEL, specs, (TensorSpec("y", "int8", (1, 2), 0.5, 0),), preprocess=Preprocess(scale=9))


class Halves(Stand):
    """In place of an `Inference` that gives maps of two classes: the second is in the lower half."""

    def infer(self, _inputs):
        maps = np.zeros((1, 8, 8, 2), np.int8)
        maps[0, :4, :, 0] = maps[0, 4:, :, 1] = 9
        return [from_array(maps)]


def segmenter():
    """Takes pictures of any size, letterboxed, and gives maps of 8 x 8."""
    inputs, outputs = (
        (TensorSpec("x", "int8", (1, 8, 8, 3), 1 / 127.5, 0),),
        (TensorSpec("m", "int8", (1, 8, 8, 2), 0.1, 0),),
    )
    prep = Preprocess(**(PREP | {"resize": "letterbox"}))
    return Bundle("cpu", MODEL, inputs, outputs, task="segmentation", preprocess=prep)
