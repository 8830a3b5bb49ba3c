"""What boards of several generations say of supply, speed, temperature and power, and what is made of it."""

import struct
from pathlib import Path

import pytest

from skerry_agent.meters import choose, throttle
from skerry_agent.meters.board import BoardMeters
from skerry_agent.meters.frequency import frequency_limit
from skerry_agent.meters.pmic import SupplyVoltage
from skerry_agent.meters.power import MeasuredPower, Window
from skerry_agent.meters.supply import SupplyWatch
from skerry_agent.meters.thermal import temperatures
from skerry_agent.meters.usb import AcceleratorResets
from tests.agent.meters.board_outputs import BOARDS, HWMON, THERMAL

ALARM = {f"{HWMON}0/name": "rpi_volt", f"{HWMON}0/in0_lcrit_alarm": 0}
COUNT = "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"


def put(root, files):
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"{content}\n")
    return root


def mailbox_with(word):
    """The kernel's side of /dev/vcio: fills in the answer, or has no such device."""

    def ask(_device, message):
        if word is None:
            raise FileNotFoundError
        size, request, tag, room, length, mask, end = struct.unpack("=7I", message)
        assert (size, request, tag, room, length, mask, end) == (28, 0, 0x30046, 4, 4, 0, 0)
        message[:] = struct.pack("=7I", size, 0x80000000, tag, room, 0x80000004, word, end)

    return ask


def by_name(samples):
    return {sample.name: sample for sample in samples}


def everything(board, root):
    """All samples of a board; the values told by its firmware come through the same ports as on hardware."""
    tool = board.tool.get if board.tool else None
    voltage = SupplyVoltage(lambda: board.tool.get("pmic_read_adc"))
    voltage.read()
    watch = SupplyWatch(throttle.sources(root, tool, mailbox_with(board.mailbox)))
    limit = frequency_limit(root)
    return by_name([*watch.samples(), *temperatures(root), *voltage.samples(), *([limit] if limit else [])])


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_what_a_board_says_of_itself_becomes_samples(board, tmp_path):
    samples = everything(board, put(tmp_path, board.files))
    assert {name: sample.value for name, sample in samples.items()} | board.says == {
        name: pytest.approx(sample.value) for name, sample in samples.items()
    }
    assert board.says.keys() <= samples.keys()
    assert {name: samples[name].method for name in board.methods} == board.methods


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_what_a_board_does_not_say_is_absent_and_never_0(board, tmp_path):
    told = everything(board, put(tmp_path, board.files)).keys() - {"temperature", "temperature_edgetpu"}
    assert told <= board.says.keys()


@pytest.mark.parametrize("board", [b for b in BOARDS if b.power_w], ids=lambda board: board.name)
def test_the_power_of_a_board_is_that_of_the_rails_that_feed_it(board, tmp_path):
    meter = choose(None, put(tmp_path, board.files), lambda: board.tool.get("pmic_read_adc"))
    power = by_name(meter.read(Window(10.0, 8.0)))["power"]
    assert power.value == pytest.approx(board.power_w, abs=1e-4)
    assert (power.method, power.source) == (board.power_method, "measured")


def test_one_of_several_rails_without_known_labels_is_not_called_the_board(tmp_path):
    files = {f"{HWMON}{n}/name": "ina226" for n in (0, 1)} | {
        f"{HWMON}{n}/power1_input": 10**6 * (n + 1) for n in (0, 1)
    }
    board = type(
        "Board", (), {"idle_w": 0.5, "watts_per_core": 1.0, "uncertainty": 0.3, "calibrated": "", "accelerator_w": None}
    )
    samples = by_name(choose(board, put(tmp_path, files)).read(Window(10.0, 8.0)))
    assert samples["power"].method == "hwmon ina226 power1 (one rail)"
    assert "power_active" not in samples  # the board's idle figure says nothing about a rail


def test_the_pmic_does_not_see_the_whole_board_so_its_idle_is_learnt():
    pi5 = next(board for board in BOARDS if board.name == "raspberry-pi-5")
    board = type(
        "Board", (), {"idle_w": 1.0, "watts_per_core": 1.0, "uncertainty": 0.3, "calibrated": "", "accelerator_w": None}
    )
    meter = choose(board, Path("/nonexistent"), lambda: pi5.tool["pmic_read_adc"])
    assert isinstance(meter, MeasuredPower)
    assert "power_active" not in by_name(meter.read(Window(10.0, 8.0)))


# -- a moment is not forgotten -----------------------------------------------------------------------------------------


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def watch_on(root, clock):
    return SupplyWatch(throttle.sources(root, None, mailbox_with(None)), clock)


def test_an_undervoltage_between_two_reports_is_in_the_next_and_no_longer(tmp_path):
    clock = Clock()
    watch = watch_on(put(tmp_path, ALARM), clock)
    put(tmp_path, {f"{HWMON}0/in0_lcrit_alarm": 1})
    watch.poll()
    put(tmp_path, {f"{HWMON}0/in0_lcrit_alarm": 0})
    assert [by_name(watch.samples())["undervoltage"].value for _ in range(2)] == [1.0, 0.0]


