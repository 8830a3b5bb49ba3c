"""Real version pairs: patches stay as small as they have been, and no smaller figure is promised than is tested."""

import pytest

from tests.kit.patch_models import MODELS, patch_of

PAIRS = {  # old, new, percent of the full file at most
    "recalibrated": ("delta/mnv2_v1.tflite", "delta/mnv2_recal.tflite", 0.31),
    "head": ("delta/mnv2_v1.tflite", "delta/mnv2_head.tflite", 1.08),
    "pruned": ("delta/mnv2_v1.tflite", "delta/mnv2_prune.tflite", 1.3),
    "fine-tuned, 1e-5": ("delta/mnv2_v1.tflite", "delta/mnv2_ft1e-5.tflite", 16.3),
    "fine-tuned, 1e-4": ("delta/mnv2_v1.tflite", "delta/mnv2_ft1e-4.tflite", 28.8),
    "fine-tuned, 1e-4, ONNX": ("delta/mnv2_v1.onnx", "delta/mnv2_ft1e-4.onnx", 31.8),
    "reconverted": ("edgetpu/mobilenet_v2_1.0_224_quant.tflite", "delta/mobilenet_v2_reconverted.tflite", 0.46),
    "other heads": (
        "edgetpu/posenet_mobilenet_v1_075_353_481_16_quant_decoder.tflite",
        "delta/bodypix.tflite",
        1.55,
    ),
    "other compiler": (
        "delta/mobilenet_v1_0.5_160_quant_edgetpu_older_compiler.tflite",
        "edgetpu/mobilenet_v1_0.5_160_quant_edgetpu.tflite",
        1.35,
    ),
}


@pytest.mark.skipif(not MODELS.is_dir(), reason=f"real models are absent: {MODELS}")
@pytest.mark.parametrize("name", PAIRS)
def test_real_pair(name: str) -> None:
    old, new, percent = PAIRS[name]
    after = (MODELS / new).read_bytes()
    patch = patch_of((MODELS / old).read_bytes(), after)
    assert 100 * len(patch.data) / len(after) <= percent
