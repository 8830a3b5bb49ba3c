"""Real runners of models that the builder makes, with several inputs and with states that are fed back."""

import io
import json
import urllib.request

import numpy as np
import pytest

from skerry_agent.ports.runner_protocol import DirectorySource, Drain, Drained, Job, ReplaySource
from skerry_agent.processing import Feeding
from skerry_agent.wire.manifest import Bundle
from skerry_host.builder.build import Build, BuildRequest, build
from skerry_host.builder.runtime.session import Session
from tests.kit.recipes import NOW
from tests.kit.several_inputs import fading_sum, picture_and_vector, pictures_and_vectors, waves, write_recipe
from tests.kit.waiting import eventually

FED_BACK = '[inputs.before]\nfeedback = "after"'
SCALED = "[inputs.picture]\nscale = 0.00392156862745098"


@pytest.fixture(scope="module")
def fading(tmp_path_factory) -> Build:
    folder = tmp_path_factory.mktemp("fading")
    recipe = write_recipe(folder / "r", fading_sum(), waves(), more=FED_BACK)
    return build(BuildRequest(recipe, "raspberry-pi-4", NOW, "1.0.0", folder / "out", ("cpu",)))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Build:
    folder = tmp_path_factory.mktemp("pictures")
    recipe = write_recipe(
        folder / "r", picture_and_vector(), pictures_and_vectors(), task="classification", more=SCALED
    )
    return build(BuildRequest(recipe, "raspberry-pi-4", NOW, "1.0.0", folder / "out", ("cpu",)))


def bundle_of(built: Build) -> Bundle:
    (bundle,) = built.record.bundles
    return bundle


def job(built: Build, listener, **more) -> Job:
    listen = listener.fileno() if listener is not None else None
    return Job("m", "m@1.0.0", str(built.path), bundle_of(built), listen_fd=listen, beat_s=0.1, **more)


def ask(listener, inputs: dict, **parameters):
    """The outputs by name; the error's text where there is one."""
    entries = [
        {
            "name": name,
            "shape": array.shape,
            "datatype": {"f": "FP32", "u": "UINT8", "i": "INT8"}[array.dtype.kind],
            "data": array.tolist(),
        }
        for name, array in inputs.items()
    ]
    body = json.dumps({"inputs": entries, "parameters": parameters}).encode()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/v2/models/m/infer"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=20) as answer:
            found = json.load(answer)["outputs"]
    except urllib.error.HTTPError as error:
        return json.load(error)["error"]
    return {one["name"]: np.reshape(one["data"], one["shape"]) for one in found}


def expected(built: Build, samples) -> list[np.ndarray]:
    """The real values of the first output on the host, sample by sample of one stream."""
    session, bundle = Session((built.path / "model.tflite").read_bytes()), bundle_of(built)
    spec, feeding = bundle.outputs[0], Feeding.of(bundle)
    raw = [session.run_raw(sample, feeding)[0] for sample in samples]
    return [(one.astype(np.float64) - spec.zero_point) * spec.scale for one in raw]


def test_a_picture_and_a_vector_are_answered_over_the_api_as_on_the_host(spawn, pictures, listener):
    child = spawn(job(pictures, listener))
    assert child.ready().samples > 0
    arrays = pictures_and_vectors(30)
    samples = list(zip(arrays["input_picture"], arrays["input_vector"], strict=True))
    wanted = expected(pictures, samples)
    for (picture, vector), scores in zip(samples[:6], wanted, strict=False):
        found = ask(listener, {"picture": picture, "vector": vector})
        np.testing.assert_allclose(found["scores"], scores, atol=1e-5)
    found = ask(listener, {"input_1": np.stack(arrays["input_vector"][:3]), "input_0": arrays["input_picture"][:3]})
    np.testing.assert_allclose(found["output"], np.concatenate(wanted[:3]), atol=1e-5)
    assert "the model takes" in ask(listener, {"picture": samples[0][0]})


def test_a_folder_takes_files_with_an_array_for_each_input(spawn, pictures, tmp_path):
    folder, results = tmp_path / "in", tmp_path / "results.jsonl"
    child = spawn(job(pictures, None, sources=(DirectorySource(str(folder), 0.05),), results_file=str(results)))
    child.ready()
    arrays = pictures_and_vectors(3)
    for at in range(3):
        stream = io.BytesIO()
        np.savez(stream, input_picture=arrays["input_picture"][at], input_vector=arrays["input_vector"][at])
        (folder / f".{at}").write_bytes(stream.getvalue())
        (folder / f".{at}").rename(folder / f"{at}.npz")
    np.savez(folder / "half.npz", input_picture=arrays["input_picture"][0])
    child.wait_for(lambda total: total.inferences == 3 and total.input_errors == 1)
    eventually(lambda: len(results.read_text().splitlines()) == 3, "three results")
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert [line["index"] for line in lines] == arrays["labels"].tolist()
    assert (folder / "bad" / "half.npz").exists()


def test_states_go_from_one_sample_of_a_sequence_to_the_next(spawn, fading, listener):
    child = spawn(job(fading, listener))
    child.ready()
    samples = [(row,) for row in waves(6)["inputs"]]
    wanted = expected(fading, samples)
    for name in ("first", "second"):
        for (row,), y in zip(samples, wanted, strict=True):
            np.testing.assert_allclose(ask(listener, {"x": row}, sequence_id=name)["y"], y, atol=1e-5)
    alone = ask(listener, {"x": samples[3][0]})["y"]  # without a sequence it is the first of its own
    assert np.abs(alone - wanted[3]).max() > 0.01
    batch = ask(listener, {"x": np.stack([row for (row,) in samples])})["y"]
    np.testing.assert_allclose(batch, np.concatenate(wanted), atol=1e-5)
    again = ask(listener, {"x": samples[0][0]}, sequence_id="first", sequence_start=True)["y"]
    np.testing.assert_allclose(again, wanted[0], atol=1e-5)
    assert "begin it with sequence_start" in ask(
        listener, {"x": samples[0][0]}, sequence_id="new", sequence_start=False
    )
    ask(listener, {"x": samples[0][0]}, sequence_id="first", sequence_end=True)
    assert "is not known here" in ask(listener, {"x": samples[0][0]}, sequence_id="first", sequence_start=False)


def test_a_client_may_keep_the_states_itself(spawn, fading, listener):
    child = spawn(job(fading, listener))
    child.ready()
    state, wanted = np.zeros((1, 4), np.float32), expected(fading, [(row,) for row in waves(4)["inputs"]])
    for row, y in zip(waves(4)["inputs"], wanted, strict=True):
        found = ask(listener, {"x": row, "before": state})
        np.testing.assert_allclose(found["y"], y, atol=0.05)
        state = found["after"].astype(np.float32)


def test_a_replayed_stream_begins_with_zeros_each_time(spawn, fading, tmp_path):
    results = tmp_path / "results.jsonl"
    np.savez(tmp_path / "stream.npz", **waves(5))
    source = ReplaySource(str(tmp_path / "stream.npz"), 100.0)
    child = spawn(job(fading, None, sources=(source,), results_file=str(results)))
    child.ready()
    child.wait_for(lambda total: total.inferences >= 12)
    child.say(Drain(grace_s=0))
    child.expect(Drained)
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    by_place = {}
    for line in lines:
        by_place.setdefault(line["source"], []).append(line["outputs"]["y"])
    assert all(values.count(values[0]) == len(values) for values in by_place.values())
    assert len({str(values[0]) for values in by_place.values()}) == 5
