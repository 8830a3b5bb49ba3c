"""Pre- and postprocessing: the same code on host and device; and golden outputs. Pure numpy, no file, no runtime."""

from skerry_agent.processing.arrays import Array, parse_npy, parse_npz, write_npz
from skerry_agent.processing.detection import Detection, Detections, iou, to_sample
from skerry_agent.processing.errors import ProcessingError
from skerry_agent.processing.golden import (
    GoldenResult,
    GoldenSet,
    compare_golden,
    constant,
    differences,
    load_golden,
    save_golden,
)
from skerry_agent.processing.image import Placement, fit, place
from skerry_agent.processing.joins import join_outputs
from skerry_agent.processing.tensors import (
    EMBEDDING,
    Answer,
    Embedding,
    answer_for,
    dequantize,
    image_shape,
    postprocess,
    preprocess,
    quantize,
    sample_shape,
)
from skerry_agent.wire.manifest import CLASSIFICATION, DETECTION

__all__ = [
    "CLASSIFICATION",
    "DETECTION",
    "EMBEDDING",
    "Answer",
    "Array",
    "Detection",
    "Detections",
    "Embedding",
    "GoldenResult",
    "GoldenSet",
    "Placement",
    "ProcessingError",
    "answer_for",
    "compare_golden",
    "constant",
    "dequantize",
    "differences",
    "fit",
    "image_shape",
    "iou",
    "join_outputs",
    "load_golden",
    "parse_npy",
    "parse_npz",
    "place",
    "postprocess",
    "preprocess",
    "quantize",
    "sample_shape",
    "save_golden",
    "to_sample",
    "write_npz",
]
