"""Every sensor over a made-up /sys and /proc: what it says, in which unit, from where; and what is absent is absent."""

import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from skerry_agent.meters import BoardMeters, Window, choose, hwmon, pmic, powercap, procfs, thermal
from skerry_agent.meters.power import MeasuredPower

BOARD = SimpleNamespace(idle_w=2.0, watts_per_core=1.5, uncertainty=0.35, calibrated="", accelerator_w=None)
BUSY, IDLE = Window(10.0, 8.0), Window(10.0, 0.1)


@pytest.fixture
def root(tmp_path):
    """An empty / that files can be put into: `root(path=content)`."""

    def put(files):
        for path, content in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(f"{content}\n")
        return tmp_path

    return put


def by_name(samples):
    return {sample.name: sample for sample in samples}


HWMON = "sys/class/hwmon/hwmon"
INA219 = {f"{HWMON}0/name": "ina219", f"{HWMON}0/power1_input": 3_500_000}


def test_an_ina_power_file_is_microwatts(root):
    samples = by_name(choose(BOARD, root(INA219)).read(BUSY))
    assert (samples["power"].value, samples["power"].unit, samples["power"].source) == (3.5, "W", "measured")
    assert samples["power"].method == "hwmon ina219 power1"
    assert samples["power_active"].value == pytest.approx(1.5)
    assert "2.00 W idle (board file)" in samples["power_active"].method


def test_voltage_times_current_of_the_rail_that_feeds_all_others(root):
    files = {f"{HWMON}3/name": "ina3221"}
    for n, (label, millivolts, milliamperes) in enumerate([("VDD_IN", 5000, 1200), ("VDD_CPU", 9000, 2000)], 1):
        files |= {f"{HWMON}3/in{n}_input": millivolts, f"{HWMON}3/curr{n}_input": milliamperes}
        files |= {f"{HWMON}3/in{n}_label": label}
    power = by_name(choose(BOARD, root(files)).read(BUSY))["power"]
    assert power.value == pytest.approx(6.0)
    assert power.method == "hwmon ina3221 VDD_IN"


def test_without_labels_the_largest_rail_counts(root):
    files = {f"{HWMON}0/name": "ina226", f"{HWMON}0/power1_input": 1_000_000}
    files |= {f"{HWMON}1/name": "ina226", f"{HWMON}1/power1_input": 4_000_000}
    assert by_name(choose(None, root(files)).read(BUSY))["power"].value == 4.0


@pytest.mark.parametrize("chip", ["amdgpu", "BAT0", "nvme", "ucsi_source_psy_1"])
def test_what_does_not_monitor_the_supply_is_not_used(root, chip):
    assert hwmon.find(root({f"{HWMON}0/name": chip, f"{HWMON}0/power1_input": 90_000_000})) is None


@pytest.mark.parametrize("content", ["", "n/a", "12 34"])
def test_a_sensor_that_says_nothing_is_absent(root, content):
    assert hwmon.find(root({f"{HWMON}0/name": "ina219", f"{HWMON}0/power1_input": content})) is None


def test_readings_between_two_reports_are_averaged(root):
    meter = choose(BOARD, root(INA219))
    for microwatts in (2_000_000, 4_000_000):
        root({f"{HWMON}0/power1_input": microwatts})
        meter.poll()
    root({f"{HWMON}0/power1_input": 6_000_000})
    assert by_name(meter.read(BUSY))["power"].value == 4.0


def test_idle_is_learnt_from_windows_in_which_no_runner_worked(root):
    meter = choose(BOARD, root({f"{HWMON}0/name": "ina219", f"{HWMON}0/power1_input": 3_000_000}))
    assert "power_active" not in by_name(meter.read(IDLE))
    root({f"{HWMON}0/power1_input": 4_000_000})
    active = by_name(meter.read(BUSY))["power_active"]
    assert active.value == pytest.approx(1.0)
    assert "3.00 W idle (measured)" in active.method


