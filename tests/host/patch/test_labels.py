"""Label files and metadata: small texts of which parts moved, came or went."""

import random

import pytest

from tests.kit.patch_models import Net, patch_of, tflite

WORDS = [
    "ash",
    "oak",
    "elm",
    "fir",
    "yew",
    "bay",
    "fig",
    "box",
    "red",
    "old",
    "tall",
    "small",
    "black",
    "white",
    "water",
    "river",
]
NAMES = [" ".join(random.Random(seed).sample(WORDS, 3)) for seed in range(600)]


def text(names: list[str]) -> bytes:
    return "".join(f"{name}\n" for name in names).encode()


def shuffled() -> list[str]:
    return random.Random(1).sample(NAMES, len(NAMES))


@pytest.mark.parametrize(
    ("names", "most"),
    [(NAMES, 48), ([*NAMES[:300], "rowan", *NAMES[300:]], 64), (NAMES[:-5], 48), (shuffled(), 1500)],
    ids=["unchanged", "one more", "fewer", "in another order"],
)
def test_labels_cost_what_is_new_of_them(names: list[str], most: int) -> None:
    assert len(patch_of(text(NAMES), text(names)).data) <= most


def test_metadata_at_the_end_of_a_model_costs_what_is_new_of_it() -> None:
    model = tflite(Net(()))
    assert len(patch_of(model + text(NAMES), model + text([*NAMES[:9], "rowan", *NAMES[10:]])).data) <= 96
