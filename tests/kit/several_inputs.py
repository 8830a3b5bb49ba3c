"""Small float TFLite models with recipes and data: of an image with a vector, of ids, and with a state fed back."""

from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.kit.edgetpu.models import Maker

CLASSES = 3
RECIPE = """schema = 1
name = "several"
task = "{task}"
license = "Apache-2.0"
[source]
file = "model.tflite"
{source}
[data]
calibration = "calibration.npz"
evaluation = "evaluation.npz"
{more}
"""


def picture_and_vector() -> bytes:
    """Scores (1, 3) of a picture (1, 4, 4, 3) and a vector (1, 2), whose first number is most of the answer."""
    made, random = Maker(), np.random.default_rng(5)
    made.tensor("picture", (1, 4, 4, 3), "float32")
    made.tensor("vector", (1, 2), "float32")
    made.tensor("shape", (2,), "int32", np.array([1, 48]), scale=0)
    weights = random.normal(0, 0.02, (CLASSES, 50))
    weights[:, 48:] = [[-3, 0.2], [0, 0.5], [3, 0.2]]
    made.tensor("w", weights.shape, "float32", weights)
    made.tensor("b", (CLASSES,), "float32", np.array([0, 0.4, 0]))
    for name, size in (("flat", 48), ("all", 50), ("scores", CLASSES)):
        made.tensor(name, (1, size), "float32")
    made.op("RESHAPE", ["picture", "shape"], ["flat"])
    joined = schema.ConcatenationOptionsT()
    joined.axis = 1
    made.op("CONCATENATION", ["flat", "vector"], ["all"], options=joined)
    made.op("FULLY_CONNECTED", ["all", "w", "b"], ["scores"], options=schema.FullyConnectedOptionsT())
    return made.data(["picture", "vector"], ["scores"])


def fading_sum(rows: int = 1) -> bytes:
    """A model that is fed back its state: after = x / 2 + before / 2, and y = after * 2; each (1, 4).

    With more `rows` the state and y have as many.
    """
    made = Maker()
    for name in ("x", "half_x"):
        made.tensor(name, (1, 4), "float32")
    for name in ("before", "half_before", "after", "y"):
        made.tensor(name, (rows, 4), "float32")
    made.tensor("half", (1, 1), "float32", np.array([[0.5]]))
    made.tensor("two", (1, 1), "float32", np.array([[2.0]]))
    made.op("MUL", ["x", "half"], ["half_x"], options=schema.MulOptionsT())
    made.op("MUL", ["before", "half"], ["half_before"], options=schema.MulOptionsT())
    made.op("ADD", ["half_x", "half_before"], ["after"], options=schema.AddOptionsT())
    made.op("MUL", ["after", "two"], ["y"], options=schema.MulOptionsT())
    return made.data(["x", "before"], ["y", "after"])


def mean_of_words(rows: int = 20) -> bytes:
    """Scores (1, 3) of the ids (1, 6) of words: their rows in a table, summed and multiplied."""
    made, random = Maker(), np.random.default_rng(6)
    made.tensor("ids", (1, 6), "int32", scale=0)
    table = np.repeat(np.eye(3), -(-rows // 3), axis=0)[:rows, :] + random.normal(0, 0.05, (rows, 3))
    made.tensor("table", table.shape, "float32", table)
    made.tensor("axis", (1,), "int32", np.array([1]), scale=0)
    made.tensor("w", (CLASSES, 3), "float32", np.eye(3) * 4)
    made.tensor("b", (CLASSES,), "float32", np.zeros(3))
    made.tensor("rows", (1, 6, 3), "float32")
    made.tensor("mean", (1, 3), "float32")
    made.tensor("scores", (1, CLASSES), "float32")
    gather = schema.GatherOptionsT()
    gather.axis = 0
    made.op("GATHER", ["table", "ids"], ["rows"], options=gather)
    made.op("MEAN", ["rows", "axis"], ["mean"], options=schema.ReducerOptionsT())
    made.op("FULLY_CONNECTED", ["mean", "w", "b"], ["scores"], options=schema.FullyConnectedOptionsT())
    return made.data(["ids"], ["scores"])


def write_recipe(folder: Path, model: bytes, arrays: dict[str, np.ndarray], **words: str) -> Path:
    """A recipe whose first 120 samples calibrate, and the others evaluate."""
    folder.mkdir(exist_ok=True)
    (folder / "model.tflite").write_bytes(model)
    np.savez(folder / "calibration.npz", **{name: array[:120] for name, array in arrays.items()})
    np.savez(folder / "evaluation.npz", **{name: array[120:] for name, array in arrays.items()})
    text = RECIPE.format(task=words.get("task", "raw"), source=words.get("source", ""), more=words.get("more", ""))
    (folder / "recipe.toml").write_text(text, "utf-8")
    return folder


def pictures_and_vectors(count: int = 240) -> dict[str, np.ndarray]:
    """Samples for `picture_and_vector`, pixels of 0 to 255; the class is what the vector says."""
    random = np.random.default_rng(7)
    labels = np.arange(count) % CLASSES
    pixels = np.linspace(0, 200, 48).reshape(4, 4, 3) + random.integers(0, 55, (count, 4, 4, 3))
    vectors = np.stack([labels - 1 + random.normal(0, 0.05, count), random.random(count)], axis=1)
    return {
        "input_picture": pixels.astype(np.uint8),
        "input_vector": vectors.astype(np.float32),
        "labels": labels.astype(np.int64),
    }


def words_of_classes(count: int = 240, rows: int = 20) -> dict[str, np.ndarray]:
    """Samples for `mean_of_words`: ids of one class each."""
    random = np.random.default_rng(8)
    labels, each = np.arange(count) % CLASSES, -(-rows // 3)
    ids = np.minimum(labels[:, None] * each + random.integers(0, each, (count, 6)), rows - 1)
    return {"inputs": ids.astype(np.int64), "labels": labels.astype(np.int64)}


def waves(count: int = 240) -> dict[str, np.ndarray]:
    """One stream for `fading_sum`."""
    random = np.random.default_rng(9)
    clean = np.sin(np.arange(count)[:, None] / 9 + np.arange(4))
    return {"inputs": (clean + random.normal(0, 0.1, (count, 4))).astype(np.float32)}
