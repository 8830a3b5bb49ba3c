"""Samples from a replayed data set and from a watched folder, and what becomes of those that are no good."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from skerry_agent.ports import runner_protocol
from skerry_agent.processing import write_npz
from skerry_agent.runner.errors import SourceError
from skerry_agent.runner.sources import open_source
from skerry_agent.wire.manifest import Postprocess, Preprocess
from tests.kit.feed import Heard


@pytest.fixture
def replayed(spawn, tiny, tmp_path):
    """A runner that replays uint8 samples; returns (child, results file)."""

    def start(samples, rate_hz=200.0, **bundle):
        path = tmp_path / "data.npz"
        path.write_bytes(write_npz({"inputs": samples}))
        job = tiny(
            "add",
            sources=(runner_protocol.ReplaySource(str(path), rate_hz),),
            results_file=str(tmp_path / "results.jsonl"),
            **({"bundle": bundle} if bundle else {}),
        )
        child = spawn(job)
        return child, tmp_path / "results.jsonl"

    return start


def test_replay_preprocesses_loops_and_writes_results(replayed):
    samples = np.array([[0, 0, 0, 255], [255, 0, 0, 0]], np.uint8)
    child, results = replayed(samples, preprocess=Preprocess(scale=1 / 25.5, offset=-5.0))
    child.ready()
    child.wait_for(lambda total: total.inferences >= 6)
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert [line["source"] for line in lines[:3]] == ["replay:0", "replay:1", "replay:0"]
    assert [(line["index"], line["score"]) for line in lines[:2]] == [(3, 9.0), (0, 6.0)]
    assert lines[0]["release"] == "tiny@1.0.0"


def test_a_drain_stops_the_replay(replayed):
    child, results = replayed(np.zeros((2, 4), np.uint8))
    child.ready()
    child.wait_for(lambda total: total.inferences >= 2)
    child.say(runner_protocol.Drain(grace_s=0))
    child.expect(runner_protocol.Drained)
    size = results.stat().st_size
    time.sleep(0.2)
    assert results.stat().st_size == size


def test_samples_of_another_shape_are_errors_and_the_replay_goes_on(replayed):
    child, _ = replayed(np.zeros((2, 5), np.uint8))
    child.ready()
    total = child.wait_for(lambda total: total.input_errors >= 5)
    assert (total.inferences, total.errors) == (0, 0)
    child.say(runner_protocol.Stop())
    assert child.last_words().count("sample has shape (5,), the model takes 4") == 1  # told once, not at every sample


def test_a_replay_that_is_too_fast_drops_and_counts(replayed):
    child, _ = replayed(np.zeros((2, 4), np.uint8), rate_hz=1e6)
    child.ready()
    child.wait_for(lambda total: total.dropped > 1000)


@pytest.mark.parametrize(
    "content", [None, b"", b"PK\3\4", write_npz({"x": np.zeros(3)}), write_npz({"inputs": np.zeros(0)})]
)
def test_a_replay_file_that_cannot_be_used_is_an_issue_and_the_model_serves_on(spawn, tiny, tmp_path, content):
    if content is not None:
        (tmp_path / "data.npz").write_bytes(content)
    child = spawn(tiny("add", sources=(runner_protocol.ReplaySource(str(tmp_path / "data.npz")),)))
    child.ready(exercise_hz=50)
    child.wait_for_issue("replay source")
    total = child.wait_for(lambda total: total.inferences >= 3)
    assert (total.errors, total.input_errors) == (0, 0)


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_said_in_words(tmp_path, rate_hz):
    """TOML knows nan and inf; a period of such a rate is an error of arithmetic, which says nothing to anybody."""
    np.savez(tmp_path / "samples.npz", inputs=np.zeros((1, 4), np.uint8))
    with pytest.raises(SourceError, match="a rate above 0"):
        open_source(runner_protocol.ReplaySource(str(tmp_path / "samples.npz"), rate_hz), Heard())


def test_a_replay_file_that_comes_late_is_used(spawn, tiny, tmp_path):
    child = spawn(tiny("add", sources=(runner_protocol.ReplaySource(str(tmp_path / "data.npz"), 100),)))
    child.ready()
    child.wait_for_issue("replay source")
    (tmp_path / "writing").write_bytes(write_npz({"inputs": np.zeros((1, 4), np.uint8)}))
    (tmp_path / "writing").rename(tmp_path / "data.npz")
    child.wait_for(lambda total: total.inferences >= 3)
    child.wait_for_issue(None)


def test_a_replay_file_needs_an_array_for_each_input(tmp_path):
    heard = Heard()
    heard.inputs = ["a", "b"]
    (tmp_path / "one.npz").write_bytes(write_npz({"inputs": np.zeros((2, 4), np.uint8)}))
    with pytest.raises(SourceError, match="has no array input_a"):
        open_source(runner_protocol.ReplaySource(str(tmp_path / "one.npz"), 10.0), heard)
    arrays = {"input_a": np.zeros((2, 4), np.uint8), "input_b": np.zeros((3, 4), np.uint8)}
    (tmp_path / "uneven.npz").write_bytes(write_npz(arrays))
    with pytest.raises(SourceError, match="as many for each input"):
        open_source(runner_protocol.ReplaySource(str(tmp_path / "uneven.npz"), 10.0), heard)


@pytest.fixture
def watched(spawn, tiny, tmp_path):
    """A runner that watches a folder; returns (child, folder, results file)."""
    folder, results = tmp_path / "in", tmp_path / "results.jsonl"
    job = tiny("add", sources=(runner_protocol.DirectorySource(str(folder), poll_s=0.05),), results_file=str(results))
    child = spawn(job)
    child.ready()
    return child, folder, results


def drop(folder: Path, name, array):
    """Put a file into the folder as a careful writer does."""
    np.save(folder.parent / "writing.npy", array)
    (folder.parent / "writing.npy").rename(folder / name)


def test_watched_files_are_answered_in_order_and_moved_to_done(watched):
    child, folder, results = watched
    drop(folder, "b.npy", np.array([9, 0, 0, 0], np.uint8))
    drop(folder, "a.npy", np.array([0, 0, 9, 0], np.uint8))
    child.wait_for(lambda total: total.inferences == 2)
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert {line["source"]: line["index"] for line in lines} == {"a.npy": 2, "b.npy": 0}
    assert sorted(path.name for path in folder.iterdir()) == ["bad", "done"]
    assert sorted(path.name for path in (folder / "done").iterdir()) == ["a.npy", "b.npy"]


def test_files_that_are_no_samples_are_moved_to_bad_and_counted(watched):
    child, folder, _ = watched
    drop(folder, "shape.npy", np.zeros(7, np.uint8))
    (folder / "text.npy").write_bytes(b"\x93NUMPY\x01\x00\x0e\x00{'descr': ('<f\n")  # ended the runner once
    drop(folder, "good.npy", np.zeros(4, np.uint8))
    total = child.wait_for(lambda total: total.input_errors == 2 and total.inferences == 1)
    assert total.errors == 0
    assert sorted(path.name for path in (folder / "bad").iterdir()) == ["shape.npy", "text.npy"]


def test_a_file_in_writing_is_waited_for(watched, tmp_path):
    child, folder, _ = watched
    np.save(tmp_path / "whole.npy", np.zeros(4, np.uint8))
    whole = (tmp_path / "whole.npy").read_bytes()
    (folder / "slow.npy").write_bytes(whole[:50])
    time.sleep(0.3)
    (folder / "slow.npy").write_bytes(whole)
    total = child.wait_for(lambda total: total.inferences == 1)
    assert (total.errors, total.input_errors) == (0, 0)


def test_a_results_file_that_cannot_be_written_is_an_issue_and_the_source_goes_on(spawn, tiny, tmp_path):
    (tmp_path / "data.npz").write_bytes(write_npz({"inputs": np.zeros((1, 4), np.uint8)}))
    source = runner_protocol.ReplaySource(str(tmp_path / "data.npz"), 100)
    child = spawn(tiny("add", sources=(source,), results_file=str(tmp_path / "absent" / "results")))
    child.ready()
    child.wait_for_issue("results_failed: results cannot be written")
    total = child.wait_for(lambda total: total.inferences >= 3)
    assert (total.errors, total.input_errors) == (0, 0)


def test_an_answer_that_the_outputs_do_not_hold_is_the_model_s_own_error(spawn, tiny, tmp_path):
    (tmp_path / "data.npz").write_bytes(write_npz({"inputs": np.zeros((1, 4), np.uint8)}))
    source = runner_protocol.ReplaySource(str(tmp_path / "data.npz"), 100)
    detector = {"postprocess": Postprocess(boxes=0, scores=3)}
    child = spawn(
        tiny("add", task="detection", bundle=detector, sources=(source,), results_file=str(tmp_path / "results"))
    )
    child.ready()
    total = child.wait_for(lambda total: total.errors >= 3)
    assert total.input_errors == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_samples_that_are_no_numbers_are_input_errors_and_not_invalid_outputs(replayed, value):
    """Their outputs would be NaN, for which a candidate is rolled back at once."""
    child, _ = replayed(np.full((1, 4), value, np.float64), preprocess=Preprocess(scale=10.0))
    child.ready()
    total = child.wait_for(lambda total: total.input_errors >= 3)
    assert (total.inferences, total.errors, total.invalid_outputs) == (0, 0, 0)


def test_results_for_the_broker_go_to_the_supervisor_beside_the_heartbeats(spawn, tiny, tmp_path):
    (tmp_path / "data.npz").write_bytes(write_npz({"inputs": np.zeros((1, 4), np.uint8)}))
    source = runner_protocol.ReplaySource(str(tmp_path / "data.npz"), 100)
    child = spawn(tiny("add", sources=(source,), results_rate_hz=20.0))
    child.ready()
    first = child.expect(runner_protocol.Result)
    assert json.loads(bytes(first.line))["source"] == "replay:0"
    assert child.expect(runner_protocol.Result).left_out > 0


def test_a_task_without_a_single_answer_writes_its_outputs(spawn, tiny, tmp_path):
    (tmp_path / "data.npz").write_bytes(write_npz({"inputs": np.zeros((1, 4), np.uint8)}))
    source = runner_protocol.ReplaySource(str(tmp_path / "data.npz"), 100)
    child = spawn(tiny("add", task="raw", sources=(source,), results_file=str(tmp_path / "results")))
    child.ready()
    child.wait_for(lambda total: total.inferences >= 2)
    line = json.loads((tmp_path / "results").read_text().splitlines()[0])
    assert line["outputs"] == {"y": [1.0, 2.0, 3.0, 4.0]}
    assert child.heartbeats[-1].outputs == {}
