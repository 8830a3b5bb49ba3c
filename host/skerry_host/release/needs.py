"""What each bundle of a release needs of a device, from its files: written into the manifest as the release is created.

Which runtime a model needs follows from the versions of the operators in its file, by a table that is data
(operators.toml). What cannot be told from the files is not needed: a device is never left out by a guess.
"""

from functools import cache
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from skerry_agent.wire import codec
from skerry_agent.wire.admission import Needs
from skerry_agent.wire.engines import DISTRIBUTIONS, EngineName
from skerry_agent.wire.manifest import Bundle
from skerry_agent.wire.schemas import schema_of
from skerry_agent.wire.targets import ONNX, TARGETS
from skerry_host.patch.operators import onnx_opset, tflite_operators
from skerry_host.patch.parse_tflite import is_tflite

AGENTS = {1: "0.1.0", 2: "0.1.0"}
"""The first version of skerry-agent that reads each schema of manifests."""

ONNX_OPSET, ONNXRUNTIME = 20, "1.17"
"""The newest opset of the oldest onnxruntime that the agent takes (docs/Versioning.md of microsoft/onnxruntime)."""


class Step(Struct, frozen=True, forbid_unknown_fields=True):
    """The least versions of runtimes that have these operators up to these versions."""

    runtimes: dict[str, str]
    operators: dict[str, Annotated[int, Meta(ge=1)]]


class _Table(Struct, frozen=True, forbid_unknown_fields=True):
    step: tuple[Step, ...]


def with_needs(bundle: Bundle, model: bytes) -> Bundle:
    """The bundle, with what it needs; `model` is the content of its model file."""
    needs = Needs(
        target=bundle.target,
        agent=AGENTS[schema_of([bundle])],
        runtimes=_runtimes(bundle, model),
        edgetpu_runtime=bundle.min_edgetpu_runtime,
        disk_bytes=sum(artifact.blob.size for artifact in bundle.artifacts),
    )
    return replace(bundle, needs=needs)


def _runtimes(bundle: Bundle, model: bytes) -> dict[str, str]:
    """Of the distributions that run its target, the least version of each; none where the file does not tell."""
    able = {name for engine in _engines(bundle) for name in DISTRIBUTIONS[engine]}
    found = _of_onnx(model) if bundle.target == ONNX.name else _of_tflite(model)
    return {name: version for name, version in found.items() if name in able}


def _engines(bundle: Bundle) -> tuple[EngineName, ...]:
    engine = TARGETS[bundle.target].engine
    return (engine,) if engine is not None else ("litert", "tflite_runtime")


def _of_tflite(model: bytes) -> dict[str, str]:
    return of_operators(tflite_operators(model)) if is_tflite(model) else {}


def of_operators(operators: dict[str, int]) -> dict[str, str]:
    """The least runtimes that have all of these operators; none where one is newer than the table."""
    places = [_place(name, version) for name, version in operators.items()]
    if None in places:
        return {}
    return steps()[max((place for place in places if place is not None), default=0)].runtimes


@cache
def steps() -> tuple[Step, ...]:
    """The table, from the oldest runtimes to the newest."""
    raw = (Path(__file__).with_name("operators.toml")).read_bytes()
    return codec.convert(codec.parse_toml(raw), _Table).step


def _place(operator: str, version: int) -> int | None:
    return next((at for at, step in enumerate(steps()) if step.operators.get(operator, 0) >= version), None)


def _of_onnx(model: bytes) -> dict[str, str]:
    return {"onnxruntime": ONNXRUNTIME} if 0 < onnx_opset(model) <= ONNX_OPSET else {}
