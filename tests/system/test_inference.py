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
