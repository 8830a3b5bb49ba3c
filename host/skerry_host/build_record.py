"""The format of build.json, which a build writes beside its artifacts and a release reads. Data only.

Here, and not in `builder` or `release`, because neither of the two imports the other.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from skerry_agent.wire.manifest import Bundle, Provenance, Quality
from skerry_agent.wire.names import ModelName, Version
from skerry_agent.wire.targets import TargetName

FILE = "build.json"


class Check(Struct, frozen=True):
    """One gate of a build and what was measured: `value` and `limit` are as shown to people, with their units."""

    name: str
    value: str
    limit: str
    ok: bool


class Speed(Struct, frozen=True):
    """One inference of the cpu bundle's model, or of the float one, on the machine that built: no board's figure.

    `form`: `float`, or what the bundle's numbers are (`int8`, `int16`, `8-bit weights`).
    """

    form: str
    threads: int
    p50_us: float


class Sampling(Struct, frozen=True):
    """On how many held-out samples a model was evaluated, `of` how many, because they showed what all of them would.

    `error_probability`: at most this probable is it that a gate would have decided otherwise on all of them. For the
    SQNR that is asymptotic: a few of many samples whose noise is far above that of the others may go unseen.
    """

    samples: int
    of: int
    error_probability: float

    def __str__(self) -> str:
        """For people."""
        if self.samples == self.of:
            return f"{self.of} held-out samples"
        sure = f"an error probability of at most {self.error_probability:.0%} (for the SQNR only asymptotically)"
        return f"{self.samples} of {self.of} held-out samples, enough for every gate's decision with {sure}"


class BuildRecord(Struct, frozen=True):
    """All that is known of a build. The blobs of `bundles` are files of their artifact's name in the same folder.

    `form`: what the model's numbers are (`int8`, `int16`, `8-bit weights`). `changes` says what was normalised in the
    source; `not_built` are targets of the board without a bundle, `lost` says of those that were tried why there is
    none; `warnings` are about the data, `search` says what each tried choice of the integers gained, `remarks` what
    became of targets that another tool makes; `sampling` is of the first target, as `quality` is;
    `speeds_on_this_machine`, the fastest first, what threads and int8 are worth.
    """

    schema: Literal[1]
    model: ModelName
    board: str
    bundles: Annotated[tuple[Bundle, ...], Meta(min_length=1, max_length=8)]
    quality: Quality
    provenance: Provenance
    checks: tuple[Check, ...]
    version: Version | None = None
    changes: tuple[str, ...] = ()
    not_built: tuple[TargetName, ...] = ()
    warnings: tuple[str, ...] = ()
    form: str = "int8"
    search: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    speeds_on_this_machine: tuple[Speed, ...] = ()
    sampling: Sampling | None = None
    lost: dict[TargetName, str] = {}
