"""The log's lines: one each, harmless, bounded in length and number, and where journald or a person finds them."""

import io
import logging
import os
import time

import pytest

from skerry_agent import log
from skerry_agent.log.limits import BURST, LAST_WINDOW_S, MOST_KNOWN, REFILL_S, Limits
from skerry_agent.log.line import MOST_LINE_CHARS, rendered
from skerry_agent.log.output import Output, is_journal

INFO = logging.INFO


@pytest.mark.parametrize(
    ("sentence", "fields", "line"),
    [
        ("it begins", {"release": "m@1.0.0", "size": 10, "none": None}, "it begins release=m@1.0.0 size=10"),
        ("it says", {"detail": 'a "b" \\ c'}, 'it says detail="a \\"b\\" \\\\ c"'),
        ("it says", {"detail": ""}, 'it says detail=""'),
        ("two\nlines\x1b[2J", {"name": "\u202egpj.exe"}, 'two lines\\x1b[2J name="\\\\u202egpj.exe"'),
        ("lone \udcff", {"ms": 1.23456789}, "lone \\udcff ms=1.23457"),
    ],
)
def test_a_line_is_a_sentence_and_fields_on_one_line_with_nothing_that_a_terminal_obeys(sentence, fields, line):
    assert rendered(sentence, fields) == line


def test_a_line_is_bounded_whatever_is_in_it():
    assert len(rendered("x" * 10_000, {f"k{i}": "\x1b" * 1000 for i in range(100)})) <= MOST_LINE_CHARS


def test_a_line_that_repeats_is_counted_and_said_now_and_then():
    limits, written = Limits(0.0), []
    for second in range(2 * 3600):
        written += limits.take(INFO, "again", float(second))
    written += limits.rest()
    assert written[:3] == [
        (INFO, "again"),
        (INFO, "again (repeated 59 times in 1 min)"),
        (INFO, "again (repeated 120 times in 2 min)"),
    ]
    assert len(written) < 10
    counted = sum(int(line.split("repeated ")[1].split(" ")[0]) for _, line in written[1:])
    assert counted == 2 * 3600 - 1


def test_lines_that_take_turns_are_counted_each():
    limits, written = Limits(0.0), []
    for second in range(60):
        written += limits.take(INFO, f"line {second % 2}", float(second))
    assert [line for _, line in written] == ["line 0", "line 1"]


def test_a_line_that_has_not_come_for_its_time_is_news_again():
    limits = Limits(0.0)
    assert limits.take(INFO, "x", 0.0) == limits.take(INFO, "x", 70.0) == [(INFO, "x")]
    assert limits.due(10 * LAST_WINDOW_S) == limits.rest() == []


def test_a_flood_of_different_lines_is_cut_and_what_was_left_out_is_counted():
    limits, written = Limits(0.0), []
    for number in range(10_000):
        written += limits.take(INFO, f"line {number}", 0.0)
    assert len(written) == BURST
    assert len(limits._known) <= MOST_KNOWN
    left_out, after = limits.take(INFO, "calm", REFILL_S + 0.1)
    assert left_out[1].startswith(f"{10_000 - BURST} lines were left out")
    assert after == (INFO, "calm")


def test_a_flood_of_lines_that_each_come_twice_is_cut_as_well():
    limits, written = Limits(0.0), []
    for number in range(20_000):
        written += limits.take(INFO, f"line {number // 2}", 0.0)
    assert len(written) == BURST


@pytest.fixture
def stream(tmp_path):
    with (tmp_path / "stderr").open("w+") as file:
        yield file


def said(stream):
    stream.seek(0)
    return stream.read().splitlines()


@pytest.fixture(autouse=True)
def silence():
    yield
    log.stop()


def journal_of(stream):
    status = os.fstat(stream.fileno())
    return {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}


def test_journald_gets_priorities_and_no_time(stream):
    log.start("debug", Output(stream, journal_of(stream)))
    log.debug("d")
    log.info("i")
    log.warning("w", code=1)
    log.error("e")
    assert said(stream) == ["<7>d", "<6>i", "<4>w code=1", "<3>e"]


def test_without_journald_a_line_has_its_time_and_level(stream):
    log.start("info", Output(stream, {}))
    log.debug("left out")
    log.info("kept")
    (line,) = said(stream)
    when, level, text = line.split()
    assert time.strptime(when, "%Y-%m-%dT%H:%M:%SZ")
    assert (level, text) == ("info", "kept")


@pytest.mark.parametrize("named", ["", "1:2", "nonsense"])
def test_a_stream_that_was_redirected_is_not_the_journal(stream, named):
    assert is_journal(stream, journal_of(stream))
    assert not is_journal(stream, {"JOURNAL_STREAM": named})
    assert not is_journal(io.StringIO(), {"JOURNAL_STREAM": named})


def test_what_was_counted_is_written_in_time_and_at_the_end(stream):
    now = [0.0]
    log.start("info", Output(stream, journal_of(stream), lambda: now[0]))
    for _ in range(3):
        log.info("again")
    log.turn()
    assert said(stream) == ["<6>again"]
    now[0] = 61.0
    log.turn()
    assert said(stream)[1:] == ["<6>again (repeated 2 times in 1 min)"]
    log.info("again")
    log.stop()
    assert said(stream)[2:] == ["<6>again (repeated once more in 2 min)"]


def test_a_log_that_cannot_be_written_ends_nothing(stream):
    log.start("info", Output(stream, {}))
    stream.close()
    log.info("nobody reads this")
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        log.start("info", Output(full, {}))
        log.info("nor this")
        log.stop()


def test_nothing_is_written_before_anybody_said_where_to(capfd):
    log.warning("a command of the command line uses the same rooms")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("cgroup", "place"),
    [
        ("0::/system.slice/skerry-agent.service\n", "journalctl -u skerry-agent"),
        ("0::/system.slice/my-box.service/payload\n", "journalctl -u my-box"),
        ("12:cpu:/\n1:name=systemd:/system.slice/system-x.slice/x@1.service\n", "journalctl -u x@1"),
        ("0::/user.slice/session-1.scope\n", "journalctl -u skerry-agent"),
    ],
)
def test_the_place_of_the_log_names_the_unit(stream, tmp_path, cgroup, place):
    (tmp_path / "cgroup").write_text(cgroup)
    assert Output(stream, journal_of(stream)).place(tmp_path / "cgroup") == place


def test_the_place_of_a_redirected_log_is_its_file(stream):
    assert Output(stream, {}).place() == stream.name
