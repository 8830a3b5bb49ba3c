"""Every call of tritonclient's HTTP client, which is not ours: it works, or is refused in one line."""

import inspect

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from skerry_agent.wire.manifest import Preprocess
from tests.kit.serving import serving
from tests.kit.tiny_models import make_job, tiny_model

REFUSED = {
    "load_model": ("other",),
    "unload_model": ("tiny",),
    "update_trace_settings": (),
    "get_trace_settings": (),
    "update_log_settings": ({},),
    "get_log_settings": (),
    "get_system_shared_memory_status": (),  # on the Unix socket only
    "register_system_shared_memory": ("r", "/k", 4),
    "unregister_system_shared_memory": (),
    "get_cuda_shared_memory_status": (),
    "register_cuda_shared_memory": ("r", b"h", 0, 4),
    "unregister_cuda_shared_memory": (),
}
WORKS = {
    "is_server_live": ((), True),
    "is_server_ready": ((), True),
    "is_model_ready": (("tiny", "1.0.0"), True),
    "get_server_metadata": ((), "name"),
    "get_model_metadata": (("tiny", "1.0.0"), "inputs"),
    "get_model_config": (("tiny", "1.0.0"), "max_batch_size"),
    "get_model_repository_index": ((), None),
    "get_inference_statistics": (("tiny", "1.0.0"), "model_stats"),
}
ELSEWHERE = {"infer", "async_infer", "generate_request_body", "parse_response_body", "close", "register_plugin"}
ELSEWHERE |= {"unregister_plugin", "plugin"}


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """An int8 model whose reals are 1 + (q - 3) / 2, served in this process."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "model.tflite").write_bytes(tiny_model("copy"))
    with serving(make_job(folder, bundle={"preprocess": Preprocess(scale=0.5)})) as at:
        yield at


@pytest.fixture
def client(address):
    with triton.InferenceServerClient(address) as made:
        yield made


def test_no_call_of_the_client_is_forgotten():
    public = {name for name, _ in inspect.getmembers(triton.InferenceServerClient, callable) if name[0] != "_"}
    assert public <= REFUSED.keys() | WORKS.keys() | ELSEWHERE


@pytest.mark.parametrize("call", WORKS)
def test_it_works(client, call):
    arguments, expected = WORKS[call]
    got = getattr(client, call)(*arguments)
    if isinstance(expected, bool):
        assert got is expected
    elif expected is not None:
        assert got[expected]
    else:
        assert got == [{"name": "tiny", "version": "1.0.0", "state": "READY", "reason": ""}]


@pytest.mark.parametrize("call", REFUSED)
def test_it_is_refused_in_one_line(client, call):
    with pytest.raises(InferenceServerException) as refused:
        getattr(client, call)(*REFUSED[call])
    assert refused.value.status() in {"400", "404"}
    assert refused.value.message().isprintable()


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("way", ["infer", "async_infer", "by hand"])
def test_floats_go_in_and_come_out_of_an_int8_model(client, address, binary, way):
    tensor = triton.InferInput("input", [3, 4], "FP32")
    tensor.set_data_from_numpy(np.arange(12, dtype=np.float32).reshape(3, 4), binary_data=binary)
    outputs = [triton.InferRequestedOutput("output", binary_data=binary)]
    if way == "by hand":
        body, size = triton.InferenceServerClient.generate_request_body([tensor], outputs=outputs)
        headers = {"Inference-Header-Content-Length": str(size)} if size is not None else {}
        response = client._post("v2/models/tiny/infer", body, headers, None)
        length = response.get("inference-header-content-length")
        answer = client.parse_response_body(response.read(), header_length=length and int(length))
    elif way == "infer":
        answer = client.infer("tiny", [tensor], "1.0.0", outputs, "id")
    else:
        answer = client.async_infer("tiny", [tensor], outputs=outputs).get_result()
    assert answer.get_response()["model_version"] == "1.0.0"
    assert answer.as_numpy("output").tolist() == (np.arange(12).reshape(3, 4) / 2).tolist()
