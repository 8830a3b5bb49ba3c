"""Energy per inference: added up until it can be told from noise, shared among models, with its uncertainty."""

import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.meters import procfs
from skerry_agent.meters.power import MeasuredPower, ModelledPower, Window
from skerry_agent.meters.readings import Readings
from skerry_agent.ports.interfaces import ActiveEnergy
from skerry_agent.ports.runner_protocol import Exercised, Heartbeat
from skerry_agent.supervisor.energy import MOST_NOISE, EnergyAccounts, Work
from skerry_agent.supervisor.telemetry import Telemetry
from skerry_agent.wire.sketch import Sketch
from tests.kit.clock import FakeClock

BOARD = SimpleNamespace(idle_w=2.0, watts_per_core=1.5, uncertainty=0.35, calibrated="", accelerator_w=None)
M = ("m", "m@1.0.0")


class Modelled:
    """Meters of a board without a sensor."""

    def __init__(self, step_s=0.0, board=BOARD):
        self._power, self._step_s = ModelledPower(board), step_s

    def samples(self, pids, duration_s, accelerator_s=0.0):
        return self._power.read(Window(duration_s, 0.0, self._step_s, accelerator_s))

    def active_energy(self, cpu_s, accelerator_s=0.0):
        return self._power.active(cpu_s, accelerator_s)

    def undervoltage_since(self, at):
        return None


class Rig:
    def __init__(self, step_s=0.0, board=BOARD):
        self.clock = FakeClock()
        self.telemetry = Telemetry("dev-1", "boot", self.clock, Modelled(step_s, board))

    def beat(self, inferences, cpu_s, model="m", busy_s=0.0, accelerated=False, exercised=0):
        latency = Sketch({"230": inferences}, 0, 95.0 * inferences) if inferences else Sketch()
        beat = Heartbeat(inferences, 0, 0, 0, latency, busy_s, 41_000_000, cpu_s, exercised=Exercised(exercised))
        self.telemetry.heartbeat(model, f"{model}@1.0.0", 1000.0, beat, accelerated=accelerated)

    def report(self):
        self.clock.advance(10)
        (report,) = self.telemetry.take([], 0)
        return {stats.model: stats for stats in report.models}


def test_an_inference_shorter_than_a_tick_has_an_energy_that_is_no_multiple_of_one():
    """Before, 21 inferences of 1.1 ms were 2 ticks of 10 ms: 1429 uJ or 2143 uJ, by chance."""
    rig = Rig()
    rig.beat(21, 21 * 0.0011)
    assert rig.report()["m"].energy_uj == pytest.approx(1.5 * 1100)


def test_the_figure_says_what_it_may_be_off_by():
    rig = Rig()
    rig.beat(100, 0.1)
    stats = rig.report()["m"]
    assert stats.energy_relative_uncertainty == pytest.approx(0.35 + 0.01)  # the board's, and one of 100 inferences


def test_few_inferences_have_no_figure_until_there_are_enough():
    rig = Rig()
    figures = []
    for _ in range(5):
        rig.beat(4, 0.004)
        figures.append(rig.report()["m"].energy_uj)
    assert [figure is not None for figure in figures] == [False, False, True, False, False]
    assert figures[2] == pytest.approx(1500)


def test_where_cpu_time_is_counted_in_ticks_more_is_added_up_first():
    rig = Rig(step_s=0.01)
    figures = []
    for _ in range(4):
        rig.beat(40, 0.05)
        figures.append(rig.report()["m"].energy_uj)
    assert [figure is not None for figure in figures] == [False, False, False, False]
    rig.beat(400, 0.5)
    assert rig.report()["m"].energy_uj == pytest.approx(1.5 * 0.7e6 / 560)


def test_each_model_has_its_own_energy():
    """Before, the board's energy was divided by the inferences of all: a large model and a small one had the same."""
    rig = Rig()
    rig.beat(100, 1.0, "large")
    rig.beat(100, 0.01, "small")
    stats = rig.report()
    assert (stats["large"].energy_uj, stats["small"].energy_uj) == (pytest.approx(15_000), pytest.approx(150))


def test_what_a_runner_takes_to_load_or_to_wait_is_no_inferences_energy():
    rig = Rig()
    rig.beat(0, 2.5)
    rig.beat(100, 0.1)
    assert rig.report()["m"].energy_uj == pytest.approx(1500)


def test_golden_inputs_take_their_share_of_the_energy_and_have_no_figure():
    rig = Rig()
    rig.beat(0, 0.3, exercised=300)
    assert rig.report()["m"].energy_uj is None
    rig.beat(100, 0.4, exercised=300)
    assert rig.report()["m"].energy_uj == pytest.approx(1500)


def test_golden_inputs_on_probation_are_not_in_the_energy_of_real_load():
    """Before, what a model took was divided by golden inputs and requests together: 3 mJ a request were told as 1.5."""
    rig = Rig()
    golden = Sketch({"230": 300}, 0, 30.0 * 300)
    latency = Sketch({"230": 100}, 0, 270.0 * 100)
    beat = Heartbeat(100, 0, 0, 0, latency, 0.0, 1, 0.4, exercised=Exercised(300, 0, 0, golden))
    rig.telemetry.heartbeat("m", "m@1.0.0", 1000.0, beat)
    assert rig.report()["m"].energy_uj == pytest.approx(1.5 * 0.4e6 * 0.75 / 100)


def test_an_inference_longer_than_a_heartbeat_counts_whole():
    rig = Rig()
    for _ in range(20):
        rig.beat(0, 0.9, busy_s=0.9)
        rig.beat(1, 0.1)
    assert rig.report()["m"].energy_uj == pytest.approx(1.5e6)


