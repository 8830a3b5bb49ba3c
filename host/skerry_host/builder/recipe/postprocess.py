"""What is wrong with `[postprocess]` before a model is looked at: keys that fit neither each other nor the task."""

from collections.abc import Iterator

from skerry_agent.wire.postprocess import DETECTORS, Postprocess

_WITH_ANCHORS = {"v3", "v5"}


def postprocess_problems(task: str, spec: Postprocess) -> list[str]:
    """One line for each; empty if there are none."""
    strides, per_cell = len(spec.strides), len(spec.per_cell)
    uneven = strides != per_cell and spec.decoder not in {"yolo", "anchors"}
    grids = [f"postprocess: {strides} strides, but {per_cell} per_cell"] if uneven else []
    return [*grids, *(f"postprocess.{issue}" for issue in _issues(task, spec))]


def _issues(task: str, spec: Postprocess) -> Iterator[str]:
    if task == "detection" and spec.decoder not in DETECTORS:
        yield f"decoder: {spec.decoder!r} finds no boxes, use one of {', '.join(DETECTORS)}"
    elif task not in {"detection", "raw"} and spec.decoder not in {"decoded", "classes"}:
        yield f"decoder: {spec.decoder!r} is for detection, the task is {task}: leave it out"
    elif task == "detection":
        yield from _of_detector(spec)
    if task == "keypoints":
        yield from _of_points(spec)


def _of_detector(spec: Postprocess) -> Iterator[str]:
    strides, levels = len(spec.strides), len(spec.anchors)
    if spec.decoder == "anchors" and (not strides or strides != levels):
        yield f"anchors: {strides} strides, but anchors of {levels} levels"
    if spec.decoder == "anchors" and spec.format not in {"", "cxcywh", "cycxhw"}:
        yield f"format: differences to anchors are cxcywh or cycxhw, not {spec.format}"
    if len(spec.variances) not in {0, 4}:
        yield f"variances: {len(spec.variances)} numbers, there are 4 differences"
    if spec.decoder == "yolo" and spec.head != "decoded":
        if not strides:
            yield f"strides: head {spec.head!r} needs those of its grids, such as [8, 16, 32]"
        elif spec.head in _WITH_ANCHORS and strides != levels:
            yield f"anchors: head {spec.head!r} has {strides} strides, but anchors of {levels} levels"


def _of_points(spec: Postprocess) -> Iterator[str]:
    columns = spec.columns or "xy"
    if columns.count("x") != 1 or columns.count("y") != 1 or columns.count("s") > 1:
        yield f"columns: {columns!r} needs one x, one y and at most one s"
    if spec.offsets is not None and not spec.heatmaps:
        yield "offsets: are added to the places of heatmaps: set heatmaps = true"
