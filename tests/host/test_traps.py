"""Every known trap of converting, and every pain that users report of it, has a test that shows the message.

Traps: 1 open ONNX shapes, 2 onnx2tf's own int8, 3 no signature, 4 old schema, 5 float16 weights, 6 clamps that stay
float, 7 QDQ by channel on an old opset, 8 Keras 3's third argument of compile, 9 operator versions, 10 int8 ends. Pains
are issues of the trackers of google-coral/edgetpu, google-coral/pycoral, tensorflow and onnx2tf.
"""

import re

import pytest

from tests.collected import ROOT, collect, written

ISSUES = {"edgetpu": (41, 317, 322, 342, 391, 627, 631, 812), "pycoral": (85, 137), "tensorflow": (49927, 58206)}
PAINS = [f"{tracker}#{number}" for tracker, numbers in {**ISSUES, "onnx2tf": (683,)}.items() for number in numbers]


@pytest.fixture(scope="module")
def docstrings() -> str:
    """What the tests say of themselves that a plain run collects."""
    found = collect(ROOT)
    told = [written(ROOT / file) for file in sorted(found.files)]
    return "\n".join(words for tests in told for test, words in tests.items() if test in found.tests)


@pytest.mark.parametrize("trap", range(1, 11))
def test_every_trap_has_a_test(docstrings: str, trap: int):
    assert re.search(rf"\btrap {trap}\b", docstrings, re.IGNORECASE)


@pytest.mark.parametrize("pain", PAINS)
def test_every_pain_has_a_test(docstrings: str, pain: str):
    assert re.search(rf"{pain}\b", docstrings)
