"""Predicts what maps of a model as it would be at other sizes of its image: how large the input may be.

What `preflight` says of each; the weights do not matter for that, so that no model is made.
"""

from collections import Counter
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from skerry_host.boards import NEWEST_EDGETPU_RUNTIME
from skerry_host.builder.edgetpu.preflight import largest_activation, predict
from skerry_host.builder.edgetpu.resize import FixedSizeError, image_input, resize
from skerry_host.builder.edgetpu.sandbox import ask
from skerry_host.builder.edgetpu.table import operator_table
from skerry_host.builder.edgetpu.view import view
from skerry_host.builder.modelfile.tflite import read_model


class AtSize(Struct, frozen=True):
    """What is predicted of a model whose image has this size in pixels: operators that map, may map, and stay.

    `cause`: the first operator that is not certain to map, and its `reason`; empty if all are. `problem`: why there is
    no such model; then nothing is predicted. `largest_bytes` is its largest activation.
    """

    height: int
    width: int
    mapped: int = 0
    unknown: int = 0
    cpu: int = 0
    largest_bytes: int = 0
    cause: str = ""
    reason: str = ""
    problem: str = ""

    @property
    def all_map(self) -> bool:
        """Whether every operator maps."""
        return not self.problem and not self.unknown and not self.cpu


class SizesPreflight(Struct, frozen=True):
    """The same model at several sizes, smallest first; `height` and `width` are those that the file has.

    `problem`: why no other size can be tried at all.
    """

    predicted: Literal[True]
    largest_mapped_bytes: int
    height: int = 0
    width: int = 0
    at: tuple[AtSize, ...] = ()
    problem: str = ""

    @property
    def largest(self) -> AtSize | None:
        """The largest size at which all of it maps."""
        return max((at for at in self.at if at.all_map), key=lambda at: at.height, default=None)


def preflight_sizes_file(path: Path, heights: range, runtime: int = NEWEST_EDGETPU_RUNTIME) -> SizesPreflight:
    """Predict for a file that is not trusted, in a child process; raises `ModelError` when it is none, or damaged."""
    limits = {"first": heights.start, "last": heights[-1], "step": heights.step}
    return ask("sizes", path, SizesPreflight, runtime=runtime, **limits)


def preflight_sizes(data: bytes, heights: range, runtime: int = NEWEST_EDGETPU_RUNTIME) -> SizesPreflight:
    """Predict for trusted bytes at each height, in pixels; the image keeps its form. Raises `DamagedError`."""
    known = operator_table().activations.largest_mapped_bytes
    seen = view(read_model(data))
    image = image_input(seen)
    if image is None:
        return SizesPreflight(True, known, problem="it does not have one image (height, width, channels) as its input")
    _batch, height, width, _depth = seen.graph.tensors[image].shape
    at = tuple(_at_size(data, (size, round(size * width / height)), runtime) for size in heights)
    return SizesPreflight(True, known, height, width, at)


def preflight_sizes_to_json(path: Path, runtime: int, first: int, last: int, step: int) -> bytes:
    """What the child process does."""
    return msgspec.json.encode(preflight_sizes(path.read_bytes(), range(first, last + 1, step), runtime))


def _at_size(data: bytes, size: tuple[int, int], runtime: int) -> AtSize:
    model = read_model(data)
    try:
        resize(model, *size)
    except FixedSizeError as error:
        return AtSize(*size, problem=str(error))
    seen = view(model)
    found = predict(seen, runtime)
    verdicts = Counter(item.verdict for item in found.all)
    first = next(iter(found.causes), None)
    return AtSize(
        *size,
        mapped=verdicts["maps"],
        unknown=verdicts["unknown"],
        cpu=verdicts["cpu"],
        largest_bytes=largest_activation(seen),
        cause=f"operator {first.index}, {first.op} to {first.shape}" if first else "",
        reason=first.reason if first else "",
    )
