"""What is beside the model in a bundle's folder: labels and quality, read late and trusted little."""

import pytest

from skerry_agent.runner.http.served import served_of
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.codec import encode
from skerry_agent.wire.manifest import QUALITY_FILE, Artifact, Bundle, Quality, TensorSpec
from tests.kit.serving import job_of

SPEC = TensorSpec("x", "int8", (1, 2), 0.5, 0)
QUALITY = Quality("top1", 100, 0.9, 0.89, (0.8, 0.95), (0.8, 0.95), {"y": 30.0}, 100, 30)


@pytest.fixture
def job(tmp_path):
    """A job whose bundle has these labels; `written` is what the file holds in their place."""

    def make(labels=None, written=None, **more):
        artifacts = [Artifact("model.tflite", "model", describe(b"x"))]
        if labels is not None:
            artifacts.append(Artifact("labels.txt", "labels", describe(labels)))
            (tmp_path / "labels.txt").write_bytes(labels if written is None else written)
        return job_of(tmp_path, Bundle("cpu", tuple(artifacts), (SPEC,), (SPEC,), task="classification"), "m", **more)

    return make


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (b"cat\ndog\n", ("cat", "dog")),
        ("Käse\nno newline at the end".encode(), ("Käse", "no newline at the end")),
        (b"\n", ("",)),
        (b"safe\n\x1b[2Jcleared\n", ("safe", "?[2Jcleared")),
        ("a\n\u3000\n \n\u2028x\n".encode(), ("a", "\u3000", " ", "?x")),
        (b"\xff\xfe\n", ()),
        (None, ()),
    ],
)
def test_labels_are_the_lines_of_their_file_without_what_a_terminal_obeys(job, labels, names):
    assert served_of(job(labels), None).labels.names == names


def test_labels_that_are_not_those_of_the_manifest_are_not_given(job):
    served = served_of(job(b"cat\ndog\n", written=b"dog\ncat\n"), None)
    assert served.labels.names == ()
    assert served.labels.name(0) is None


def test_labels_are_read_when_somebody_asks(job, tmp_path):
    served = served_of(job(b"cat\ndog\n"), None)
    (tmp_path / "labels.txt").write_bytes(b"dog\ncat\n")
    assert served.labels.names == ()


def test_quality_is_what_the_host_measured_and_unknown_where_an_older_agent_made_the_bundle(job, tmp_path):
    assert served_of(job(), None).quality is None
    (tmp_path / QUALITY_FILE).write_bytes(encode(QUALITY))
    assert served_of(job(), None).quality == QUALITY
    (tmp_path / QUALITY_FILE).write_bytes(b"")  # power was lost
    assert served_of(job(), None).quality is None


def test_what_tensors_hold_for_applications_that_do_not_say_is_the_devices_to_decide(job):
    assert served_of(job(api_values="raw"), None).values == "raw"
    assert served_of(job(), None).values is None
