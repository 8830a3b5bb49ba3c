"""What the zoo knows of one model before it is tried. Runs nothing."""

from dataclasses import dataclass, field

LINEAR = {"scale": 2 / 255, "offset": -1.0}
UNIT = {"scale": 1 / 255}


@dataclass(frozen=True)
class Animal:
    """One model: `file` in `package`, the maker of its inputs (of zoo_inputs), and the recipe's tables.

    Without a package it is trained: by zoo_torch if `file` ends in .onnx, else by zoo_keras. `labels` says where the
    names of its classes are: `metadata KEY` of the ONNX file, or `PATH KEY` of a JSON file in the package.
    """

    name: str
    package: str
    file: str
    task: str
    inputs: str
    shapes: dict[str, list[int]] = field(default_factory=dict)
    preprocess: dict[str, object] = field(default_factory=dict)
    postprocess: dict[str, object] = field(default_factory=dict)
    more: str = ""
    note: str = ""
    made_up: bool = False
    checked: str = ""
    labels: str = ""
