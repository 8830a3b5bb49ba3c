"""The manifest of a release: what a device may install, how to run it, and how to validate it.

Schema version 1 or 2: `wire.schemas` says when. Holds data only; signing is `skerry_host.release.sign`, verification
`skerry_agent.trust`.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Raw, Struct

from skerry_agent.wire import codec
from skerry_agent.wire.admission import Needs
from skerry_agent.wire.blobs import BlobRef
from skerry_agent.wire.drift import DriftBaseline
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.names import FileName, ModelName, ReleaseName, Sha256, Version, release_name
from skerry_agent.wire.postprocess import Postprocess as Postprocess  # noqa: PLC0414  (who has a manifest has it)
from skerry_agent.wire.targets import TargetName, TargetWord, known_target

PATCH_FORMAT: Final = 2
"""The newest version of the patch format that this code applies; it applies all earlier ones, too."""

QUALITY_FILE: Final = "quality.json"
"""Where a device keeps the `Quality` of a bundle's release, in the bundle's folder."""

Role = Literal["model", "golden", "baseline", "labels"]
CLASSIFICATION, DETECTION = "classification", "detection"
"""The `Bundle.task` whose answer is the index of the largest output, and the one whose answer is boxes."""


class Artifact(Struct, frozen=True):
    """One immutable file of a bundle."""

    name: FileName
    role: Role
    blob: BlobRef


class TensorSpec(Struct, frozen=True):
    """One input or output: numpy dtype name, shape with the batch first, quantization: real = scale * (q - zero_point).

    A `scale` of 0 means that the tensor is not quantized.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: float = 0.0
    zero_point: int = 0


class Preprocess(Struct, frozen=True):
    """From a raw sample to the model's real-valued input: real = (sample * scale + offset - mean) / std.

    `mean` and `std` have one value for each channel; empty they are 0 and 1. With `resize` or `color` a sample is an
    image (H, W, channels) in RGB or grey: `stretch` fills the input, `letterbox` keeps the form and pads with the raw
    value `pad`, `crop` keeps it and cuts what is too much; `align` says where. `layout` is the model's order of axes.
    """

    scale: float = 1.0
    offset: float = 0.0
    mean: tuple[float, ...] = ()
    std: tuple[Annotated[float, Meta(gt=0)], ...] = ()
    resize: Literal["none", "stretch", "letterbox", "crop"] = "none"
    align: Literal["center", "start"] = "center"
    pad: float = 0.0
    color: Literal["rgb", "bgr", "gray"] = "rgb"
    layout: Literal["nhwc", "nchw"] = "nhwc"

    def sample_shape(self, tensor: TensorSpec) -> tuple[int, ...]:
        """The shape of a sample that needs no resizing, without the batch: images are (H, W, channels)."""
        shape = tensor.shape[1:]
        return (*shape[1:], shape[0]) if self.layout == "nchw" and len(shape) == 3 else shape

    def takes_image(self, tensor: TensorSpec) -> bool:
        """Whether a sample must be looked at as an image: resized, recoloured or repeated."""
        colours = len(tensor.shape) == 4 and 3 in self.sample_shape(tensor)[2:]
        return self.resize != "none" or self.color != "rgb" or colours


class Golden(Struct, frozen=True):
    """How close a device's outputs must be to the recorded ones.

    Kernels of other CPUs may round an int8 value the other way: `max_lsb` is the largest difference in quantized steps,
    `min_top1` the smallest share of samples whose largest output is the same.
    """

    max_lsb: Annotated[int, Meta(ge=0, le=255)] = 3
    min_top1: Annotated[float, Meta(ge=0, le=1)] = 1.0


class Probation(Struct, frozen=True):
    """What a candidate must show on the device, on real load, before it is committed."""

    min_inferences: Annotated[int, Meta(ge=1)] = 50
    max_seconds: Annotated[float, Meta(gt=0, le=86400)] = 60.0
    latency_p95_us: Annotated[float, Meta(gt=0)] | None = None
    max_error_rate: Annotated[float, Meta(ge=0, le=1)] = 0.01
    max_rss_bytes: Annotated[int, Meta(gt=0)] | None = None


