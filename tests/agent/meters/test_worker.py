"""Drivers that hang in the kernel: values go missing, and who asks goes on."""

import threading
import time
from types import SimpleNamespace

from skerry_agent.meters import throttle
from skerry_agent.meters.board import BoardMeters
from skerry_agent.meters.worker import Worker
from tests.agent.meters.board_outputs import HWMON


def until(reached):
    end = time.monotonic() + 10
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_it_polls_and_answers():
    polls = []
    worker = Worker(lambda: polls.append(1), 0.01)
    assert worker.ask(lambda: 42, 10.0) == 42
    until(lambda: len(polls) > 2)


def test_it_answers_one_question_right_after_another():
    worker = Worker(lambda: None, 60.0)
    assert [worker.ask(lambda n=n: n, 10.0) for n in range(2000)] == list(range(2000))


def test_a_driver_that_hangs_costs_whoever_asks_little_and_once():
    held = threading.Event()
    worker = Worker(lambda: None, 60.0)
    began = time.monotonic()
    assert worker.ask(held.wait, 0.05) is None
    assert [worker.ask(lambda: 42, 30.0) for _ in range(100)] == [None] * 100
    assert time.monotonic() - began < 20
    held.set()
    until(lambda: worker.ask(lambda: 42, 10.0) == 42)


def test_a_meter_that_fails_does_not_end_the_others_and_is_in_the_log(caplog, capsys):
    """In the log, where it is counted when it comes every two seconds; on standard error it had a line each time."""
    worker = Worker(lambda: None, 60.0)
    assert worker.ask(lambda: 1 // 0, 10.0) is None
    assert worker.ask(lambda: 42, 10.0) == 42
    (line,) = [record for record in caplog.records if record.name == "skerry-agent"]
    assert line.getMessage() == "a meter fails"
    assert "ZeroDivisionError" in line.fields["detail"]
    assert capsys.readouterr().err == ""


def board_with_sensor(folder):
    (folder / f"{HWMON}0").mkdir(parents=True)
    (folder / f"{HWMON}0/name").write_text("ina219\n")
    (folder / f"{HWMON}0/power1_input").write_text("3500000\n")
    (folder / "proc").symlink_to("/proc")
    return folder


def names(meters):
    return {sample.name for sample in meters.samples([], 1.0)}


def test_a_board_whose_sensor_hangs_still_tells_what_the_kernel_knows(tmp_path, monkeypatch):
    monkeypatch.setattr("skerry_agent.meters.board.PATIENCE_S", 0.5)
    meters, held = BoardMeters(SimpleNamespace(power=None), board_with_sensor(tmp_path)), threading.Event()
    assert names(meters) >= {"power", "memory"}
    meters._worker.ask(held.wait, 0.01)
    assert names(meters) == {"cpu", "memory"}
    assert meters.active_energy(1.0) is None
    held.set()
    until(lambda: "power" in names(meters))


def test_an_agent_starts_though_a_driver_hangs_when_it_is_first_asked(tmp_path, monkeypatch):
    held = threading.Event()
    monkeypatch.setattr("skerry_agent.meters.board.OPEN_PATIENCE_S", 0.05)
    monkeypatch.setattr("skerry_agent.meters.board.PATIENCE_S", 0.5)
    monkeypatch.setattr("skerry_agent.meters.board.throttle.sources", lambda *_: held.wait() and [])
    meters = BoardMeters(SimpleNamespace(power=None), board_with_sensor(tmp_path))
    assert names(meters) == {"cpu", "memory"}
    assert (meters.active_energy(1.0), meters.undervoltage_since(0.0)) == (None, None)
    held.set()
    until(lambda: "power" in names(meters))


def test_a_tool_that_costs_a_process_is_not_asked_every_two_seconds():
    now, asked = [0.0], []

    def read():
        asked.append(now[0])
        return throttle.of_word(0x50000, "vcgencmd get_throttled")

    rarely = throttle.Rarely(read, lambda: now[0])
    for now[0] in range(0, 31, 2):
        assert rarely().had_undervoltage
    assert asked == [0.0, 10.0, 20.0, 30.0]
