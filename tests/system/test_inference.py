"""What a client gets from a deployed agent is what the Interpreter gives in process; the client is not ours."""

import numpy as np
import pytest
import tritonclient.http as triton
from ai_edge_litert.interpreter import Interpreter

from tests.system.fleet import RECIPE

pytestmark = pytest.mark.system


@pytest.fixture
def interpreter(running):
    model = running.state / "bundles" / running.record().slots.current.bundle / "model.tflite"
    made = Interpreter(str(model), num_threads=1)
    made.allocate_tensors()
    return made


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_a_foreign_client_gets_the_interpreters_answer(running, interpreter, binary):
    client = triton.InferenceServerClient(running.status()["http"]["fashion"].removeprefix("http://"))
    assert client.is_model_ready("fashion")
    wanted, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    samples = np.load(RECIPE / "evaluation.npz")["inputs"][:8]
    metadata = client.get_model_metadata("fashion")
    for sample in samples:
        data = (sample.astype(np.int16) - 128).astype(np.int8).reshape(wanted["shape"])
        tensor = triton.InferInput(metadata["inputs"][0]["name"], list(data.shape), "INT8")
        tensor.set_data_from_numpy(data, binary_data=binary)
        output = triton.InferRequestedOutput(metadata["outputs"][0]["name"], binary_data=binary)
        answer = client.infer("fashion", [tensor], outputs=[output]).as_numpy(output.name())
        interpreter.set_tensor(wanted["index"], data)
        interpreter.invoke()
        assert np.array_equal(answer, interpreter.get_tensor(given["index"]))
    client.close()


def test_a_foreign_client_sends_samples_as_they_are_and_gets_labels(running, interpreter):
    """Labels and quality have come with the release, and the client knows no integer."""
    data = np.load(RECIPE / "evaluation.npz")
    samples = data["inputs"][:32]
    wanted, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    with triton.InferenceServerClient(running.status()["http"]["fashion"].removeprefix("http://")) as client:
        metadata = client.get_model_metadata("fashion")
        tensor = triton.InferInput("input", list(samples.shape), "FP32")
        tensor.set_data_from_numpy(samples.astype(np.float32))
        scores = client.infer("fashion", [tensor]).as_numpy("output")
        best = triton.InferRequestedOutput("output", class_count=1)
        labels = client.infer("fashion", [tensor], outputs=[best]).as_numpy("output")
    for row, sample in zip(scores, samples, strict=True):
        interpreter.set_tensor(
            wanted["index"], (sample.astype(np.int16) - 128).astype(np.int8).reshape(wanted["shape"])
        )
        interpreter.invoke()
        scale, zero = given["quantization"]
        np.testing.assert_allclose(
            row, (interpreter.get_tensor(given["index"])[0].astype(int) - zero) * scale, atol=1e-6
        )
    assert (scores.argmax(axis=1) == data["labels"][:32]).mean() > 0.8
    assert b"Ankle boot" in labels[scores.argmax(axis=1) == 9][0, 0]
    assert metadata["parameters"]["quality"]["metric"] == "top1"
    assert metadata["parameters"]["labels"]["count"] == 10