def test_a_sensor_that_vanishes_is_absent_and_never_0(root):
    folder = root(INA219)
    meter = choose(BOARD, folder)
    (folder / f"{HWMON}0/power1_input").unlink()
    assert meter.read(BUSY) == []


RAPL = "sys/class/powercap/intel-rapl:"


def package(n, energy, name=None, wraps_at=1_000_000_000):
    return {
        f"{RAPL}{n}/name": name or f"package-{n}",
        f"{RAPL}{n}/energy_uj": energy,
        f"{RAPL}{n}/max_energy_range_uj": wraps_at,
    }


def test_powercap_divides_energy_by_time_adds_packages_and_wraps(root):
    folder = root(
        package(0, 999_000_000) | package(1, 5_000_000) | {f"{RAPL}0:0/energy_uj": 7, f"{RAPL}0:0/name": "core"}
    )
    now = iter([100.0, 110.0, 120.0])
    source = powercap.PowercapPower(powercap.find(folder), lambda: next(now))
    meter = MeasuredPower(source, BOARD)
    root(package(0, 29_000_000) | package(1, 15_000_000))
    samples = by_name(meter.read(BUSY))
    assert samples["power"].value == pytest.approx((30 + 10) / 10)
    assert samples["power"].method == "powercap package-0 + package-1 (processor only)"
    assert "power_active" not in samples  # the board's idle figure says nothing about a processor's
    (folder / f"{RAPL}0/energy_uj").unlink()
    assert meter.read(BUSY) == []


def test_a_counter_that_falls_where_nobody_knows_its_range_is_absent_and_never_below_0(root):
    folder = root(package(0, 900) | package(1, 5))
    (folder / f"{RAPL}0/max_energy_range_uj").unlink()
    now = iter([0.0, 10.0, 20.0])
    source = powercap.PowercapPower(powercap.find(folder), lambda: next(now))
    root({f"{RAPL}0/energy_uj": 100})
    assert source.mean_watts() is None
    root({f"{RAPL}0/energy_uj": 20_000_100})
    assert source.mean_watts()[0] == pytest.approx(2.0)


def test_powercap_learns_the_processors_own_idle(root):
    folder = root(package(0, 0))
    now = iter([0.0, 10.0, 20.0])
    meter = MeasuredPower(powercap.PowercapPower(powercap.find(folder), lambda: next(now)), BOARD)
    root(package(0, 20_000_000))
    meter.read(IDLE)
    root(package(0, 70_000_000))
    assert by_name(meter.read(BUSY))["power_active"].value == pytest.approx(3.0)


def test_the_platform_zone_counts_alone(root):
    folder = root(package(0, 1) | package(1, 1, name="psys"))
    source = powercap.PowercapPower(powercap.find(folder))
    assert source.whole_board
    assert source.method == "powercap psys"


PMIC = """\
   3V7_WL_SW_A current(0)=0.09759772A
   VDD_CORE_A current(7)=2.00000000A
   3V7_WL_SW_V volt(8)=3.72016300V
   VDD_CORE_V volt(15)=0.75000000V
   EXT5V_V volt(24)=5.15698500V
   BATT_V volt(25)=0.00000000V
"""


def test_the_pmic_adds_rails_that_have_current_and_voltage(tmp_path):
    samples = by_name(choose(BOARD, tmp_path, lambda: PMIC).read(BUSY))
    assert samples["power"].value == pytest.approx(0.09759772 * 3.720163 + 2 * 0.75)
    assert samples["power"].method.startswith("pmic_read_adc")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Command not registered",
        "VDD_CORE_A current(7)=x",
        "EXT5V_V volt(24)=5.1V",
        "A_A current(1)=1.2.3A\nA_V volt(2)=1V",
    ],
)
def test_other_words_of_the_firmware_are_no_power(tmp_path, text):
    assert pmic.parse(text) is None
    assert by_name(choose(BOARD, tmp_path, lambda: text).read(BUSY))["power"].source == "modelled"


