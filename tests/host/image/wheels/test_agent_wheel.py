"""The agent's own wheel: pip takes it, it holds every module, and the same agent gives the same bytes."""

import io
import subprocess
import sys
import zipfile

from skerry_host.image.wheels.agent_wheel import agent_wheel
from skerry_host.image.wheels.wheelhouse import Wheelhouse
from tests.kit.programs import ROOT


def test_it_holds_the_whole_agent_and_nothing_that_was_compiled():
    made = agent_wheel(("litert",))
    names = set(zipfile.ZipFile(io.BytesIO(made.content)).namelist())
    agent = ROOT / "agent" / "skerry_agent"
    modules = {f"skerry_agent/{path.relative_to(agent)}" for path in agent.rglob("*.py")}
    assert modules <= names
    assert not any("__pycache__" in name for name in names)
    assert agent_wheel(("litert",)) == made


def test_pip_installs_it_and_its_program_runs(tmp_path):
    made = agent_wheel(())
    (tmp_path / made.file).write_bytes(made.content)
    (tmp_path / "requirements.txt").write_text(Wheelhouse("x86_64", ("3.11",), (made,)).requirements())
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile",
               "--require-hashes", "--find-links", str(tmp_path), "-r", str(tmp_path / "requirements.txt"),
               "--target", str(tmp_path / "site")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    program = tmp_path / "site" / "bin" / "skerry-agent"
    said = subprocess.run(
        [sys.executable, program, "--version"],
        env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        check=True,
    )
    assert said.stdout.startswith(b"skerry-agent, version ")


def test_requirements_name_each_distribution_once_with_all_its_hashes():
    one, other = agent_wheel(("litert", "onnx")), agent_wheel(("litert", "onnx"))
    text = Wheelhouse("x86_64", ("3.11",), (one, other)).requirements()
    lines = text.splitlines()[1:]
    assert lines == [f"skerry-agent[litert,onnx]=={one.version} \\", f"    --hash=sha256:{one.sha256}"]
