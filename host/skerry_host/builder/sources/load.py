"""Loads a recipe's source model: converted to TFLite, checked to load and run, made fit for the quantizer.

Quantizes nothing. A source that is quantized already is not changed, and such an ONNX model stays ONNX.
"""

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from skerry_agent.wire.blobs import MAX_BLOB_BYTES, check_size
from skerry_host.builder.modelfile import signatures
from skerry_host.builder.modelfile.describe import describe_any, is_tflite
from skerry_host.builder.modelfile.fixed_values import fix_values
from skerry_host.builder.modelfile.graph import Graph, describe
from skerry_host.builder.modelfile.tflite import read_model, write_model
from skerry_host.builder.recipe import recipe as recipes
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.recipe.progress import Progress, silent
from skerry_host.builder.rewrite.interface import fixed_batch
from skerry_host.builder.rewrite.loops import loop_problem
from skerry_host.builder.rewrite.names import unique_names
from skerry_host.builder.rewrite.table import rewrite, without_custom
from skerry_host.builder.rewrite.trained_ranges import TrainedRanges, take_ranges
from skerry_host.builder.runtime.probe import Probe, probe, probe_bytes
from skerry_host.builder.sources import keras, onnx
from skerry_host.builder.sources.converted import Converted
from skerry_host.builder.sources.equivalence import (
    MIN_EQUIVALENCE_DB,
    Example,
    equivalence_db,
    examples,
    order_of_outputs,
)
from skerry_host.builder.sources.kinds import kind_of
from skerry_host.builder.sources.unfit import not_finite, quantized, unfit, unfit_io, unfit_quantized
from skerry_host.builder.sources.why import require_runs

INT8_SHARE = 0.25  # of the bytes of a float model, at least


@dataclass(frozen=True, slots=True)
class SourceModel:
    """A model that was checked to load and run, its graph, the hash of the source file, and what was changed.

    `quantized`: it computes on integers already, and is not changed. `onnx` is the float ONNX with fixed shapes that it
    was converted from, None for other sources. `trained`: ranges from quantization-aware training, which nothing may
    change. The first `whole` outputs are never given in parts, each with a scale of its own. `through_sigmoid` names
    the outputs that are only read through one; `ranked`: of them the larger ones count more, as of boxes that overlap.
    """

    data: bytes
    graph: Graph
    sha256: str
    file_bytes: int
    changes: tuple[str, ...]
    quantized: bool = False
    onnx: bytes | None = None
    trained: TrainedRanges = field(default_factory=dict)
    no_tflite: str = ""
    """Why `data` is a float ONNX: no converter turns it into TFLite, or no target asked for that (then empty)."""
    whole: int = 0
    through_sigmoid: frozenset[str] = frozenset()
    ranked: bool = False

    @property
    def is_tflite(self) -> bool:
        """Whether `data` is TFLite: it is of every source but a quantized ONNX."""
        return is_tflite(self.data)


def load_source(
    path: Path, plan: recipes.SourcePlan | None = None, progress: Progress = silent, *, trusted: bool = False
) -> SourceModel:
    """Convert, check and rewrite a source; raises `ModelError` with what is wrong and what to do.

    `trusted` allows sources that carry code to run it.
    """
    with tempfile.TemporaryDirectory(prefix="skerry-source-") as folder:
        progress(f"converting {path.name}")
        converted = _convert(path, plan, Path(folder), trusted=trusted)
        progress("checking the source model")
        return from_converted(path, converted, plan)


def from_converted(path: Path, converted: Converted, plan: recipes.SourcePlan | None = None) -> SourceModel:
    """What a converter has made of a source, checked and rewritten; raises `ModelError`."""
    sha256, size = identity(path, converted.files)
    if converted.file is None:
        return _onnx(path, converted, (sha256, size), plan, quantized=True)
    with tempfile.TemporaryDirectory(prefix="skerry-source-") as folder:
        wished = plan.known_sizes if plan else frozenset[str]()
        made = _Made(path, converted, sha256, size, plan if kind_of(path) == "tflite" else None, wished)
        return _tflite(made, _wanted(made, converted.file, Path(folder)))


@dataclass(frozen=True, slots=True)
class _Made:
    """A source and the TFLite that was made of it. `plan`: what is wanted of a source that is TFLite itself.

    `wished`: the inputs of which the recipe says that their first axis is no batch of 1.
    """

    path: Path
    converted: Converted
    sha256: str
    size: int
    plan: recipes.SourcePlan | None
    wished: frozenset[str] = frozenset()


