"""The forms that the zoo's peers take: SavedModel or Keras file, float TFLite, ONNX with fixed shapes; and inputs.

    python zoo_forms.py SOURCE RECIPE_FOLDER CONVERTERS_PYTHON

Prints one line of JSON: {tool: [model, inputs]}. What cannot be had is left out.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from skerry_agent.processing import preprocess
from skerry_agent.wire.manifest import Preprocess, TensorSpec
from skerry_host.builder.modelfile.tflite import read_model, write_model
from skerry_host.builder.recipe.recipe import load_recipe
from skerry_host.builder.rewrite.dead import drop_dead
from skerry_host.builder.rewrite.dense_weights import densify
from skerry_host.builder.rewrite.float16 import fold_float16
from skerry_host.builder.rewrite.interface import signature
from skerry_host.builder.rewrite.names import builtin_codes

DTYPES = {1: "float32", 6: "int32", 7: "int64", 9: "bool", 10: "float16"}


def fixed(source: Path, shapes: dict[str, tuple[int, ...]], out: Path) -> list[TensorSpec]:
    """The ONNX with fixed shapes at `out`, and its inputs."""
    import onnx  # noqa: PLC0415

    model = onnx.load(str(source))
    specs = []
    initial = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        if value.name in initial:
            continue
        dims = value.type.tensor_type.shape.dim
        wanted = shapes.get(value.name) or [d.dim_value if d.dim_value > 0 else 1 for d in dims]
        for dim, n in zip(dims, wanted, strict=True):
            dim.Clear()
            dim.dim_value = n
        specs.append(TensorSpec(value.name, DTYPES[value.type.tensor_type.elem_type], tuple(wanted)))
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    onnx.save(model, str(out))
    return specs


def prepared(source: Path, out: Path) -> Path:
    """The same as the bare quantizer can take it: known codes, a signature, plain float32 weights."""
    model = read_model(source.read_bytes())
    if not [done for done in (builtin_codes(model), densify(model), fold_float16(model), signature(model)) if done]:
        return source
    drop_dead(model)
    out.write_bytes(write_model(model))
    return out


def tflite_inputs(file: Path) -> list[TensorSpec]:
    """The inputs of a TFLite file."""
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

    found = Interpreter(model_path=str(file)).get_input_details()
    return [TensorSpec(d["name"], np.dtype(d["dtype"]).name, tuple(map(int, d["shape"]))) for d in found]


def inputs(folder: Path, specs: list[TensorSpec], prep: Preprocess, out: Path) -> None:
    """Preprocessed calibration inputs by name; what the recipe has no samples for is zeros."""
    with np.load(folder / "calibration.npz") as data:
        raw = {name: data[name] for name in data.files}
    made, count = {}, len(next(iter(raw.values())))
    for at, spec in enumerate(specs):
        rows = raw.get(f"input_{spec.name}", raw.get("inputs") if at == 0 else None)
        if rows is None:
            made[spec.name] = np.zeros((count, *spec.shape), spec.dtype)
        elif spec.dtype.startswith("int"):
            made[spec.name] = rows.astype(spec.dtype).reshape(count, *spec.shape)
        else:
            chosen = layout(prep, spec)
            made[spec.name] = np.stack([preprocess(row, chosen, spec) for row in rows[:100]])
    np.savez(out, **made)


def layout(prep: Preprocess, spec: TensorSpec) -> Preprocess:
    """Planes where the channels come first."""
    import msgspec  # noqa: PLC0415

    planes = len(spec.shape) == 4 and spec.shape[1] in {1, 3} and spec.shape[3] not in {1, 3}
    return msgspec.structs.replace(prep, layout="nchw") if planes else prep


def main(source: Path, folder: Path, converters: str) -> None:
    """Write the forms."""
    recipe = load_recipe(folder).recipe
    found: dict[str, tuple[str, str]] = {}

    def note(tool: str, model: Path, specs: list[TensorSpec]) -> None:
        given = folder / f"inputs-{tool}.npz"
        inputs(folder, specs, recipe.preprocess, given)
        found[tool] = (str(model), str(given))

    if source.suffix == ".tflite":
        taken = prepared(source, folder / "prepared.tflite")
        note("quantizer", taken, tflite_inputs(taken))
    elif source.suffix == ".onnx":
        onnx_file = folder / "fixed.onnx"
        specs = fixed(source, recipe.source.shapes, onnx_file)
        note("onnxruntime", onnx_file, specs)
        np.save(
            folder / "calibration_image_sample_data_20x128x128x3_float32.npy",
            np.random.default_rng(0).random((20, 128, 128, 3), np.float32),
        )
        done = subprocess.run([converters, "-m", "onnx2tf", "-i", str(onnx_file), "-o", "saved", "-osd", "-n"],
                              cwd=folder, capture_output=True, check=False, timeout=900)  # fmt: skip
        float_file = folder / "saved" / "fixed_float32.tflite"
        if not done.returncode and float_file.is_file():
            taken = prepared(float_file, folder / "prepared.tflite")
            note("quantizer", taken, tflite_inputs(taken))
            note("tensorflow", folder / "saved", tflite_inputs(float_file))
    else:
        float_file = folder / "float.tflite"
        script = (
            "import sys, tensorflow as tf; m = tf.keras.models.load_model(sys.argv[1], compile=False);"
            "from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2 as v;"
            "s = tf.TensorSpec([1, *m.inputs[0].shape[1:]]);"
            "f = v(tf.function(lambda x: m(x, training=False)).get_concrete_function(s));"
            "open(sys.argv[2], 'wb').write(tf.lite.TFLiteConverter.from_concrete_functions([f], m).convert())"
        )
        done = subprocess.run(
            [converters, "-c", script, str(source), str(float_file)], capture_output=True, check=False, timeout=900
        )
        if float_file.is_file():
            taken = prepared(float_file, folder / "prepared.tflite")
            note("quantizer", taken, tflite_inputs(taken))
            note("tensorflow", source, tflite_inputs(float_file))
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
