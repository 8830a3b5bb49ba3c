"""The commands: JSON of the promised shape, one line for an error, and the exit codes."""

import json
from pathlib import Path

import pytest

from skerry_host.builder.edgetpu.compiler import VARIABLE
from skerry_host.cli.main import run
from tests.kit.edgetpu.compiler import StandIn, calls
from tests.kit.edgetpu.models import Maker, chain, compiled


def floats() -> bytes:
    """A model of one float operator."""
    made = Maker()
    names = [made.tensor(name, (1, 4), "float32") for name in ("x", "y")]
    made.op("RELU", names[:1], names[1:])
    return made.data(names[:1], names[1:])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(chain("RELU", "ABS", "RELU"))
    return path


def test_preflight(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    svg = tmp_path / "graph.svg"
    assert run(["edgetpu", "preflight", str(model), "--json", "--svg", str(svg)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["predicted"], found["ops"], found["mapped"]) == (True, 3, 1)
    kept = [{key: item[key] for key in ("index", "op", "status", "cause")} for item in found["cpu"]]
    assert kept == [
        {"index": 1, "op": "ABS", "status": "Operation not supported", "cause": 1},
        {"index": 2, "op": "RELU", "status": "More than one subgraph is not supported", "cause": 1},
    ]
    assert svg.read_text("utf-8").startswith("<svg")
    assert run(["edgetpu", "preflight", str(model)]) == 0
    assert "predicted: 1 of 3 operators map" in capsys.readouterr().out


def test_inspect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model_edgetpu.tflite"
    path.write_bytes(compiled([("ABS", "left")], runtime=14, streamed=64))
    assert run(["edgetpu", "inspect", str(path), "--runtime", "13", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["custom_ops"], found["cpu_ops"], found["min_runtime"]) == (1, ["ABS"], 14)
    assert (found["cached_param_bytes"], found["streamed_param_bytes"]) == (640, 64)
    assert len(found["warnings"]) == 2
    assert run(["edgetpu", "inspect", str(path)]) == 0
    assert "co-compile token" in capsys.readouterr().out


def test_inspect_warns_of_what_the_board_s_driver_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model_edgetpu.tflite"
    path.write_bytes(compiled(runtime=14))
    for options, warned in (
        ([], False),
        (["--board", "raspberry-pi-4-coral-usb"], False),
        (["--board", "coral-dev-board"], True),
        (["--board", "coral-dev-board", "--runtime", "14"], False),
    ):
        assert run(["edgetpu", "inspect", str(path), *options, "--json"]) == 0
        warnings = json.loads(capsys.readouterr().out)["warnings"]
        assert [("the board has 13" in line) for line in warnings] == [True] * warned, options


def test_preflight_knows_the_board_s_driver(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(chain("RELU", "QUANTIZE"))
    for runtime, verdicts in (("11", ["maps", "unknown"]), ("12", ["maps", "maps"])):
        assert (
            run(["edgetpu", "preflight", str(path), "--board", "coral-dev-board", "--runtime", runtime, "--json"]) == 0
        )
        assert json.loads(capsys.readouterr().out)["verdicts"] == verdicts


def test_a_board_without_an_edge_tpu(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["edgetpu", "inspect", str(model), "--board", "raspberry-pi-4"]) == 2
    assert "board raspberry-pi-4 cannot run target edgetpu" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "pinned"),
    [
        ([], []),
        (["--board", "coral-dev-board"], ["-m", "13"]),
        (["--board", "coral-dev-board", "-m", "12"], ["-m", "12"]),
    ],
)
def test_compile_pins_the_board_s_runtime(
    model: Path, tmp_path: Path, stand_in: StandIn, options: list[str], pinned: list[str]
) -> None:
    folder = stand_in({"log": "success.txt", "files": {"model_edgetpu.tflite": compiled(runtime=12)}})
    assert run(["edgetpu", "compile", str(model), "-o", str(tmp_path / "out"), *options, "--json"]) == 0
    (called,) = calls(folder)
    assert called[5:-1] == pinned


def test_compile(model: Path, tmp_path: Path, stand_in: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    made = compiled([("ABS", "t2"), ("RELU", "t3")])
    stand_in({"log": "partial.txt", "files": {"model_edgetpu.tflite": made}})
    out = str(tmp_path / "out")
    assert run(["edgetpu", "compile", str(model), "-o", out, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["models"][0]["agreement"]["equal"] is True
    assert found["models"][0]["preflight"]["predicted"] is True
    assert found["models"][0]["files"][0]["custom_ops"] == 1
    assert run(["edgetpu", "compile", str(model), "-o", out]) == 0
    assert "as predicted, operator by operator" in capsys.readouterr().out


def test_without_a_compiler_one_line_says_how_to_get_one(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(["edgetpu", "compile", str(model)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: no Edge TPU compiler on this machine; install edgetpu-compiler")


@pytest.mark.parametrize("command", ["preflight", "inspect", "compile"])
def test_a_file_that_is_no_model(
    command: str, tmp_path: Path, stand_in: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in({})
    path = tmp_path / "x.tflite"
    path.write_bytes(b"no model at all")
    assert run(["edgetpu", command, str(path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_picture_needs_a_place(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place, words in ((tmp_path, "is a folder"), (tmp_path / "no" / "x.svg", "there is no folder")):
        assert run(["edgetpu", "preflight", str(model), "--svg", str(place)]) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_the_file_is_looked_at_before_the_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a compiler, too, a wrong file is the user's mistake."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(["edgetpu", "compile", str(tmp_path / "nope.tflite")]) == 2
    assert "nope.tflite" in capsys.readouterr().err
    (tmp_path / "float.tflite").write_bytes(floats())
    assert run(["edgetpu", "compile", str(tmp_path / "float.tflite")]) == 2
    assert "is not quantized" in capsys.readouterr().err
