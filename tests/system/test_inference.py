"""What a client gets from a deployed agent is what the Interpreter gives in process; the client is not ours."""

import subprocess

import numpy as np
import pytest
import tritonclient.http as triton
from ai_edge_litert.interpreter import Interpreter

from tests.kit.waiting import eventually
from tests.system.fleet import FIRST, RECIPE

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


def status_of(url, host=None, token=None, cert=None):
    """What a request for the model gets, by curl: another client than our own."""
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"{url}/v2/models/fashion"]
    command += ["-H", f"host: {host}"] if host else []
    command += ["-H", f"authorization: Bearer {token}"] if token else []
    command += ["--cacert", str(cert)] if cert else []
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout


def test_a_page_with_a_rebound_name_is_not_answered_by_a_device(running):
    """Security section 9: before, any page that a browser on the device showed could ask its models."""
    url = running.status()["http"]["fashion"]
    assert status_of(url) == "200"
    assert [status_of(url, host) for host in ("localhost", "evil.example", "127.0.0.1.evil.example:80")] == [
        "200", "421", "421",
    ]  # fmt: skip


def test_an_api_for_other_machines_has_tls_and_a_token(device):
    token = "a-token-that-is-long-enough"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", device.folder / "api.key", "-out", device.folder / "api.pem"]
    subprocess.run([*made, *name, *files], check=True, capture_output=True)
    (device.folder / "api.token").write_text(token)
    (device.folder / "api.token").chmod(0o600)
    said = 'tls_cert = "api.pem"\ntls_key = "api.key"\ntoken_file = "api.token"\n'
    device.configure("models.fashion", f'http = "0.0.0.0:0"\n{said}')
    device.start()
    status = device.await_serving(FIRST)
    url = status["http"]["fashion"].replace("0.0.0.0", "localhost")
    assert url.startswith("https://")
    assert status["issues"] == []
    cert = device.folder / "api.pem"
    assert status_of(url, token=token, cert=cert) == "200"
    assert status_of(url, cert=cert) == "401"
    assert status_of(url, host="evil.example", token=token, cert=cert) == "421"
    assert status_of(url.replace("https", "http"), token=token) == "000"
    (device.folder / "api.token").unlink()
    assert status_of(url, token=token, cert=cert) == "401"
    eventually(lambda: any("api_failed" in line for line in device.status()["issues"]), "it is said as an issue")


def test_an_api_that_was_open_before_serves_on_and_says_so(device):
    device.configure("models.fashion", 'http = "0.0.0.0:0"')
    device.start()
    status = device.await_serving(FIRST)
    url = status["http"]["fashion"].replace("0.0.0.0", "127.0.0.1")
    assert status_of(url, host="vision.factory.example") == "200"
    (issue,) = status["issues"]
    assert "other machines can use the inference API without TLS, or without a token" in issue
