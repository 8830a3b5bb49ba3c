"""Float ONNX to int8 ONNX: static, QDQ, ranges measured on calibration samples (onnxruntime). Measures no accuracy.

Opset 17 at least: on 11 and 12 onnxruntime writes per-channel graphs that no runtime loads.
"""

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator
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
_METHODS = {"min-max": "MinMax", "moving-average": "MinMax", "percentile": "Percentile", "mse": "MinMax"}
"""onnxruntime's calibrators: what it calls a moving average is the plain mean of the samples' ends, which clips half of
them, so all that was seen is taken; it has none by mean square error."""


def quantize_onnx(
    source: SourceModel, samples: Samples, feeding: Feeding, plan: Quantize, progress: Progress = silent
) -> bytes:
    """An int8 ONNX with float inputs and outputs; raises `ModelError` when onnxruntime cannot make it."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static  # noqa: PLC0415

    assert source.onnx is not None
    if source.quantized:
        return source.onnx
    with tempfile.TemporaryDirectory(prefix="skerry-onnx-") as name, _quiet():
        before, after = Path(name) / "float.onnx", Path(name) / "int8.onnx"
        try:
            before.write_bytes(at_opset(source.onnx, OPSET))
            quantize_static(
                str(before),
                str(after),
                _Reader(samples, feeding, source.onnx, progress),
                quant_format=QuantFormat.QDQ,
                per_channel=plan.per_channel,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod[_METHODS[plan.calibrator]],
                extra_options=_options(plan),
            )
        except Exception as error:  # its errors share no base
            line = " ".join(str(error).split())[:300]
            raise ModelError(f"onnxruntime cannot quantize this model: {line}", code="quantizer") from error
        return after.read_bytes()


def _options(plan: Quantize) -> dict[str, Any]:
    """What each calibrator needs; onnxruntime takes the other ones' amiss."""
    return {"CalibPercentile": plan.percentile} if plan.calibrator == "percentile" else {}


def at_opset(data: bytes, opset: int) -> bytes:
    """The model with operators of at least this version of the standard."""
    import onnx  # noqa: PLC0415
    from onnx import version_converter  # noqa: PLC0415

    model = onnx.load_from_string(data)
    if all(entry.version >= opset for entry in model.opset_import if entry.domain in {"", "ai.onnx"}):
        return data
    converted: bytes = version_converter.convert_version(model, opset).SerializeToString()
    return converted


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