class Baseline(Struct, frozen=True):
    """What is usual of a model's answers: the share of held-out `samples` in which it found something.

    A detector's answer is positive with at least one box; a classifier's when its largest output is not that of the
    class `negative`, which means that nothing is there.
    """

    positive_rate: Annotated[float, Meta(ge=0, le=1)]
    samples: Annotated[int, Meta(ge=1)]
    negative: Annotated[int, Meta(ge=0)] | None = None


class Join(Struct, frozen=True):
    """An output of the source that this model gives in parts, each with a scale of its own.

    Output `name` is the real values of `parts` (places among the bundle's outputs) one after the other along `axis`,
    which counts the batch. Answers and real values have the joined output where its first part is; raw tensors stay
    in parts.
    """

    name: str
    parts: Annotated[tuple[Annotated[int, Meta(ge=0, le=255)], ...], Meta(min_length=2, max_length=256)]
    axis: Annotated[int, Meta(ge=1, le=15)]


class Bundle(Struct, frozen=True):
    """Everything that one target needs: artifacts and how to run and judge them.

    `min_edgetpu_runtime` is the runtime version that a compiled model asks of the Edge TPU's driver; a device whose
    driver has an older one uses the cpu bundle. None where it is not known, or there is no Edge TPU in it. `baseline`
    is None where no answer is positive or negative, and in releases before it was added. `drift` is what inputs and
    answers usually are like.

    `preprocess` is of the first input, `preprocesses` of those after it, in order; plain where there is none.
    `feedback`: an input that takes an output of the sample before, both by name; zeros at first. `needs`: of a device,
    before it is sent there; None in releases before it was added.
    """

    target: TargetName
    artifacts: Annotated[tuple[Artifact, ...], Meta(min_length=1, max_length=32)]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    task: str = "raw"
    preprocess: Preprocess = Preprocess()
    postprocess: Postprocess = Postprocess()
    golden: Golden = Golden()
    probation: Probation = Probation()
    min_edgetpu_runtime: Annotated[int, Meta(ge=0)] | None = None
    baseline: Baseline | None = None
    joins: Annotated[tuple[Join, ...], Meta(max_length=64)] = ()
    drift: DriftBaseline | None = None
    preprocesses: tuple[Preprocess, ...] = ()
    feedback: dict[str, str] = {}
    needs: Needs | None = None

    def preprocess_at(self, place: int) -> Preprocess:
        """The preprocessing of an input by its place."""
        every = self.preprocessing
        return every[place] if place < len(every) else Preprocess()

    @property
    def preprocessing(self) -> tuple[Preprocess, ...]:
        """That of the inputs in their order, plain after the last.

        In releases from before each input had its own, several inputs had none.
        """
        return (self.preprocess, *self.preprocesses) if len(self.inputs) == 1 or self.preprocesses else ()

    @property
    def picture(self) -> tuple[TensorSpec, Preprocess]:
        """The input that `picture_place` says, with its preprocessing."""
        return self.inputs[self.picture_place], self.preprocess_at(self.picture_place)

    @property
    def picture_place(self) -> int:
        """The place of the first input that takes an image from a sample, or simply of the first one."""
        return next((place for place in self.brought if len(self.inputs[place].shape) == 4), 0)

    @property
    def brought(self) -> list[int]:
        """The places of the inputs that a sample brings: all that are not fed back."""
        return [place for place, tensor in enumerate(self.inputs) if tensor.name not in self.feedback]

    def artifact(self, role: Role) -> Artifact | None:
        """The first artifact with a role, if there is one."""
        return next((a for a in self.artifacts if a.role == role), None)

    @property
    def model(self) -> Artifact:
        """The model file; raises `WireError` when the bundle has none."""
        found = self.artifact("model")
        if found is None:
            raise WireError("bundle", [f"target {self.target} has no model artifact"])
        return found


class PatchRef(Struct, frozen=True, omit_defaults=True):
    """A patch that turns artifact `base_sha256` into artifact `new_sha256`, in a version of the patch format."""

    base_sha256: Sha256
    new_sha256: Sha256
    codec: str
    blob: BlobRef
    format_version: Annotated[int, Meta(ge=1)] = 1