CORAL = SimpleNamespace(**vars(BOARD) | {"accelerator_w": 2.0})


def test_an_accelerator_counts_while_it_works():
    """Before, the energy of a model on an Edge TPU was that of the cores that waited for it."""
    rig = Rig(board=CORAL)
    rig.beat(1000, 0.01, accelerated=True)  # of 95 us each
    stats = rig.report()["m"]
    assert stats.energy_uj == pytest.approx((1.5 * 0.01 + 2.0 * 0.095) * 1e6 / 1000)
    assert stats.energy_method == "1.5 W x busy cores + 2 W x busy accelerator, +-35%"


def test_a_model_on_the_accelerator_and_one_on_the_cores_have_each_its_own_energy():
    rig = Rig(board=CORAL)
    rig.beat(1000, 0.01, "tpu", accelerated=True)
    rig.beat(1000, 0.2, "cpu")
    stats = rig.report()
    assert stats["tpu"].energy_uj == pytest.approx(1.5 * 10 + 2.0 * 95)
    assert stats["cpu"].energy_uj == pytest.approx(1.5 * 200)


def test_an_accelerator_of_which_nobody_knows_what_it_takes_gives_no_energy():
    rig = Rig()
    rig.beat(1000, 0.01, accelerated=True)
    assert rig.report()["m"].energy_uj is None


def joules(total, noise=0.0, bias=0.0, method="sensor"):
    return ActiveEnergy(total, noise, bias, "measured", method)


def test_the_energy_of_one_source_is_never_added_to_that_of_another():
    accounts = EnergyAccounts()
    accounts.add(joules(1.0, noise=0.5), {M: Work(50, 1.0)}, 10.0)
    accounts.add(joules(7.0, method="another"), {M: Work(50, 1.0)}, 10.0)
    assert accounts.take(*M).per_inference_uj == pytest.approx(7e6 / 50)


def test_what_cannot_be_read_any_more_leaves_nothing_behind():
    accounts = EnergyAccounts()
    accounts.add(joules(1.0, noise=0.5), {M: Work(50, 1.0)}, 10.0)
    accounts.add(None, {M: Work(50, 1.0)}, 10.0)
    accounts.add(joules(2.0), {M: Work(50, 1.0)}, 10.0)
    assert accounts.take(*M).per_inference_uj == pytest.approx(2e6 / 50)


@pytest.mark.parametrize("energy", [joules(-1.0), joules(0.0), joules(1.0, noise=0.2), joules(1.0, bias=1.5), None])
def test_a_figure_below_its_noise_is_absent_and_never_0(energy):
    accounts = EnergyAccounts()
    accounts.add(energy, {M: Work(1000, 1.0)}, 10.0)
    assert accounts.take(*M) is None


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0.0, 5.0)), min_size=1, max_size=30))
def test_no_figure_is_ever_told_with_more_noise_than_allowed(stretches):
    accounts = EnergyAccounts()
    for inferences, total in stretches:
        accounts.add(joules(total, noise=0.1), {M: Work(inferences, total)}, 10.0)
        figure = accounts.take(*M)
        assert figure is None or figure.relative_uncertainty <= MOST_NOISE


# -- a sensor with a coarse step ---------------------------------------------------------------------------------------


class Ina219:
    """20 mW steps around a true power."""

    method, whole_board, accuracy = "hwmon ina219 power1", True, 0.03

    def __init__(self, step_w=0.02):

        self._readings, self._step_w, self.true_w = Readings(step_w), step_w, 2.0
        self._random = random.Random(5)

    def poll(self):
        steps = round(self._random.gauss(self.true_w, 0.01) / self._step_w)
        self._readings.add(steps * self._step_w)

    def mean_watts(self):
        for _ in range(5):
            self.poll()
        return self._readings.take()


def test_an_energy_finer_than_the_step_of_its_sensor_is_not_told_at_once():
    sensor = Ina219()
    power = MeasuredPower(sensor, None)
    power.read(Window(10.0, 0.0))
    sensor.true_w = 2.01
    accounts = EnergyAccounts()
    power.read(Window(10.0, 5.0))
    accounts.add(power.active(5.0), {M: Work(1000, 5.0)}, 10.0)
    assert accounts.take(*M) is None


def test_an_energy_well_above_the_step_is_told_with_it():
    sensor = Ina219()
    power = MeasuredPower(sensor, None)
    power.read(Window(10.0, 0.0))
    sensor.true_w = 3.0
    power.read(Window(10.0, 5.0))
    accounts = EnergyAccounts()
    accounts.add(power.active(5.0), {M: Work(1000, 5.0)}, 10.0)
    figure = accounts.take(*M)
    assert figure.per_inference_uj == pytest.approx(10_000, rel=0.05)
    assert 0.03 < figure.relative_uncertainty < 0.1


def test_the_boards_idle_figure_makes_a_measured_energy_as_uncertain_as_it_is():
    power = MeasuredPower(Ina219(), BOARD)
    power._source.true_w = 3.0
    samples = {sample.name: sample for sample in power.read(Window(10.0, 5.0))}
    assert samples["power_active"].relative_uncertainty == pytest.approx(0.7 / 1.0 + 0.07, abs=0.05)


# -- CPU time in nanoseconds -------------------------------------------------------------------------------------------


def test_cpu_time_of_another_process_is_finer_than_a_tick():
    burn = "import time\nwhile time.process_time() < 0.05: pass\nprint(flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        seconds = procfs.cpu_s(Path("/proc"), child.pid)
        child.communicate(b"\n")
    assert procfs.resolution_s(Path("/proc")) < 1e-6
    assert abs(seconds * 100 - round(seconds * 100)) > 1e-6
