"""Pre- and postprocessing: the same code on host and device; and golden outputs. Pure numpy, no file, no runtime."""

from skerry_agent.processing.answers import (
    EMBEDDING,
    PICTURES,
    Embedding,
    Found,
    Frame,
    Numbers,
    answer_for,
    decode,
    of_sample,
    postprocess,
)
from skerry_agent.processing.arrays import Array, parse_npy, parse_npz, write_npz
from skerry_agent.processing.boxes import iou, overlaps
from skerry_agent.processing.classes import Answer, ClassSet, Event, Events
from skerry_agent.processing.detection import Detection, Detections, to_sample
from skerry_agent.processing.documents import document_of
from skerry_agent.processing.errors import ProcessingError
from skerry_agent.processing.feeding import Feeding, Sample, SampleSequence
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
from skerry_agent.processing.masks import Mask
from skerry_agent.processing.points import Keypoints, Point
from skerry_agent.processing.sequences import Symbols
from skerry_agent.processing.tensors import (
    dequantize,
    fit_input,
    image_shape,
    preprocess,
    quantize,
    sample_shape,
)
from skerry_agent.wire.manifest import CLASSIFICATION, DETECTION

__all__ = [
    "CLASSIFICATION",
    "DETECTION",
    "EMBEDDING",
    "PICTURES",
    "Answer",
    "Array",
    "ClassSet",
    "Detection",
    "Detections",
    "Embedding",
    "Event",
    "Events",
    "Feeding",
    "Found",
    "Frame",
    "GoldenResult",
    "GoldenSet",
    "Keypoints",
    "Mask",
    "Numbers",
    "Placement",
    "Point",
    "ProcessingError",
    "Sample",
    "SampleSequence",
    "Symbols",
    "answer_for",
    "compare_golden",
    "constant",
    "decode",
    "dequantize",
    "differences",
    "document_of",
    "fit",
    "fit_input",
    "image_shape",
    "iou",
    "join_outputs",
    "load_golden",
    "of_sample",
    "overlaps",
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
