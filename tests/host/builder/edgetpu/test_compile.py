"""The adapter over the compiler, against a stand-in that replays recorded output (a stand-in: nothing is compiled)."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from skerry_agent.wire.manifest import TensorSpec
from skerry_host.builder.edgetpu.build_step import CompiledBytes, NotCompiled, compile_for
from skerry_host.builder.edgetpu.compile import Compilation, CompileRequest, compile_models
from skerry_host.builder.edgetpu.compiler import KEPT, VARIABLE, Compiler, find_compiler, run_compiler
from skerry_host.builder.edgetpu.errors import CompileError, NoCompilerError
from skerry_host.builder.edgetpu.inspect import CUSTOM_OP, inspect_file
from skerry_host.builder.recipe.errors import ModelError
from tests.kit.edgetpu.compiler import StandIn, calls
from tests.kit.edgetpu.models import chain, compiled, compiled_of, two_outputs

FULL = compiled()
PARTIAL = compiled([("ABS", "t2"), ("RELU", "t3")])
FORM = TensorSpec("t0", "int8", (1, 4, 4, 4), 0.5, 0)
OTHER = compiled_of(FORM, TensorSpec("t1", "int8", (1, 4), 0.5, 0))
TWO = two_outputs()
SUCCESS = {"log": "success.txt", "files": {"model_edgetpu.tflite": FULL}}
SEARCHED = {"log": "searched.txt", "files": {"model_edgetpu.tflite": PARTIAL}}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(chain("RELU", "RELU"))
    return path


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A model with an operator that is not supported."""
    path = tmp_path / "model.tflite"
    path.write_bytes(chain("RELU", "ABS", "RELU"))
    return path


def run(tmp_path: Path, *models: Path, **settings: Any) -> Compilation:
    return compile_models(CompileRequest(models, tmp_path / "out", **settings))


def test_success(tmp_path: Path, model: Path, stand_in: StandIn) -> None:
    folder = stand_in(SUCCESS)
    done = run(tmp_path, model, runtime=12)
    (made,) = done.models
    assert (done.version, done.attempts, done.searched) == ("16.0.384591198", 1, False)
    assert made.comparison.equal
    assert Path(made.files[0].path).read_bytes() == FULL
    assert made.files[0].log is not None
    assert "Compilation succeeded!" in Path(done.log).read_text("utf-8")
    assert calls(folder) == [["-s", "-o", "out", "-t", "180", "-m", "12", "in/model.tflite"]]


def test_a_partial_mapping_is_held_against_the_prediction(tmp_path: Path, broken: Path, stand_in: StandIn) -> None:
    stand_in({"log": "partial.txt", "files": {"model_edgetpu.tflite": PARTIAL}})
    made = run(tmp_path, broken).models[0]
    assert made.comparison.equal
    assert (made.comparison.predicted_cpu, made.comparison.actual_cpu) == (2, 2)


def test_a_compiler_that_ignores_the_pinned_runtime_is_told_of(tmp_path: Path, model: Path, stand_in: StandIn) -> None:
    stand_in(SUCCESS)
    (file,) = run(tmp_path, model, runtime=12).models[0].files
    assert "it needs runtime 13, the board has 12" in file.warnings[0]


def test_a_wrong_prediction_is_told(tmp_path: Path, model: Path, stand_in: StandIn) -> None:
    stand_in({"log": "partial.txt", "files": {"model_edgetpu.tflite": compiled([("RELU", "t2"), ("ABS", "new")])}})
    found = run(tmp_path, model).models[0].comparison
    assert (found.equal, found.left_on_cpu, found.mapped_after_all, found.strange) == (False, (1,), (), 1)


def test_an_internal_error_is_tried_again_with_a_search(tmp_path: Path, broken: Path, stand_in: StandIn) -> None:
    folder = stand_in({"log": "internal.txt", "exit": 1}, SEARCHED)
    done = run(tmp_path, broken)
    assert (done.attempts, done.searched) == (2, True)
    assert [("-d" in call) for call in calls(folder)] == [False, True]
    log = Path(done.log).read_text("utf-8")
    assert log.index("Internal compiler error") < log.index("Try to compile segment with 1 ops")


def says(log: str, made: bytes | None = None, code: int = 0) -> dict[str, Any]:
    """A step of the stand-in's plan."""
    return {"log": log, "files": {"model_edgetpu.tflite": made} if made else {}, "exit": code}