def _wanted(made: _Made, file: Path, folder: Path) -> tuple[Probe, Path]:
    """The file with the signature and the sizes that are asked for, in `folder` if that is another one."""
    shapes = made.plan.shapes if made.plan else {}
    found = probe(file) if not shapes else probe(file, shapes=shapes)
    if shapes and found.problem and len(signatures.keys(read_model(file.read_bytes()))) < 2:
        hint = "[source.shapes] gives open sizes; the others are as the model was made"
        raise ModelError(f"{made.path} cannot be used: {found.problem}", hint=hint, code="unfit")
    model = read_model(file.read_bytes())
    chosen = _signature(made, signatures.keys(model))
    fixed = _fixed(made, found.graph) if chosen is None else {}
    if chosen is None and not found.sizes and not fixed:
        return found, file
    if chosen is not None:
        signatures.take(model, chosen)
        (folder / "signature.tflite").write_bytes(write_model(model))
        return _wanted(made, folder / "signature.tflite", folder)
    for index, sizes in found.sizes.items():
        tensor = model.subgraphs[0].tensors[index]
        tensor.shape, tensor.shapeSignature = list(sizes), None
    fix_values(model, fixed)
    out = folder / "sizes.tflite"
    out.write_bytes(write_model(model))
    return probe(out), out


def _fixed(made: _Made, graph: Graph) -> dict[int, float]:
    """The places of the inputs of which the recipe gives a value; raises `ModelError` for those that there are not."""
    values = made.plan.constants if made.plan else {}
    names = [spec.name for spec in graph.input_specs()]
    unknown = [name for name in values if name not in names]
    if unknown:
        text = f"{made.path} has no input {', '.join(unknown)}, of which the recipe gives a value"
        raise ModelError(text, hint=f"its inputs are {', '.join(names)}", code="unfit")
    return {names.index(name): number for name, number in values.items()}


def _signature(made: _Made, there: Sequence[str]) -> str | None:
    """The signature to take out, None where there is nothing to choose."""
    wanted, listed = made.plan.signature if made.plan else "", ", ".join(there)
    if wanted and wanted not in there:
        hint = "name one of them as [source] signature" if there else "leave out [source] signature"
        text = f"{made.path} has no signature {wanted!r} (it has {listed or 'none'})"
        raise ModelError(text, hint=hint, code="unfit")
    if len(there) < 2:
        return None
    if not wanted and _USUAL not in there:
        text = f"{made.path} has {len(there)} signatures ({listed})"
        raise ModelError(text, hint="name one of them as [source] signature", code="unfit")
    return wanted or _USUAL


_USUAL = "serving_default"


def load_onnx_alone(path: Path, plan: recipes.SourcePlan | None = None) -> SourceModel:
    """An ONNX source as it is but for fixed shapes: no converter is needed where nobody wants TFLite of it.

    Raises `ModelError`.
    """
    with tempfile.TemporaryDirectory(prefix="skerry-source-") as folder:
        prepared, found = onnx.prepare(path, plan, Path(folder))
        converted = Converted(None, found.changes, prepared.read_bytes(), files=onnx.data_files(path, found))
    return _onnx(path, converted, identity(path, converted.files), plan, quantized=found.quantized)


def _check_size(path: Path, share: float) -> None:
    """Say before any work that what a model of this size becomes is more than devices accept."""
    size = path.stat().st_size
    if share * size > MAX_BLOB_BYTES:
        expected = f"{path} has {size:,} bytes: as int8 it has at least {round(share * size):,}"
        raise ModelError(
            f"{expected}, and devices accept {MAX_BLOB_BYTES:,}", hint="use a smaller model", code="too_large"
        )


def _convert(path: Path, plan: recipes.SourcePlan | None, folder: Path, *, trusted: bool) -> Converted:
    kind = kind_of(path)
    if kind == "tflite":
        _check_size(path, INT8_SHARE)
        return Converted(path)
    if kind == "onnx":
        return onnx.convert(path, plan, folder)
    return keras.convert(path, kind, folder, plan, trusted=trusted)


def _onnx(
    path: Path, converted: Converted, identified: tuple[str, int], plan: recipes.SourcePlan | None, *, quantized: bool
) -> SourceModel:
    """A source that does not become TFLite: `data` is the ONNX."""
    from skerry_host.builder.modelfile.onnx import describe_onnx  # noqa: PLC0415  (an extra)

    assert converted.onnx is not None
    graph = describe_onnx(converted.onnx)
    reasons = unfit_io(graph, plan.known_sizes if plan else ())
    if reasons:
        raise ModelError(f"{path} cannot be used: {'; '.join(reasons)}", code="unfit")
    kept = ("int8 ONNX (QDQ), for the onnx target only",) if quantized else ()
    return SourceModel(converted.onnx, graph, *identified, (*converted.changes, *kept), quantized, converted.onnx)