def test_without_a_sensor_power_is_modelled_and_says_so(tmp_path):
    """Pain edgetpu#41, edgetpu#627: no view of the power."""
    samples = by_name(choose(BOARD, tmp_path).read(BUSY))
    assert samples["power"].value == pytest.approx(2.0 + 1.5 * 0.8)
    assert samples["power_active"].value == pytest.approx(1.5 * 0.8)
    assert {sample.source for sample in samples.values()} == {"modelled"}
    assert all("+-35%" in sample.method for sample in samples.values())
    assert "power_active" not in by_name(choose(BOARD, tmp_path).read(Window(10.0, 0.0)))


def test_without_sensor_and_model_there_is_no_power(tmp_path):
    assert choose(None, tmp_path).read(BUSY) == []


THERMAL = "sys/class/thermal/"


def test_temperatures_in_degrees_of_the_hottest(root):
    folder = root(
        {
            f"{THERMAL}thermal_zone0/temp": 48312,
            f"{THERMAL}thermal_zone0/type": "cpu-thermal",
            f"{THERMAL}thermal_zone10/temp": 61000,
            f"{THERMAL}thermal_zone2/temp": "",
            "sys/class/apex/apex_0/temp": 55800,
        }
    )
    samples = by_name(thermal.temperatures(folder))
    assert (samples["temperature"].value, samples["temperature"].method) == (61.0, "thermal_zone10")
    assert (samples["temperature_edgetpu"].value, samples["temperature_edgetpu"].unit) == (55.8, "degC")


def test_without_zones_there_is_no_temperature(tmp_path):
    assert thermal.temperatures(tmp_path) == []


def stat(parent, utime=0, stime=0, waited=0, name="a b) (c"):
    return f"7 ({name}) S {parent} " + "0 " * 9 + f"{utime} {stime} {waited} 0 " + "0 " * 30


def test_cpu_of_a_tree_whatever_its_processes_are_called(root):
    ticks = os.sysconf("SC_CLK_TCK")
    proc = (
        root(
            {
                "proc/10/stat": stat(1, ticks, ticks, 3 * ticks),
                "proc/11/stat": stat(10, 2 * ticks),
                "proc/12/stat": stat(11, 0, 4 * ticks),
                "proc/13/stat": stat(1, 99 * ticks),
                "proc/meminfo": "x",
            }
        )
        / "proc"
    )
    assert procfs.cpu_s_of_tree(proc, 10) == 11.0
    assert procfs.cpu_s(proc, 10) == 5.0
    assert procfs.cpu_s(proc, 99) is None
    assert procfs.cpu_s_of_tree(proc, 99) is None


def test_memory_is_pss_where_it_is_told_else_rss(root):
    proc = root({"proc/1/smaps_rollup": "00-ff ---p [rollup]\nRss: 9 kB\nPss: 5 kB", "proc/2/statm": "90 3 1"}) / "proc"
    assert procfs.memory_bytes(proc, 1) == (5120, "pss")
    assert procfs.memory_bytes(proc, 2) == (3 * os.sysconf("SC_PAGE_SIZE"), "rss")
    assert procfs.memory_bytes(proc, 3) is None


def test_a_real_process_on_this_machine():
    burn = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        meters = BoardMeters(SimpleNamespace(power=BOARD))
        began = time.monotonic()
        child.stdout.readline()
        samples = by_name(meters.samples([child.pid], time.monotonic() - began))
        child.communicate(b"\n")
    assert samples["cpu"].value > 0
    assert samples["memory"].value > 5_000_000
    assert samples["power"].value > 0
    assert samples["power_active"].value > 0


def test_a_runner_that_has_gone_costs_nothing_and_breaks_nothing():
    meters = BoardMeters(SimpleNamespace(power=BOARD))
    assert "power_active" not in by_name(meters.samples([2**22 + 1], 1.0))
