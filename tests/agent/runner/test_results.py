"""Results of sources: a file that stays bounded while two runners write it, and a few results for the broker."""

import itertools
import json
import subprocess
import sys

import msgspec
import pytest

from skerry_agent.ports.runner_protocol import FromRunner, Result
from skerry_agent.runner.results import MAX_RESULT_BYTES, Results, ResultsFile
from skerry_agent.runner.source_thread import SourceIssues
from skerry_agent.wire import codec
from tests.kit.tiny_models import make_job, tiny_model


def numbers(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def kept(path, older):
    """All lines that are kept, oldest first."""
    names = [path.with_name(f"{path.name}.{number}") for number in range(older, 0, -1)]
    return [line for file in (*names, path) for line in numbers(file)]


@pytest.mark.parametrize("older", [0, 1, 3])
def test_a_results_file_is_bounded_and_keeps_the_newest(tmp_path, older):
    path = tmp_path / "results.jsonl"
    file = ResultsFile(path, 100, older)
    for number in range(1000):
        file.append(b"%d" % number)
    lines = kept(path, older)
    assert lines == list(range(1000 - len(lines), 1000))
    assert len(list(tmp_path.iterdir())) == 1 + older
    assert all(each.stat().st_size <= 100 for each in tmp_path.iterdir())
    assert len(lines) >= 20 * older


def test_a_line_above_the_limit_has_a_file_of_its_own(tmp_path):
    path = tmp_path / "results.jsonl"
    file = ResultsFile(path, 10, 2)
    for line in (b"1", b"[" + b"2," * 50 + b"3]", b"4"):
        file.append(line)
    assert [line if isinstance(line, int) else "long" for line in kept(path, 2)] == [1, "long", 4]


def test_a_file_that_a_tool_has_moved_is_made_anew(tmp_path):
    path = tmp_path / "results.jsonl"
    file = ResultsFile(path, 100, 1)
    file.append(b"1")
    path.rename(tmp_path / "elsewhere")
    file.append(b"2")
    assert (numbers(tmp_path / "elsewhere"), numbers(path)) == ([1], [2])


WRITING = """
import sys
from pathlib import Path
from skerry_agent.runner.results import ResultsFile
file = ResultsFile(Path(sys.argv[1]), 2000, 100)
for number in range(2000):
    file.append(b'["%s", %d]' % (sys.argv[2].encode(), number))
"""


def test_two_runners_that_write_at_a_time_lose_no_line_and_cut_none(tmp_path):
    """In a handover the one that drains and the one that takes over write the same file, and both rotate it."""
    path = tmp_path / "results.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", WRITING, str(path), name]) for name in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    lines = kept(path, 100)
    for name in "ab":
        assert [number for who, number in lines if who == name] == list(range(2000))


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def job(tmp_path):
    (tmp_path / "model.tflite").write_bytes(tiny_model("add"))
    return lambda **fields: make_job(tmp_path, **fields)


def test_results_for_the_broker_are_so_many_a_second_and_say_how_many_were_left_out(job):
    sent, clock = [], Clock()
    results = Results(job(results_rate_hz=2.0), sent.append, SourceIssues(), clock)
    for number in range(100):
        clock.now += 0.1
        results.put({"number": number})
    assert 16 <= len(sent) <= 20
    numbers = [json.loads(bytes(each.line))["number"] for each in sent]
    assert [each.left_out for each in sent] == [
        0,
        *(later - one - 1 for one, later in itertools.pairwise(numbers)),
    ]


def test_after_a_pause_there_is_no_burst(job):
    sent, clock = [], Clock()
    results = Results(job(results_rate_hz=1.0), sent.append, SourceIssues(), clock)
    results.put({})
    clock.now += 1000
    for _ in range(10):
        results.put({})
    assert len(sent) == 2


def test_a_result_that_is_no_message_is_left_out(job):
    sent, clock = [], Clock()
    results = Results(job(results_rate_hz=1.0), sent.append, SourceIssues(), clock)
    results.put({"outputs": "x" * MAX_RESULT_BYTES})
    results.put({"index": 1})
    assert [each.left_out for each in sent] == [1]


def test_nothing_is_sent_unless_it_is_asked_for(job):
    sent = []
    results = Results(job(), sent.append, SourceIssues())
    assert not results.wanted
    results.put({})
    assert sent == []


def test_a_file_that_cannot_be_written_is_an_issue_until_it_can(job, tmp_path):
    issues = SourceIssues()
    results = Results(job(results_file=str(tmp_path / "absent" / "results")), lambda _result: None, issues)
    results.put({})
    assert issues.lines[0].startswith("results_failed: results cannot be written to ")
    (tmp_path / "absent").mkdir()
    results.put({})
    assert issues.lines == ()


def test_a_result_travels_as_it_is_written():
    line = b'{"time":1.5,"index":3}'
    raw = codec.encode(Result(msgspec.Raw(line), 2))
    back = codec.decode(raw, FromRunner)
    assert (bytes(back.line), back.left_out) == (line, 2)
