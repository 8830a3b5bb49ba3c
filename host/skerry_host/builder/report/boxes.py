"""A detector's boxes on some held-out images, the float model's beside the quantized one's. Measures nothing.

Shown are the images on which the two differ most, then those with most boxes; small, with few colours, so that a
report stays a file that one can mail.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from PIL import Image

from skerry_agent.processing import Array, Detection, Detections, iou
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.judge.paired import Comparison
from skerry_host.builder.judge.tasks.base import Case, answers, view_of
from skerry_host.builder.modelfile.graph import Graph
from skerry_host.builder.recipe.recipe import Recipe
from skerry_host.builder.report.svg import rect, svg, text

SCANNED, SHOWN = 64, 4
"""Images that are looked at, and those that are drawn."""
SIDE, COLOURS, MOST_BOXES = 320, 64, 60
"""Pixels of the longer side, colours of an image, and boxes that are drawn on one."""
SAME_BOX = 0.5
_GAP = 12
_ANCHOR = {True: "end", False: "start"}


@dataclass(frozen=True, slots=True)
class Picture:
    """One sample (H, W, channels) as uint8, and what both models find in it, in 0..1 of it."""

    image: Array
    float_boxes: Detections
    int8_boxes: Detections


def pictures(compared: Comparison, samples: Samples, recipe: Recipe, graph: Graph) -> tuple[Picture, ...]:
    """Some samples with both models' boxes; none where the task is another, or samples are no images."""
    if recipe.task != "detection" or not len(samples):
        return ()
    chosen = samples.subset(compared.places[:SCANNED])
    if not _is_image(chosen.inputs[0][0]):
        return ()
    case = Case(recipe.meaning, view_of(graph, recipe.feeding, chosen))
    both = [
        list(answers([part[: len(chosen)] for part in score.outputs.values()], case))
        for score in (compared.reference, compared.score)
    ]
    differing = [len(_alone(a, b)) + len(_alone(b, a)) for a, b in zip(*both, strict=True)]
    found = [len(one.found) for one in both[0]]
    order = sorted(range(len(chosen)), key=lambda at: (-differing[at], -found[at]))[: SHOWN // 2]
    order += [at for at in np.argsort(-np.array(found), kind="stable").tolist() if at not in order][
        : SHOWN - len(order)
    ]
    return tuple(Picture(_shown(chosen.inputs[at][0]), both[0][at], both[1][at]) for at in order)


def draw(picture: Picture, labels: Sequence[str], name: str) -> Markup:
    """The image twice, side by side; what only one of the models finds is dashed. `name` tells it from others."""
    image = Image.fromarray(picture.image)
    image.thumbnail((SIDE, SIDE))
    if (factor := SIDE // max(image.size)) > 1:  # a label is as large as a small image
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    width, height = image.size
    href = f"data:image/png;base64,{_png(image)}"
    body = [f'<defs><image id="{name}" href="{href}" width="{width}" height="{height}"/></defs>']
    pairs = ((picture.float_boxes, picture.int8_boxes), (picture.int8_boxes, picture.float_boxes))
    for place, (title, (own, other)) in enumerate(zip(("float", "quantized"), pairs, strict=True)):
        left = place * (width + _GAP)
        body += [text(left, 12, f"{title}: {_counted(own)}", "label"), f'<use href="#{name}" x="{left}" y="18"/>']
        body += _boxes(own, _alone(own, other), labels, (left, 18, width, height))
    return svg(
        2 * width + _GAP, height + 20, "Boxes of the float model beside those of the quantized one", body, "boxes"
    )


def _boxes(own: Detections, alone: list[Detection], labels: Sequence[str], at: tuple[int, int, int, int]) -> list[str]:
    left, top, width, height = at
    body = []
    for one in own.found[:MOST_BOXES]:
        low_y, low_x, high_y, high_x = np.clip(one.box, 0, 1).tolist()
        box = (left + low_x * width, top + low_y * height, (high_x - low_x) * width, (high_y - low_y) * height)
        label = labels[one.index] if one.index < len(labels) else str(one.index)
        kind = "found alone" if any(one is other for other in alone) else "found"
        body.append(rect(box, kind, f"{label}: {one.score:.2f}"))
        right = low_x > 0.6  # its label would leave the image
        body.append(
            text(
                box[0] + (box[2] if right else 3),
                box[1] + 12,
                f"{label} {one.score:.2f}",
                f"{kind} name",
                _ANCHOR[right],
            )
        )
    return body


def _alone(own: Detections, others: Detections) -> list[Detection]:
    """Those that the other model has no box of their class for at their place."""
    return [
        one
        for one in own.found
        if not any(
            other.index == one.index and iou(np.array(one.box), np.array([other.box]))[0] >= SAME_BOX
            for other in others.found
        )
    ]


def _counted(found: Detections) -> str:
    return f"{len(found.found)} box" + ("" if len(found.found) == 1 else "es")


def _is_image(sample: Array) -> bool:
    return sample.ndim >= 2 and (sample.ndim == 2 or sample.shape[-1] in {1, 3, 4}) and min(sample.shape[:2]) > 1


def _shown(sample: Array) -> Array:
    """As uint8 RGB: what is no byte is stretched to all of black to white."""
    if sample.dtype != np.uint8:
        wide = sample.astype(np.float64)
        span = float(np.ptp(wide)) or 1.0
        sample = np.rint((wide - wide.min()) / span * 255).astype(np.uint8)
    planes = sample[..., np.newaxis] if sample.ndim == 2 else sample
    rgb: Array = np.repeat(planes, 3, axis=2) if planes.shape[2] == 1 else planes[..., :3]
    return np.ascontiguousarray(rgb)


def _png(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.quantize(COLOURS).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
