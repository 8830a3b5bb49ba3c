"""What model and data say together: the task, the classes and their order, sizes, the decoder. Pure; tries nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from skerry_agent.wire.manifest import Preprocess, TensorSpec
from skerry_host.builder.init.choices import Choice
from skerry_host.builder.init.facts import ModelFacts
from skerry_host.builder.modelfile.graph import Graph

TASK_OF_FORMAT = {
    "folder": ("classification", "the data are images in folders by class"),
    "coco": ("detection", "the data are boxes (COCO)"),
    "yolo": ("detection", "the data are boxes (YOLO)"),
    "masks": ("segmentation", "the data are masks"),
    "wav": ("classification", "the data are sounds by class"),
}
TASK_OF_ARRAY = {
    "boxes": "detection",
    "masks": "segmentation",
    "keypoints": "keypoints",
    "targets": "regression",
    "texts": "sequence",
    "labels": "classification",
}
PIXELS = {"classification": 224, "segmentation": 256}
USUAL_PIXELS = 640
CHANNELS = {1, 3, 4}


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What was found of the data: the format, names of classes, whether samples have labels, a few sizes of images.

    `labels`: of a table, the texts of its label column. `task`: of arrays, what their names say.
    """

    format: str
    names: tuple[str, ...] = ()
    labelled: bool = False
    pixels: tuple[tuple[int, int], ...] = ()
    labels: tuple[str, ...] = ()
    task: str = ""


def task_of(asked: str | None, model: ModelFacts, data: DataFacts) -> Choice:
    """What the outputs mean: as asked, as the model says, or as the data show."""
    if asked:
        return Choice("", "task", asked, "as asked")
    if model.task:
        return Choice("", "task", model.task, f"the model says so ({model.exporter or 'its metadata'})")
    if data.format in TASK_OF_FORMAT and (data.labelled or data.format != "folder"):
        task, why = TASK_OF_FORMAT[data.format]
        return Choice("", "task", task, why, guess=True)
    if data.format == "csv" and data.labels:
        return _task_of_table(data.labels)
    if data.task:
        return Choice("", "task", data.task, "what the arrays are called", guess=True)
    ask = "what do the outputs mean? Give --task; raw compares with the float model only"
    return Choice("", "task", "raw", "nothing says what the outputs mean", guess=True, ask=ask)


