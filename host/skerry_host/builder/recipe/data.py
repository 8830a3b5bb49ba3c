"""`[data]` of a recipe: where the samples are, in which form, how many are taken and how one set becomes two.

Opens no file: `builder.data` reads them. Formats: docs/data.md.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

RelativePath = Annotated[str, Meta(min_length=1, max_length=255)]
DataFormat = Literal["auto", "npz", "folder", "coco", "yolo", "masks", "wav", "csv"]


class Data(Struct, frozen=True):
    """The samples as a device gets them, before preprocessing, and what is right for each.

    `calibration` and `evaluation` each name a .npz file, a folder or a file of annotations in the recipe's folder, or
    in `folder`, which may be anywhere (`$NAME` stands for an environment variable). With `folder` alone its samples are
    split: the share `split` of each class is for calibration. Of other forms than .npz at most `calibration_samples`
    and `evaluation_samples` are taken, of every class. Without labels a model is evaluated by how often it agrees with
    the float model. `evaluate`: on `all` samples, or on as many as are `enough` to be sure of the gates' decisions.
    """

    calibration: RelativePath | None = None
    evaluation: RelativePath | None = None
    folder: str = ""
    format: DataFormat = "auto"
    split: Annotated[float, Meta(gt=0, lt=1)] = 0.3
    calibration_samples: Annotated[int, Meta(ge=2)] | None = None
    evaluation_samples: Annotated[int, Meta(ge=2)] | None = None
    min_calibration_samples: Annotated[int, Meta(ge=1)] | None = None
    evaluate: Literal["enough", "all"] = "enough"
    label: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    ignore: Annotated[int, Meta(ge=0, le=65535)] | None = None
    sample_rate: Annotated[int, Meta(ge=1)] | None = None
    window: Annotated[int, Meta(ge=1)] | None = None

    @property
    def problems(self) -> list[str]:
        """What the types cannot say."""
        if (self.calibration is None) != (self.evaluation is None):
            missing = "evaluation" if self.evaluation is None else "calibration"
            return [f"data.{missing}: is missing; give both, or folder alone to have it split"]
        if self.calibration is None and not self.folder:
            return ["data: give calibration and evaluation, or folder"]
        return []
