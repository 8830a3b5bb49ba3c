"""Where the launcher looks, and what it passes on; that it becomes another agent is in tests/system."""

import os
import sys

import pytest

from skerry_agent.launch import files, processes, start
from skerry_agent.launch.table import Agent, Record
from skerry_agent.state.disk import locked


@pytest.fixture
def device(tmp_path):
    (tmp_path / "agent.toml").write_text('[agent]\nstate_dir = "elsewhere"\n')
    (tmp_path / "elsewhere").mkdir()
    files.write(tmp_path / "elsewhere" / "agents", Record(1))
    return tmp_path


@pytest.mark.parametrize("form", [["--config", "{}"], ["--config={}"], ["--json", "--config", "{}"]])
def test_the_agents_are_in_the_state_folder_of_the_file_that_is_named(device, form):
    arguments = ["status", *(each.format(device / "agent.toml") for each in form)]
    assert start.agents_of(arguments) == device / "elsewhere" / "agents"


@pytest.mark.skipif(not os.geteuid(), reason="root may enter every folder")
def test_a_folder_that_may_not_be_entered_has_no_agents_and_no_traceback(device, capsys):
    device.chmod(0)
    try:
        assert start.agents_of(["run", "--config", str(device / "agent.toml")]) is None
        start.launch(["run", "--config", str(device / "agent.toml")])
    finally:
        device.chmod(0o700)
    assert capsys.readouterr().err == ""


def test_without_a_name_it_is_the_file_in_the_current_folder(device, monkeypatch):
    monkeypatch.chdir(device)
    assert start.agents_of(["run"]) == device / "elsewhere" / "agents"


def test_a_device_whose_agent_was_never_upgraded_has_none(device):
    (device / "elsewhere" / "agents" / files.COPIES[0]).unlink()
    (device / "elsewhere" / "agents" / files.COPIES[1]).unlink()
    assert start.agents_of(["run", "--config", str(device / "agent.toml")]) is None
    start.launch(["run", "--config", str(device / "agent.toml")])  # and this code goes on


def test_where_the_file_does_not_say_systemd_does(device, monkeypatch):
    (device / "agent.toml").write_text("damaged")
    monkeypatch.setenv("STATE_DIRECTORY", str(device / "elsewhere"))
    assert start.agents_of(["run", "--config", str(device / "agent.toml")]) == device / "elsewhere" / "agents"


def test_a_second_agent_on_a_folder_counts_no_start(device):
    """Whoever calls `run` once too often by hand must not wear out the agent that serves."""
    new = Agent("new", "agent@0.9.0", "0.9.0")
    files.write(device / "elsewhere" / "agents", Record(1, new, starts=2))
    with locked(device / "elsewhere", "busy"):
        start.launch(["run", "--config", str(device / "agent.toml")])
    assert files.read(device / "elsewhere" / "agents")[0].starts == 2


def test_who_was_launched_launches_nobody(device, monkeypatch):
    """Else code that is not found in its folder would call itself without end."""
    monkeypatch.setenv(start.BASE_PATH, "")
    new = Agent("new", "agent@0.9.0", "0.9.0")
    files.write(device / "elsewhere" / "agents", Record(1, new))
    start.launch(["run", "--config", str(device / "agent.toml")])
    assert files.read(device / "elsewhere" / "agents")[0].starts == 0


def test_a_link_to_agent_toml_leads_where_the_agent_looks(device, tmp_path):
    link = tmp_path / "etc"
    link.mkdir()
    (link / "agent.toml").symlink_to(device / "agent.toml")
    assert start.agents_of(["run", "--config", str(link / "agent.toml")]) == device / "elsewhere" / "agents"


def test_whatever_goes_wrong_in_the_launcher_the_base_environment_s_agent_runs(device, capsys):
    (device / "agent.toml").unlink()
    (device / "agent.toml").mkdir()
    start.launch(["run", "--config", str(device / "agent.toml") + "\0"])
    assert capsys.readouterr().err.startswith("the agent of the base environment runs, because ValueError")


def test_an_agent_is_put_before_the_base_environment_and_taken_off_again(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", "/given")
    monkeypatch.delenv(start.BASE_PATH, raising=False)
    inside = start.environment_of(tmp_path)
    assert inside["PYTHONPATH"] == f"{tmp_path}{os.pathsep}/given"
    for name in ("PYTHONPATH", start.BASE_PATH):
        monkeypatch.setenv(name, inside[name])
    assert start.base_environment()["PYTHONPATH"] == "/given"
    assert start.environment_of(tmp_path / "next")["PYTHONPATH"] == f"{tmp_path / 'next'}{os.pathsep}/given"


def test_a_process_whose_number_was_given_again_is_another_one():
    own = processes.find(os.getpid())
    assert processes.is_alive(own)
    assert not processes.is_alive(own._replace(started="0"))
    assert not processes.is_alive(processes.Process(2**22 + 1, own.started))


def test_the_names_of_the_record_are_the_same_wherever_they_are_written():
    from skerry_agent.supervisor import upgrades

    assert (upgrades.AGENTS, upgrades.COPIES) == (files.FOLDER, files.COPIES)


def test_the_launcher_needs_the_standard_library_only():
    """It runs where an agent does not."""
    import subprocess

    code = "import sys; import skerry_agent.launch.start as s; print(*sorted(m for m in sys.modules if '.' not in m))"
    path = str(start.own_folder())
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) - set(sys.stdlib_module_names) <= {"skerry_agent", "__main__", "sitecustomize"}
