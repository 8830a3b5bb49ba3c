"""A detector whose boxes and scores are one output, built from its recipe: it works on integers, and says how."""

import numpy as np
import pytest

from skerry_agent.processing import Detections, Feeding, answer_for, dequantize, join_outputs
from skerry_agent.wire.manifest import Join
from skerry_host.builder.build import Build, BuildRequest, build
from skerry_host.builder.runtime.session import Session
from tests.kit.heads import channels_first, pictures
from tests.kit.recipes import NOW

RECIPE = """schema = 1
name = "head"
task = "detection"
license = "Apache-2.0"
[source]
file = "model.tflite"
[preprocess]
scale = 0.02
offset = -2.5
[postprocess]
decoder = "yolo"
units = "pixels"
min_score = 0.6
[data]
calibration = "calibration.npz"
evaluation = "evaluation.npz"
min_calibration_samples = 32
[quantize]
search = false
[budget]
max_accuracy_drop = 0.2
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Build:
    folder = tmp_path_factory.mktemp("head")
    (folder / "model.tflite").write_bytes(channels_first())
    (folder / "recipe.toml").write_text(RECIPE)
    images = np.clip(pictures(72) * 50 + 125, 0, 255).astype(np.uint8)
    np.savez(folder / "calibration.npz", inputs=images[:36])
    np.savez(folder / "evaluation.npz", inputs=images[36:])
    return build(BuildRequest(folder, "raspberry-pi-4", NOW, out=folder / "out", targets=("cpu",)))


def test_the_release_says_how_its_parts_join_and_what_each_is_worth(built: Build):
    (bundle,) = built.record.bundles
    assert bundle.joins == (Join("y", (0, 1), 1),)
    assert [spec.shape for spec in bundle.outputs] == [(1, 4, 16), (1, 3, 16)]
    boxes, scores = built.record.quality.channels
    assert (boxes.output, boxes.first, boxes.last, scores.first, scores.last) == ("y", 0, 3, 4, 6)
    assert min(one.steps or 0 for one in (boxes, scores)) > 50
    assert "worst channels" in [check.name for check in built.record.checks]


def test_a_device_decodes_the_parts_as_the_host_did(built: Build):
    """The scores of a model whose output is whole are zero, and it finds nothing."""
    (bundle,) = built.record.bundles
    session = Session((built.path / "model.tflite").read_bytes())
    image = np.clip(pictures(72) * 50 + 125, 0, 255).astype(np.uint8)[40]
    raw = session.run(session.tensors((image,), _feeding(bundle)))
    found = answer_for(bundle, raw, image.shape[:2])
    assert isinstance(found, Detections)
    assert found.found
    (real,) = join_outputs([dequantize(p, s) for p, s in zip(raw, bundle.outputs, strict=True)], bundle.joins)
    assert max(one.score for one in found.found) == pytest.approx(float(real[0, 4:].max()))


def test_the_report_shows_both_models_boxes_and_each_block_of_channels(built: Build):
    assert "Boxes, float and int8" in built.report
    assert built.report.count("data:image/png;base64,") == 4
    assert len(built.report) < 3_000_000
    assert '<td>y</td><td class="num">4–6</td>' in built.report


def _feeding(bundle):
    return Feeding((bundle.preprocess, *bundle.preprocesses), bundle.feedback)
