"""What a model's file says of itself: inputs and outputs, sizes that it leaves open, and what its exporter wrote in it.

Converts and runs nothing.
"""

import ast
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from skerry_agent.wire.names import MODEL_PATTERN
from skerry_host.builder.modelfile.onnx_file import read_onnx
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.sources.kinds import kind_of

VERSIONED = re.compile(r"[-_]v?[0-9]+\.[0-9]+\.[0-9]+$")
MAX_LABELS_BYTES = 1 << 20
ULTRALYTICS_TASKS = {"detect": "detection", "classify": "classification", "segment": "detection", "pose": "detection"}


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model's file, with what it says: a size of an input is a number, or a text where it is open.

    `names` are those of classes, `task` what the model is for, `pixels` (height, width) its size of images, `license`
    of its exporter's metadata; empty where it says nothing. `ultralytics`: trained by their tools, which scale alike.
    """

    path: Path
    kind: str
    inputs: dict[str, tuple[int | str, ...]] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    task: str = ""
    pixels: tuple[int, int] | None = None
    license: str = ""
    exporter: str = ""
    ultralytics: bool = False

    @property
    def name(self) -> str:
        """A name for the model that Skerry accepts, from that of its file without a version."""
        return model_name(VERSIONED.sub("", self.path.stem))

    @property
    def version(self) -> str:
        """The version in the file's name, empty if there is none."""
        found = VERSIONED.search(self.path.stem)
        return found[0].lstrip("-_v") if found else ""

    @property
    def open_inputs(self) -> dict[str, tuple[int | str, ...]]:
        """The inputs that leave more than the batch open."""
        return {
            name: shape
            for name, shape in self.inputs.items()
            if any(isinstance(size, str) or size < 1 for size in shape[1:])
        }


def model_facts(path: Path) -> ModelFacts:
    """What a file says; raises `ModelError`."""
    if not path.exists():
        raise ModelError(f"cannot read the model {path}: there is no such file", code="no_model")
    kind = kind_of(path)
    if kind == "onnx":
        return _of_onnx(path)
    return ModelFacts(path, kind, names=_packed_labels(path) if kind == "tflite" else ())


def model_name(text: str) -> str:
    """A text as a name of a model: small letters, digits, `-` and `_`."""
    made = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")[:62].strip("-_")
    return made if re.fullmatch(MODEL_PATTERN, made) else f"m-{made}".strip("-")[:62]


def _of_onnx(path: Path) -> ModelFacts:
    found = read_onnx(path)
    said = found.metadata
    return ModelFacts(
        path,
        "onnx",
        {tensor.name: tensor.shape for tensor in found.inputs},
        _names(said.get("names", "")),
        ULTRALYTICS_TASKS.get(said.get("task", ""), ""),
        _pixels(said.get("imgsz", "")),
        said.get("license", "")[:100],
        said.get("author", "") or found.producer,
        said.get("author", "") == "Ultralytics" or {"stride", "imgsz", "names"} <= set(said),
    )


def _names(text: str) -> tuple[str, ...]:
    """The names of `{0: 'person', 1: 'bicycle'}`, as ultralytics writes them; none of another text."""
    try:
        table = ast.literal_eval(text) if text else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return ()
    if isinstance(table, list):
        table = dict(enumerate(table))
    if not isinstance(table, dict) or not all(isinstance(key, int) for key in table):
        return ()
    if sorted(table) != list(range(len(table))):
        return ()
    return tuple(str(table[at]).strip() for at in range(len(table)))


def _pixels(text: str) -> tuple[int, int] | None:
    """Height and width of `[640, 640]`."""
    numbers = [int(number) for number in re.findall(r"\d{1,5}", text)]
    return (numbers[0], numbers[-1]) if len(numbers) in {1, 2} and all(numbers) else None


def _packed_labels(path: Path) -> tuple[str, ...]:
    """The labels in a TFLite file's metadata: a zip archive behind the model, with one text file."""
    try:
        with zipfile.ZipFile(path) as archive:
            texts = [one for one in archive.infolist() if one.filename.lower().endswith(".txt")]
            if len(texts) != 1 or texts[0].file_size > MAX_LABELS_BYTES:
                return ()
            with archive.open(texts[0]) as file:
                lines = file.read(MAX_LABELS_BYTES).decode("utf-8").splitlines()
    except (OSError, zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError, RuntimeError):
        return ()
    names = tuple(line.strip() for line in lines)
    return names if names and all(name and name.isprintable() for name in names) else ()
