"""Float ONNX to int8 ONNX: static, QDQ, ranges measured on calibration samples (onnxruntime). Measures no accuracy.

Opset 17 at least: on 11 and 12 onnxruntime writes per-channel graphs that no runtime loads.
"""

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skerry_agent.processing import Array, Feeding
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.modelfile.onnx import describe_onnx
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.recipe.progress import Progress, silent, watched
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.runtime.session import Session
from skerry_host.builder.sources.load import SourceModel

OPSET = 17
_CORE = ["Conv", "ConvTranspose", "Gemm", "MatMul"]
"""What most of the time goes into."""
_MOVES = {"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"}
_HINT = "build target cpu, which has another quantizer, or export the model with opset_version=18"
_METHODS = {"min-max": "MinMax", "moving-average": "MinMax", "percentile": "Percentile", "mse": "MinMax"}
"""onnxruntime's calibrators: what it calls a moving average is the plain mean of the samples' ends, which clips half of
them, so all that was seen is taken; it has none by mean square error."""


def quantize_onnx(
    source: SourceModel, samples: Samples, feeding: Feeding, plan: Quantize, progress: Progress = silent
) -> bytes:
    """An int8 ONNX with float inputs and outputs; raises `ModelError` when onnxruntime cannot make it."""
    from onnxruntime.quantization import quantize_static  # noqa: PLC0415

    from skerry_host.builder.quantize.onnx_names import own_names  # noqa: PLC0415  (an extra)
    from skerry_host.builder.quantize.onnx_opset import at_opset  # noqa: PLC0415

    assert source.onnx is not None
    if source.quantized:
        return source.onnx
    with tempfile.TemporaryDirectory(prefix="skerry-onnx-") as name, _quiet():
        files = Path(name) / "float.onnx", Path(name) / "int8.onnx"
        first: Exception | None = None
        for how in _attempts(plan):
            try:
                files[0].write_bytes(own_names(at_opset(source.onnx, OPSET)))
                reader = _Reader(samples, feeding, source.onnx, progress)
                whole = {"nodes_to_exclude": last_concatenations(files[0].read_bytes())}
                quantize_static(*map(str, files), reader, **how.settings, **_common(plan), **whole)
                made = files[1].read_bytes()
                Session(made)
            except Exception as error:  # noqa: BLE001  (its errors share no base)
                first = first or error
                continue
            if how.what:
                progress(f"onnxruntime does not quantize this model as asked: {how.what}")
            return made
    line = " ".join(str(first).split())[:300]
    raise ModelError(f"onnxruntime cannot quantize this model: {line}", hint=_HINT, code="quantizer") from first


def last_concatenations(model: bytes) -> list[str]:
    """The nodes that put outputs together from parts: left float, so that each part keeps the scale that it has.

    On one scale for a detector's pixels and probabilities every probability is zero.
    """
    import onnx  # noqa: PLC0415  (an extra)

    graph = onnx.load_from_string(model).graph
    writers = {output: node for node in graph.node for output in node.output}
    waiting, found = [output.name for output in graph.output], []
    while waiting:
        node = writers.get(waiting.pop())
        if node is None or node.op_type not in {"Concat", *_MOVES}:
            continue
        if node.op_type == "Concat" and node.name:
            found.append(node.name)
        waiting += node.input if node.op_type == "Concat" else node.input[:1]
    return sorted(set(found))


@dataclass(frozen=True, slots=True)
class _Way:
    """How the quantizer is called, and what is other than asked for."""

    settings: dict[str, Any]
    what: str = ""


def _attempts(plan: Quantize) -> list[_Way]:
    """As asked; then with less, because the quantizer fails on some shapes of weights (of one axis, of none)."""
    by_channel, by_tensor = {"per_channel": True}, {"per_channel": False}
    ways = [_Way(by_channel)] if plan.per_channel else []
    ways.append(_Way(by_tensor, "weights have one scale for each tensor" if plan.per_channel else ""))
    core = "only convolutions and products are int8"
    if plan.per_channel:
        ways.append(_Way({**by_channel, "op_types_to_quantize": _CORE}, core))
    return [*ways, _Way({**by_tensor, "op_types_to_quantize": _CORE}, f"{core}, with one scale for each tensor")]


def _common(plan: Quantize) -> dict[str, Any]:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType  # noqa: PLC0415

    return {
        "quant_format": QuantFormat.QDQ,
        "activation_type": QuantType.QInt8,
        "weight_type": QuantType.QInt8,
        "calibrate_method": CalibrationMethod[_METHODS[plan.calibrator]],
        "extra_options": _options(plan),
    }


def _options(plan: Quantize) -> dict[str, Any]:
    """What each calibrator needs; onnxruntime takes the other ones' amiss."""
    return {"CalibPercentile": plan.percentile} if plan.calibrator == "percentile" else {}


class _Reader:
    """Feeds the samples, preprocessed as a device does it; onnxruntime asks for the next until there is none."""

    def __init__(self, samples: Samples, feeding: Feeding, model: bytes, progress: Progress) -> None:
        self._items = self._walk(samples, feeding, model, progress)

    def get_next(self) -> dict[str, Array] | None:
        """The next input by name, None at the end."""
        return next(self._items, None)

    def __len__(self) -> int:
        return 0

    @staticmethod
    def _walk(samples: Samples, feeding: Feeding, model: bytes, progress: Progress) -> Iterator[dict[str, Array]]:
        session = Session(model) if feeding.feedback else None
        inputs = describe_onnx(model).input_specs()
        for sample in watched(samples, "measuring ranges", progress, of=len(samples)):
            tensors = session.tensors(sample, feeding) if session else feeding.tensors(sample, inputs)
            yield dict(zip([tensor.name for tensor in inputs], tensors, strict=True))
            if session:
                session.run_raw(sample, feeding)

    def __iter__(self) -> Any:
        return self._items


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Drop the advice that onnxruntime prints and logs; its errors come as exceptions."""
    noise = io.StringIO()
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(noise), contextlib.redirect_stderr(noise):
            yield
    finally:
        logging.disable(level)