def test_who_judges_learns_of_an_undervoltage_since_a_time(tmp_path):
    clock = Clock()
    watch = watch_on(put(tmp_path, ALARM), clock)
    assert watch.undervoltage_since(0.0) is None
    clock.now = 200.0
    put(tmp_path, {f"{HWMON}0/in0_lcrit_alarm": 1})
    watch.poll()
    assert (watch.undervoltage_since(200.0), watch.undervoltage_since(200.1)) == ("hwmon rpi_volt", None)


def test_a_bit_that_is_newly_set_since_the_last_look_is_an_undervoltage_of_now(tmp_path):
    words = iter([0, 0, 0x10000, 0x10000])
    clock = Clock()
    word = [0]

    def ask(device, message):
        mailbox_with(word[0])(device, message)

    watch = SupplyWatch(throttle.sources(tmp_path, None, ask), clock)
    seen = []
    for value in words:
        word[0] = value
        seen.append(by_name(watch.samples())["undervoltage"].value)
    assert seen == [0.0, 0.0, 1.0, 0.0]


def test_what_was_before_the_agent_began_is_no_undervoltage_of_now(tmp_path):
    watch = SupplyWatch(throttle.sources(tmp_path, None, mailbox_with(0x50000)), Clock())
    assert watch.undervoltage_since(0.0) is None
    assert by_name(watch.samples())["undervoltage_since_boot"].value == 1.0


def test_what_the_kernel_clears_in_the_firmware_is_remembered(tmp_path):
    """raspberrypi-hwmon.c clears bits 16 to 19 every 2 s."""
    word = [0x50005]

    def ask(device, message):
        mailbox_with(word[0])(device, message)

    watch = SupplyWatch(throttle.sources(tmp_path, None, ask), Clock())
    word[0] = 0
    watch.samples()
    samples = by_name(watch.samples())
    assert (samples["undervoltage"].value, samples["undervoltage_since_boot"].value) == (0.0, 1.0)
    assert samples["throttled_since_boot"].value == 1.0


def test_an_x86_processor_is_throttled_while_its_count_rises(tmp_path):
    watch = watch_on(put(tmp_path, {COUNT: 7}), Clock())
    put(tmp_path, {COUNT: 9})
    assert [by_name(watch.samples())["throttled_now"].value for _ in range(2)] == [1.0, 0.0]


@pytest.mark.parametrize("words", ["", "throttled=", "throttled=x", "VCHI initialization failed", "50005"])
def test_other_words_of_the_tool_say_nothing(tmp_path, words):
    assert throttle.sources(tmp_path, {"get_throttled": words}.get, mailbox_with(None)) == []


def test_a_mailbox_that_does_not_know_the_question_says_nothing(tmp_path):
    assert throttle.from_mailbox(tmp_path, lambda _device, _message: None) is None


def test_a_real_system_without_a_mailbox_has_no_answer(tmp_path):
    assert throttle.from_mailbox(tmp_path / "vcio", throttle._ask_mailbox) is None


# -- a USB accelerator that leaves and comes back ----------------------------------------------------------------------

USB = "sys/bus/usb/devices/2-1/"


def stick(number, kind=("18d1", "9302")):
    return {f"{USB}idVendor": kind[0], f"{USB}idProduct": kind[1], f"{USB}devnum": number}


NEW = ("1a6e", "089a")


def unplugged(root):
    for file in (root / USB).iterdir():
        file.unlink()


@pytest.mark.parametrize(
    ("story", "resets"),
    [
        ([stick(3, NEW), stick(4)], 0),
        ([stick(4), stick(4)], 0),
        ([stick(4), stick(5, NEW), stick(6)], 1),
        ([stick(4), stick(7)], 1),
        ([stick(4), None, stick(5)], 1),
        ([stick(4), None], 0),
        ([stick(4), stick(5), stick(6), stick(7)], 3),
    ],
    ids=["firmware", "stays", "power lost", "re-enumerated", "away and back", "unplugged", "again and again"],
)
def test_resets_of_a_usb_accelerator_are_counted(tmp_path, story, resets):
    put(tmp_path, story[0])
    meter = AcceleratorResets(tmp_path)
    for files in story[1:]:
        unplugged(tmp_path) if files is None else put(tmp_path, files)
        meter.poll()
    (sample,) = meter.samples()
    assert (sample.name, sample.value, sample.unit) == ("accelerator_resets", resets, "count")


def test_other_usb_devices_are_none(tmp_path):
    put(tmp_path, stick(4, ("046d", "c52b")))
    meter = AcceleratorResets(tmp_path)
    put(tmp_path, stick(5, ("046d", "c52b")))
    assert meter.samples() == []


# -- all of it together ------------------------------------------------------------------------------------------------


def test_the_meters_of_a_board_give_them_all(tmp_path):
    root = put(tmp_path, ALARM | stick(4) | {f"{THERMAL}thermal_zone0/temp": 50000})
    meters = BoardMeters(type("Board", (), {"power": None}), root)
    names = by_name(meters.samples([], 1.0)).keys()
    assert {"undervoltage", "accelerator_resets", "temperature"} <= names