FAILURES: dict[str, tuple[dict[str, Any], str, int, str]] = {
    "not quantized": (says("not_quantized.txt", code=1), "not_quantized", 1, "skerry model build"),
    "unparsable": (says("unparsable.txt", code=1), "unparsable", 1, "TensorFlow 2.6"),
    "version": (says("new_version.txt", code=1), "unsupported_version", 1, "'CONV_2D' version '6'"),
    "internal, twice": (says("internal.txt", code=1), "internal", 2, "Internal compiler error"),
    "too large, twice": (says("large.txt", code=1), "large_activations", 2, "large activation"),
    "says success, leaves nothing": (says("success.txt"), "no_output", 1, "wrote no output"),
    "says success, zero operators": (says("success.txt", chain("RELU")), "zero_ops", 1, "no operator of"),
    "says success, another model": (says("success.txt", OTHER), "other_model", 1, "output 0 is 1x4 int8, scale 0.5"),
    "says success, another number of outputs": (
        says("success.txt", TWO),
        "other_model",
        1,
        "2 outputs, the model has 1",
    ),
    "says success, damaged output": (says("success.txt", FULL[:900]), "damaged_output", 1, "damaged"),
    "too slow by its own limit": (says("slow.txt", code=1), "timeout", 1, "large activations"),
    "an exception, twice": (says("uncaught.txt", code=1), "internal", 2, "std::out_of_range"),
    "dynamic": (says("dynamic.txt", code=1), "dynamic", 1, "fix the shapes"),
    "fails without a word, twice": (says("silent.txt", code=1), "failed", 2, "Compilation failed"),
    "crash, twice": ({"exit": 139}, "crash", 2, "exit 139"),
    "silent failure, twice": ({"exit": 1}, "failed", 2, "exit 1"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failures(name: str, tmp_path: Path, model: Path, stand_in: StandIn) -> None:
    step, code, attempts, word = FAILURES[name]
    folder = stand_in(step)
    with pytest.raises(CompileError) as refused:
        run(tmp_path, model)
    assert (refused.value.code, len(calls(folder)), refused.value.exit_code) == (code, attempts, 1)
    assert word in str(refused.value)
    assert refused.value.log is not None
    assert [path.name for path in (tmp_path / "out").iterdir()] == [refused.value.log.name]


def test_nothing_left_by_a_pinned_runtime_is_told(tmp_path: Path, model: Path, stand_in: StandIn) -> None:
    stand_in(says("pinned.txt", chain("RELU", "RELU")))
    with pytest.raises(CompileError, match="try without -m") as refused:
        run(tmp_path, model, runtime=10)
    assert refused.value.code == "zero_ops"


def test_a_search_may_take_longer() -> None:
    order = CompileRequest((Path("a.tflite"),), Path(), seconds=10, grace_s=2)
    assert (order.limit_s, replace(order, search=True).limit_s) == (12, 52)


def test_a_compiler_that_hangs_is_ended(tmp_path: Path, model: Path, stand_in: StandIn) -> None:
    stand_in({"log": "internal.txt", "sleep_s": 60})
    with pytest.raises(CompileError, match=r"timed out after 1 s") as refused:
        run(tmp_path, model, seconds=0.5, grace_s=0.5)
    assert refused.value.code == "timeout"
    assert refused.value.log is not None
    assert "Internal compiler error" in refused.value.log.read_text("utf-8")


def test_several_models_share_one_run(tmp_path: Path, stand_in: StandIn) -> None:
    files = {f"{name}_edgetpu.tflite": compiled(token=77) for name in ("one", "two")}
    folder = stand_in({"log": "two.txt", "files": files})
    sources = [tmp_path / "one.tflite", tmp_path / "two.tflite"]
    for source in sources:
        source.write_bytes(chain("RELU", "RELU"))
    done = run(tmp_path, *sources)
    assert {model.files[0].inspection.token for model in done.models} == {"4d"}
    assert calls(folder)[0][-2:] == ["in/one.tflite", "in/two.tflite"]


def test_a_pipeline_has_a_file_for_each_segment(tmp_path: Path, model: Path, stand_in: StandIn) -> None:
    names = [f"model_segment_{i}_of_2_edgetpu.tflite" for i in range(2)]
    folder = stand_in({"log": "segments.txt", "files": dict.fromkeys(names, FULL)})
    (made,) = run(tmp_path, model, segments=2).models
    assert [Path(file.path).name for file in made.files] == names
    assert [file.log.on_chip_used_bytes for file in made.files if file.log] == [640, 1280]
    assert [inspect_file(Path(file.path)).segment is not None for file in made.files] == [True, True]
    assert calls(folder)[0][5:7] == ["-n", "2"]


def test_a_pipeline_that_lacks_a_segment_is_refused(tmp_path: Path, model: Path, stand_in: StandIn) -> None:
    stand_in({"log": "internal.txt", "files": {"model_segment_0_of_2_edgetpu.tflite": FULL}})
    with pytest.raises(CompileError):
        run(tmp_path, model, segments=2)


def test_names_that_collide_or_pass_for_options(tmp_path: Path, model: Path, stand_in: StandIn) -> None:
    stand_in(SUCCESS)
    (tmp_path / "b").mkdir()
    twin = tmp_path / "b" / "model.tflite"
    odd = tmp_path / "a b.tflite"
    for path in (twin, odd):
        path.write_bytes(model.read_bytes())
    with pytest.raises(ModelError, match="several models are named"):
        run(tmp_path, model, twin)
    with pytest.raises(ModelError, match="rename it"):
        run(tmp_path, odd)


def test_without_a_compiler(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoCompilerError) as missing:
        run(tmp_path, model)
    assert "apt" in missing.value.hint
    assert (missing.value.exit_code, "\n" in str(missing.value)) == (1, False)
    found = compile_for(model.read_bytes())
    assert isinstance(found, NotCompiled)
    assert found.code == "no_compiler"


def test_a_compiler_that_cannot_start(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "edgetpu_compiler"
    program.write_bytes(b"\x7fELF not for this machine")
    program.chmod(0o755)
    monkeypatch.setenv(VARIABLE, str(program))
    with pytest.raises(NoCompilerError, match="does not start"):
        run(tmp_path, model)


def test_a_container_sees_one_folder_and_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\n", "utf-8")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(VARIABLE, "image:coral/compiler")
    command = find_compiler().command(Path("/tmp/skerry-1"), ["-s", "in/model.tflite"])
    assert command[:2] == [str(docker), "run"]
    assert command[command.index("--network") + 1] == "none"
    assert command[command.index("-v") + 1] == "/tmp/skerry-1:/work"
    assert command[-4:] == ["edgetpu_compiler", "coral/compiler", "-s", "in/model.tflite"]


def test_a_container_that_hangs_is_killed_by_its_name(tmp_path: Path, model: Path) -> None:
    """A stand-in for docker: `run` hangs, `kill` notes whom."""
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\n[ "$1" = kill ] && echo "$2" > {tmp_path}/killed || sleep 60\n', "utf-8")
    docker.chmod(0o755)
    order = CompileRequest((model,), tmp_path / "out", seconds=0.3, grace_s=0.3)
    with pytest.raises(CompileError):
        compile_models(order, Compiler(str(docker), "image"))
    assert (tmp_path / "killed").read_text("utf-8").startswith("skerry-edgetpu-")


def test_an_image_that_is_not_there_is_told_in_dockers_words(tmp_path: Path, model: Path) -> None:
    """A stand-in for docker that answers as the real one does."""
    docker = tmp_path / "docker"
    words = "docker: Error response from daemon: pull access denied for foo, repository does not exist."
    docker.write_text(f'#!/bin/sh\necho "{words}" >&2\necho "See \'docker run --help\'." >&2\nexit 125\n', "utf-8")
    docker.chmod(0o755)
    with pytest.raises(CompileError, match="pull access denied for foo") as refused:
        compile_models(CompileRequest((model,), tmp_path / "out"), Compiler(str(docker), "foo"))
    assert refused.value.code == "not_started"
    assert "build or pull the container image" in refused.value.hint


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C as a person's shell has it; where tests run in several processes, those ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_compilation_leaves_no_compiler_behind(tmp_path: Path, model: Path) -> None:
    program = tmp_path / "edgetpu_compiler"
    program.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n", "utf-8")
    program.chmod(0o755)

    def interrupt() -> None:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text("utf-8").endswith("\n"):
            time.sleep(0.02)
        signal.raise_signal(signal.SIGINT)

    Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        run_compiler(Compiler(str(program)), tmp_path, [str(model)], 30)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text("utf-8")), 0)


def test_of_a_flood_of_output_both_ends_are_kept(tmp_path: Path) -> None:
    program = tmp_path / "edgetpu_compiler"
    program.write_text("#!/bin/sh\necho first\nhead -c 20000000 /dev/zero | tr '\\0' x\necho\necho last\n", "utf-8")
    program.chmod(0o755)
    done = run_compiler(Compiler(str(program)), tmp_path, [], 30)
    assert (done.returncode, done.output[:6], done.output[-6:]) == (0, "first\n", "\nlast\n")
    assert "bytes left out" in done.output
    assert len(done.output) < 2 * KEPT + 100


def test_the_build_gets_bytes_or_a_reason(model: Path, stand_in: StandIn) -> None:
    stand_in(SUCCESS)
    found = compile_for(model.read_bytes(), runtime=13)
    assert isinstance(found, CompiledBytes)
    assert CUSTOM_OP.encode() in found.data
    assert "Compilation succeeded!" in found.log


def test_the_build_is_told_why_a_model_does_not_compile(model: Path, stand_in: Callable[..., Path]) -> None:
    stand_in({"log": "not_quantized.txt", "exit": 1})
    found = compile_for(model.read_bytes())
    assert isinstance(found, NotCompiled)
    assert (found.code, "Model not quantized" in found.log) == ("not_quantized", True)
    assert found.reason.startswith("the compiler refused the model")
