"""What may happen to the layers of a model between two releases, and whether each candidate makes the new file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from skerry_agent.patch import apply
from skerry_host.patch.create import header_of
from skerry_host.patch.programs import encode_programs
from tests.kit.patch_models import Made, Net, layer, pruned, tuned

Write = Callable[[Net], bytes]
Edit = Callable[[np.random.Generator, list[Made]], list[Made]]


def tune(rng: np.random.Generator, layers: list[Made]) -> list[Made]:
    return [tuned(rng, made, float(rng.choice([0.1, 1, 8]))) for made in layers]


def retrain(rng: np.random.Generator, layers: list[Made]) -> list[Made]:
    return [layer(rng, *made.weights.shape) for made in layers]


def prune(rng: np.random.Generator, layers: list[Made]) -> list[Made]:
    return [pruned(made, 0.5) for made in layers]


def reorder(rng: np.random.Generator, layers: list[Made]) -> list[Made]:
    return [layers[i] for i in rng.permutation(len(layers))]


def append(rng: np.random.Generator, layers: list[Made]) -> list[Made]:
    return [*layers, layer(rng, 9, 24)]


def remove(rng: np.random.Generator, layers: list[Made]) -> list[Made]:
    return layers[1:]


def more_classes(rng: np.random.Generator, layers: list[Made]) -> list[Made]:
    extra = layer(rng, 3, layers[-1].weights.shape[1])
    joined = [np.concatenate([getattr(layers[-1], key), getattr(extra, key)]) for key in ("weights", "scales", "bias")]
    return [*layers[:-1], replace(layers[-1], weights=joined[0], scales=joined[1], bias=joined[2])]


def transpose(rng: np.random.Generator, layers: list[Made]) -> list[Made]:
    flipped = np.ascontiguousarray(layers[0].weights.T)
    fresh = layer(rng, *flipped.shape)
    return [replace(fresh, weights=flipped), *layers[1:]]


def share(rng: np.random.Generator, layers: list[Made]) -> list[Made]:
    return [layers[0], *(replace(layers[0], shares=True) for _ in layers[1:])]


def on_grid(rng: np.random.Generator, layers: list[Made]) -> list[Made]:
    steps = [1 + rng.integers(-9, 9, len(made.scales)) / 512 for made in layers]
    return [replace(m, scales=(m.scales * s).astype(np.float32)) for m, s in zip(layers, steps, strict=True)]


EDITS = [tune, retrain, prune, reorder, append, remove, more_classes, transpose, share, on_grid]


def every_candidate_makes(old: bytes, new: bytes) -> dict[str, int]:
    sizes = {}
    for codec, attempt in encode_programs(old, new).items():
        out = bytearray()
        apply(old, header_of(codec, old, new, 2) + attempt.lean, out.extend, max_new_bytes=len(new))
        assert out == new, codec
        sizes[codec] = len(attempt.payload)
    return sizes