def _tflite(made: _Made, wanted: tuple[Probe, Path]) -> SourceModel:
    path, converted, (found, file) = made.path, made.converted, wanted
    data = file.read_bytes()
    spelt, data, found = without_custom_operators(str(path), data, found)
    model = read_model(data)
    if _in_order(model, converted):
        data = write_model(model)
    broken = not_finite(model)
    if broken:
        message = f"{path} cannot be used: its weights hold NaN or infinity in {', '.join(broken)}"
        raise ModelError(message, hint="train or export it again", code="unfit")
    require_runs(path, found)
    ready = quantized(describe(model))
    if ready:
        check_size(str(path), len(data))
    batch = fixed_batch(model) if ready else None
    renamed = None if ready else unique_names(model)
    trained = {} if ready else take_ranges(model)
    changes = spelt + [change for change in (batch, renamed) if change] + ([] if ready else rewrite(model))
    changes += [f"{len(trained)} trained ranges kept (QAT)"] if trained else []
    graph = describe(model)
    reasons = unfit_quantized(graph, made.wished) if ready else unfit(graph, loop_problem(model), made.wished)
    if reasons:
        verb = "used" if ready else "quantized"
        raise ModelError(f"{path} cannot be {verb}: {'; '.join(reasons)}", code="unfit")
    given, data = data, data if ready and not batch else write_model(model)
    if not trained:  # the ranges that were taken out did change what is computed
        arranged = _as_examples(data, converted.examples)
        graph = graph if arranged is data else describe(read_model(arranged))
        data = arranged
        changes += _check_equivalence(path, converted.examples, given, data)
    changes = [*converted.changes, *changes]
    return SourceModel(data, graph, made.sha256, made.size, tuple(changes), ready, converted.onnx, trained)


def _as_examples(data: bytes, known: Sequence[Example]) -> bytes:
    """The model with its outputs in the order of the source's, where its converter says nothing of that (onnx2tf)."""
    if not known or known[0].exact or len(known[0].outputs) < 2:
        return data
    found = order_of_outputs(known[0], data)
    if found is None or found == sorted(found):
        return data
    model = read_model(data)
    outputs = [int(index) for index in model.subgraphs[0].outputs]
    model.subgraphs[0].outputs = np.array([outputs[place] for place in found], np.int32)
    return write_model(model)


def _in_order(model: Any, converted: Converted) -> bool:
    """Put inputs and outputs into the source's order, by its names; whether anything had to be changed."""
    ends = converted.ends
    if ends is None or (len(ends.inputs) == 1 and len(ends.outputs) == 1):
        return False
    if not signatures.order(model, ends.inputs, ends.outputs):
        return False
    if ends.names != ends.outputs:
        signatures.rename_outputs(model, ends.names)
    return True


def without_custom_operators(name: str, data: bytes, found: Probe) -> tuple[list[str], bytes, Probe]:
    """A model with custom operators of which it is known how to write them by builtin ones: that, and whether it runs.

    What was done is empty, and all as it was, for a model without.
    """
    model = read_model(data) if found.graph.custom_ops else None
    done = without_custom(model) if model is not None else []
    if not done:
        return [], data, found
    written = write_model(model)
    return done, written, probe_bytes(written, name)


def _check_equivalence(path: Path, known: Sequence[Example], given: bytes, data: bytes) -> list[str]:
    """Check that conversion kept what the model computes; raises `ModelError` (conversion) when it did not.

    `known`: the source's outputs for random inputs, if it was converted; else `given`, the file as it came, is run
    if it was changed.
    """
    rewritten = given != data and not quantized(describe_any(given))
    if not known and not rewritten:
        return []
    found = equivalence_db(known or examples(given), data)
    if found is None:
        return ["not compared with the source: its outputs for random inputs are zero, or not finite"]
    if found < MIN_EQUIVALENCE_DB:
        raise ModelError(
            f"{path} was not converted correctly: its TFLite form has {found:.0f} dB SQNR against it, at least "
            f"{MIN_EQUIVALENCE_DB:.0f} dB are needed",
            hint="export it with opset_version=18 and plain operators, or give a .tflite made another way",
            code="conversion",
        )
    return [f"compared with the source: {found:.0f} dB SQNR"] if known else []


def identity(path: Path, others: Sequence[Path] = ()) -> tuple[str, int]:
    """The hash of a source and its bytes: of a file itself, or over names and contents where it is made of several."""
    if path.is_dir():
        return _digest(path, [file for file in path.rglob("*") if file.is_file()])
    if others:
        return _digest(path.parent, [path, *others])
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size


def _digest(folder: Path, files: Sequence[Path]) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    for file in sorted(files):
        data = file.read_bytes()
        size += len(data)
        digest.update(f"{file.relative_to(folder)}\0{len(data)}\0".encode() + data)
    return digest.hexdigest(), size