def _task_of_table(labels: Sequence[str]) -> Choice:
    texts = [text for text in labels if not _is_whole(text)]
    if texts and not all(_is_real(text) for text in texts):
        return Choice("", "task", "classification", f"labels are texts, such as {texts[0]!r}", guess=True)
    few = len(set(labels)) <= max(20, len(labels) // 20)
    if not texts and few:
        return Choice(
            "", "task", "classification", f"labels are {len(set(labels))} different whole numbers", guess=True
        )
    return Choice("", "task", "regression", "labels are numbers", guess=True)


def shapes_of(model: ModelFacts, data: DataFacts, task: str) -> list[Choice]:
    """Sizes for what the model leaves open: as its metadata say, as the images are, or as is usual."""
    made = []
    for name, shape in model.open_inputs.items():
        sizes = [size if isinstance(size, int) and size > 0 else 0 for size in shape]
        sizes[0] = 1
        pixels, why, ask = _pixels(model, data, task)
        planes = len(sizes) == 4 and sizes[1] in CHANNELS
        places = [2, 3] if planes else [1, 2]
        for place, size in zip(places, pixels, strict=True):
            if len(sizes) == 4 and not sizes[place]:
                sizes[place] = size
        if any(size < 1 for size in sizes):
            sizes = [size or 1 for size in sizes]
            ask = f"which shape has input {name}, {shape}?"
        made.append(Choice("source.shapes", name, sizes, f"the file leaves sizes open; {why}", guess=True, ask=ask))
    why = "the file fixes its first axis: a sample is then all of it"
    whole = {name: shape for name, shape in model.inputs.items() if shape[:1] not in {(), (1,)}}
    fixed = {name: shape for name, shape in whole.items() if all(isinstance(size, int) and size > 0 for size in shape)}
    return [*made, *(Choice("source.shapes", name, list(shape), why, guess=True) for name, shape in fixed.items())]


def _pixels(model: ModelFacts, data: DataFacts, task: str) -> tuple[tuple[int, int], str, str]:
    if model.pixels is not None:
        return model.pixels, "its metadata say this one (imgsz)", ""
    if len(set(data.pixels)) == 1:
        return data.pixels[0], "all images have this one", ""
    side = PIXELS.get(task, USUAL_PIXELS)
    return (
        (side, side),
        f"{side} is usual for {task}",
        f"for which size of images was the model trained? {side} is usual",
    )


def layout_of(tensor: TensorSpec) -> str:
    """Whether an image's colours are the model's last axis (`nhwc`), or its planes (`nchw`); empty: no image."""
    if len(tensor.shape) != 4:
        return ""
    if tensor.shape[3] in CHANNELS:
        return "nhwc"
    return "nchw" if tensor.shape[1] in CHANNELS else ""


def resize_of(data: DataFacts, size: tuple[int, int], task: str) -> Choice:
    """How images come to the model's size."""
    where = "preprocess", "resize"
    if data.pixels and set(data.pixels) == {size}:
        return Choice(*where, None)
    if task in {"detection", "keypoints"}:
        return Choice(*where, "letterbox", "detectors are trained so; the form of objects stays", guess=True)
    return Choice(*where, "stretch", f"images have other sizes than the model's {size[0]}x{size[1]}", guess=True)


def ultralytics(prep: Preprocess, *, tried: bool) -> list[Choice]:
    """How the tools that trained the model feed it, as far as it was not tried."""
    why = "the model is of ultralytics, whose tools do so"
    keys = [] if tried else [Choice("preprocess", "scale", 1 / 255, why)]
    return [*keys, Choice("preprocess", "pad", 114.0, why)] if prep.resize == "letterbox" else keys


def labels_of(model: ModelFacts, data: DataFacts, classes: int) -> list[Choice]:
    """The names of classes in the order of the outputs."""
    if model.names and len(model.names) == classes:
        return named(model.names, "as the model's metadata list them", guess=False)
    if data.names and len(data.names) == classes:
        return named(data.names, "the order in which the data list them; training tools order by name", guess=True)
    if data.names and classes:
        ask = f"the model has {classes} classes, the data {len(data.names)}: what are the model's, in their order?"
        names = [*data.names, *(f"class {at}" for at in range(len(data.names), classes))][:classes]
        return [replace(one, ask=ask) for one in named(names, "the model does not name them", guess=True)]
    return []


def named(names: Sequence[str], why: str, *, guess: bool) -> list[Choice]:
    """The keys for names of classes."""
    return [Choice("labels", "names", list(names), why, guess)]


def decoder_of(graph: Graph, model: ModelFacts, data: DataFacts) -> list[Choice]:
    """How boxes are read from a detector's outputs, by their shapes."""
    shapes = [spec.shape for spec in graph.output_specs()]
    names = len(model.names) or len(data.names)
    if len(shapes) >= 3 and any(op.name in {"TFLite_Detection_PostProcess", "CUSTOM"} for op in graph.ops[-1:]):
        return _keys("TensorFlow's own boxes, classes and scores", decoder="decoded", boxes=0, classes=1, scores=2)
    first = shapes[0] if shapes else ()
    if len(first) == 3 and first[2] == 6 and first[1] <= 1000:
        why = f"output of {first[1]} rows of box, score and class"
        keys = {"decoder": "boxes", "boxes": 0, "scores": 0, "classes": 0, "format": "xyxy", "units": "pixels"}
        return _keys(why, **keys, nms="none")
    if len(first) == 3 and names:
        return _yolo(first, names)
    ask = "how are boxes read from the outputs? See [postprocess] in docs/recipe.md"
    return [Choice("postprocess", "decoder", None, ask=ask)]


def _yolo(shape: tuple[int, ...], names: int) -> list[Choice]:
    for axis in (1, 2):
        columns, rows = shape[axis], shape[3 - axis]
        if columns in {names + 4, names + 5} and rows != columns:
            old = columns == names + 5
            why = f"output of {rows} boxes: 4 numbers{', objectness' if old else ''} and {names} classes (YOLO)"
            keys = {"decoder": "yolo", "boxes": 0, "scores": 0, "format": "cxcywh", "units": "pixels"}
            return _keys(why, **keys, objectness=old, class_count=names, min_score=0.25, max_iou=0.45)
    ask = f"the output {shape} is no box of {names} classes: how are boxes read? See [postprocess] in docs/recipe.md"
    return [Choice("postprocess", "decoder", None, ask=ask)]


def _keys(why: str, **keys: object) -> list[Choice]:
    first, *rest = keys.items()
    return [
        Choice("postprocess", first[0], first[1], why, guess=True),
        *(Choice("postprocess", key, value) for key, value in rest if value is not False),
    ]


def value_count(tensor: TensorSpec) -> int:
    """How many values an input takes of one sample."""
    return prod(tensor.shape[1:])


def _is_whole(text: str) -> bool:
    return _is_real(text) and float(text.replace(",", ".")).is_integer()


def _is_real(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True
