"""`skerry-agent power`: coefficients of a wattmeter replace the board's, survive, and are labelled as what they are."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from skerry_agent.cli.calibrated import calibrated
from skerry_agent.cli.main import main
from skerry_agent.config import load
from skerry_agent.meters import procfs
from skerry_agent.meters.power import MeasuredPower, ModelledPower, Window
from tests.kit.waiting import eventually

TOML = """\
[device]
id = "shelf-01"
[broker]
url = "mqtt://localhost"
[board]
name = "raspberry-pi-4"
[board.power]
idle_w = 3.06
watts_per_core = 0.77
uncertainty = 0.25
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "agent.toml"
    path.write_text(TOML)
    return path


@pytest.fixture
def run(config, capsys):
    """(exit status, standard output, standard error) of a command."""

    def call(*words):
        with pytest.raises(SystemExit) as ended:
            main(["power", *words, "--config", str(config)])
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return call


def calibrate(run, *more):
    return run("calibrate", "--idle-w", "2.1", "--load-w", "3.4", "--cores", "1", *more)


def test_readings_replace_the_boards_coefficients_and_say_so(run, config):
    status, out, _ = calibrate(run)
    assert (status, "calibrated with a wattmeter on 2" in out) == (0, True)
    power = calibrated(load(config)).board.power
    assert (power.idle_w, power.watts_per_core) == (2.1, 1.3)
    assert power.source.startswith("calibrated with a wattmeter on 2")
    (sample, _) = ModelledPower(power).read(Window(10.0, 5.0))
    assert ", wattmeter 2" in sample.method
    assert sample.relative_uncertainty == pytest.approx(power.uncertainty)


def test_agent_toml_stays_as_it_is_and_provisioning_anew_loses_nothing(run, config):
    calibrate(run)
    assert config.read_text() == TOML
    config.write_text(TOML.replace("3.06", "2.9"))
    assert calibrated(load(config)).board.power.idle_w == 2.1


def test_another_board_with_the_same_state_folder_is_not_taken_for_the_calibrated_one(run, config):
    calibrate(run)
    config.write_text(TOML.replace("raspberry-pi-4", "raspberry-pi-5"))
    found = calibrated(load(config))
    assert found.board.power.idle_w == 3.06
    assert "is of a raspberry-pi-4" in found.issue


def test_a_damaged_calibration_is_an_issue_and_the_boards_coefficients_count(run, config):
    calibrate(run)
    path = config.parent / "state" / "power.json"
    path.write_bytes(path.read_bytes()[:-3])
    found = calibrated(load(config))
    assert found.board.power.idle_w == 3.06
    assert "damaged" in found.issue


def test_a_refused_calibration_leaves_the_one_before(run, config):
    calibrate(run)
    before = (config.parent / "state" / "power.json").read_bytes()
    assert run("calibrate", "--idle-w", "3", "--load-w", "2")[0] == 2
    assert (config.parent / "state" / "power.json").read_bytes() == before


def test_it_is_shown_and_forgotten(run, config):
    assert "no calibration" in run("show")[1]
    calibrate(run)
    assert json.loads(run("show", "--json")[1])["watts_per_core"] == 1.3
    assert json.loads(run("reset", "--json")[1]) == {"reset": True}
    assert json.loads(run("reset", "--json")[1]) == {"reset": False}
    assert calibrated(load(config)).board.power.idle_w == 3.06


@pytest.mark.parametrize(
    "words",
    [
        ("calibrate",),
        ("calibrate", "--idle-w", "2.1"),
        ("calibrate", "--load-w", "2.1"),
        ("calibrate", "--idle-w", "x", "--load-w", "3"),
        ("calibrate", "--idle-w", "0", "--load-w", "3"),
        ("calibrate", "--idle-w", "nan", "--load-w", "3"),
        ("calibrate", "--idle-w", "4", "--load-w", "3"),
        ("calibrate", "--idle-w", "2", "--load-w", "3", "--cores", "0"),
        ("calibrate", "--idle-w", "2", "--load-w", "3", "--cores", "x"),
        ("calibrate", "--idle-w", "2", "--load-w", "3", "--meter-step-w", "fine"),
        ("load", "--seconds", "nan"),
        ("load", "--seconds", "-1"),
        ("load", "--cores", "100000"),
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_line_and_exit_2(run, words, monkeypatch):
    monkeypatch.setattr(sys, "stdin", open(os.devnull))  # noqa: SIM115, PTH123
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_a_log_of_the_meter_is_taken(run, tmp_path):
    log = tmp_path / "meter.csv"
    lines = [f"{n},{2.0 + 0.01 * (n % 3) + (1.2 if n >= 60 else 0)}" for n in range(120)]
    log.write_text("time,watts\n" + "\n".join(lines))
    status, out, _ = run("calibrate", "--csv", str(log), "--cores", "1", "--json")
    assert (status, json.loads(out)["watts_per_core"]) == (0, pytest.approx(1.2))


def test_the_known_load_is_as_many_busy_cores_as_it_says(run):
    status, out, _ = run("load", "--seconds", "0.3", "--cores", "1", "--json")
    said = json.loads(out)
    assert (status, said["cores"]) == (0, 1)
    assert 0.0 < said["busy_cores"] < 1.1


def test_the_load_ends_with_a_command_that_is_killed(config):
    """Before, a core was busy until the board was started anew."""
    command = [sys.executable, "-m", "skerry_agent", "power", "load", "--seconds", "600", "--cores", "1"]
    with subprocess.Popen([*command, "--config", str(config)]) as loading:
        children = Path(f"/proc/{loading.pid}/task/{loading.pid}/children")
        eventually(children.read_text, "a core is kept busy")
        burner = Path(f"/proc/{children.read_text().split()[0]}")
        loading.kill()
    eventually(lambda: not burner.exists(), "no core is kept busy")


def test_a_person_is_asked_while_the_load_runs(config):
    """On a terminal: idle first, then the reading under load; no process is left."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "skerry_agent", "power", "calibrate", "--seconds", "0", "--cores", "1", "--json"]
    with subprocess.Popen(
        [*command, "--config", str(config)], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as asked:
        os.write(ours, b"2.1\n")
        eventually(lambda: _cpu_of_children(asked.pid) > 0, "the load has used a core, so it can be told how much")
        os.write(ours, b"3.4\n")
        out, err = asked.communicate(timeout=30)
    os.close(ours)
    os.close(theirs)
    assert (asked.returncode, "watts at idle" in err, "watts under load" in err) == (0, True, True), err
    assert json.loads(out)["idle_w"] == 2.1


def _cpu_of_children(pid: int) -> float:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(procfs.cpu_s(Path("/proc"), int(child)) or 0.0 for child in children)


class Sensor:
    method, whole_board, accuracy = "hwmon ina219 power1", True, 0.03

    def poll(self):
        """Nothing."""

    def mean_watts(self):
        return 3.4, 0.0


def test_a_sensor_takes_its_idle_from_the_calibration_until_it_has_seen_it(run, config):
    calibrate(run)
    power = MeasuredPower(Sensor(), calibrated(load(config)).board.power)
    active = {sample.name: sample for sample in power.read(Window(10.0, 5.0))}["power_active"]
    assert active.value == pytest.approx(1.3)
    assert "2.10 W idle (wattmeter 2" in active.method
