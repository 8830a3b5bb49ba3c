"""From the source file of a recipe to a float model that can be quantized. Takes TFLite; quantizes nothing.

Another kind of source becomes a function here that ends in a float TFLite, the waist of every build.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from skerry_host.build.errors import ModelError
from skerry_host.build.graph import Graph, describe
from skerry_host.build.normalise import normalise, unfit
from skerry_host.build.probe import probe
from skerry_host.build.tflite import read_model, write_model


@dataclass(frozen=True, slots=True)
class Source:
    """A float model that was proven to load and run, its graph, the hash of the file it came from, what was changed."""

    data: bytes
    graph: Graph
    sha256: str
    file_bytes: int
    changes: tuple[str, ...]


def load_source(path: Path) -> Source:
    """Check and normalise a model file; raises `ModelError` with what is wrong and what to do."""
    probe(path).require_runs(path)
    data = path.read_bytes()
    model = read_model(data)
    changes = normalise(model)
    graph = describe(model)
    reasons = unfit(graph)
    if reasons:
        raise ModelError(f"{path} cannot be quantized: {'; '.join(reasons)}", code="unfit")
    return Source(write_model(model), graph, hashlib.sha256(data).hexdigest(), len(data), tuple(changes))