class Figure(Struct, frozen=True):
    """One more figure of the task beside its metric, of the float model (None where there is none) and the built one.

    `unit` is empty for a share of 1.
    """

    name: str
    float_value: float | None
    int8_value: float
    better: Literal["higher", "lower"] = "higher"
    unit: str = ""


class ChannelSignal(Struct, frozen=True):
    """How well a block of channels, `first` to `last` of output `output`, follows the float model's.

    `sqnr_db` is what they vary by, each around its mean, to their own noise; None where they never vary. `steps` is how
    many steps of the output's scale the widest of them spans; None for floats. `scattered`: only so many of them are
    meant, those that reach far less than the ones between them; 0 for all.
    """

    output: str
    first: int
    last: int
    sqnr_db: float | None
    steps: float | None
    scattered: int = 0


class Quality(Struct, frozen=True):
    """What the host measured before it signed: the task's metric on held-out samples, with its 95 % interval.

    Of a source that came quantized there is no float model: None, and no `sqnr_db`. `better` and `unit` are of the
    metric; `channels` are the blocks of channels of outputs whose channels are not of one kind.
    """

    metric: str
    samples: int
    float_value: float | None
    int8_value: float
    float_interval: tuple[float, float] | None
    int8_interval: tuple[float, float]
    sqnr_db: dict[str, float]
    float_bytes: int | None
    int8_bytes: int
    figures: tuple[Figure, ...] = ()
    better: Literal["higher", "lower"] = "higher"
    unit: str = ""
    channels: tuple[ChannelSignal, ...] = ()


class Provenance(Struct, frozen=True):
    """Where a release comes from. `data_sha256`: the files it was calibrated and judged with, by what they were for."""

    source_sha256: Sha256
    recipe_sha256: Sha256
    tools: dict[str, str]
    built_at: str
    data_sha256: dict[str, Sha256] = {}


class _Named(Struct, frozen=True):
    """All that is read of a bundle whose target may be unknown."""

    target: TargetWord


class Release(Struct, frozen=True):
    """An immutable `model@version`: one bundle per target, quality, provenance and patches from earlier releases.

    `patches` are of format version 1, for agents that know no other; `newer_patches`, which such agents ignore, of
    later ones. Likewise `newer_bundles` are for targets that came after `targets.FIRST_TARGETS`: an agent reads those
    that it knows, and takes another bundle where it knows none.
    """

    schema: Literal[1, 2]
    model: ModelName
    version: Version
    counter: Annotated[int, Meta(ge=1)]
    bundles: Annotated[tuple[Bundle, ...], Meta(min_length=1, max_length=8)]
    quality: Quality
    provenance: Provenance
    patches: tuple[PatchRef, ...] = ()
    notes: str = ""
    newer_patches: tuple[PatchRef, ...] = ()
    newer_bundles: Annotated[tuple[Raw, ...], Meta(max_length=8)] = ()

    @property
    def offered(self) -> tuple[Bundle, ...]:
        """Its bundles, as far as this code knows their targets. Raises `WireError` for one that is malformed."""
        named = [(raw, codec.decode(bytes(raw), _Named).target) for raw in self.newer_bundles]
        return (*self.bundles, *(codec.decode(bytes(raw), Bundle) for raw, word in named if known_target(word)))

    def patches_up_to(self, patch_format: int) -> tuple[PatchRef, ...]:
        """The patches for an agent whose newest version of the patch format is `patch_format`."""
        every = (*self.patches, *self.newer_patches)
        return tuple(patch for patch in every if patch.format_version <= patch_format)

    @property
    def name(self) -> ReleaseName:
        """`model@version`."""
        return release_name(self.model, self.version)

    def bundle(self, target: str) -> Bundle:
        """The bundle of a target; raises `WireError` that lists those there are."""
        offered = self.offered
        for bundle in offered:
            if bundle.target == target:
                return bundle
        there = ", ".join(b.target for b in offered)
        raise WireError(
            f"release {self.name}", [f"has no bundle for target {target} (it has {there})"], code="no_bundle"
        )
