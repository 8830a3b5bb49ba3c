"""An agent of before never answers wrongly what it does not know: it refuses the release, or gives raw outputs.

The structs below are those of the first agents that had boxes, word for word.
"""

from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta, Struct

from skerry_agent.wire import codec
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.postprocess import Postprocess


class OldPostprocess(Struct, frozen=True):
    decoder: Literal["ssd", "decoded"] = "decoded"
    boxes: Annotated[int, Meta(ge=0)] = 0
    scores: Annotated[int, Meta(ge=0)] = 1
    classes: Annotated[int, Meta(ge=0)] | None = None
    activation: Literal["none", "sigmoid", "softmax"] = "none"
    strides: tuple[Annotated[int, Meta(gt=0)], ...] = ()
    per_cell: tuple[Annotated[int, Meta(gt=0)], ...] = ()
    min_score: Annotated[float, Meta(ge=0, le=1)] = 0.5
    max_iou: Annotated[float, Meta(ge=0, le=1)] = 0.3
    max_detections: Annotated[int, Meta(ge=1, le=10_000)] = 100


class OldBundle(Struct, frozen=True):
    task: str = "raw"
    postprocess: OldPostprocess = OldPostprocess()


OF_BEFORE = (
    OldPostprocess("ssd", activation="sigmoid", strides=(8, 16), per_cell=(2, 6)),
    OldPostprocess("decoded", classes=1, scores=2, min_score=0.3),
)


@pytest.mark.parametrize("old", OF_BEFORE)
def test_what_an_old_agent_knows_means_the_same(old: OldPostprocess):
    now = codec.decode(codec.encode(old), Postprocess)
    assert codec.decode(codec.encode(now), OldPostprocess) == old


@pytest.mark.parametrize("decoder", ["boxes", "yolo", "anchors", "cells", "classes"])
def test_a_decoder_that_an_old_agent_does_not_know_is_refused_by_it(decoder):
    raw = codec.encode(Postprocess(decoder))
    assert codec.decode(raw, Postprocess).decoder == decoder
    with pytest.raises((WireError, msgspec.ValidationError)):
        codec.decode(raw, OldPostprocess)


def test_of_a_task_that_it_does_not_know_an_old_agent_reads_the_settings_and_gives_raw_outputs():
    raw = codec.encode({"task": "segmentation", "postprocess": Postprocess(output=1, indices=True)})
    assert codec.decode(raw, OldBundle) == OldBundle("segmentation")
