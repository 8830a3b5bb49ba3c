"""ONNX models whose operators take integers (QOperator form, dynamic quantization) are understood like QDQ ones."""

import numpy as np
import pytest

from skerry_agent.patch import apply
from skerry_host.patch.layout import layout_of
from tests.kit.patch_models import OPERATORS, Net, layer, onnx, onnx_on_integers, patch_of, tuned


def nets() -> tuple[Net, Net]:
    rng = np.random.default_rng(31)
    before = tuple(layer(rng, 32, 48) for _ in range(3))
    return Net(before), Net(tuple(tuned(rng, made, 1.0) for made in before))


@pytest.mark.parametrize("zero", [0, 128, 97])
@pytest.mark.parametrize("op", OPERATORS)
def test_the_weights_of_every_operator_are_found(op: str, zero: int) -> None:
    found = layout_of(onnx_on_integers(nets()[0], op, zero)).layers
    assert [(one.weights.rows, one.weights.cols, one.weights.zero) for one in found if one.weights] == [
        (32, 48, zero)
    ] * 3
    assert [one.bias is not None for one in found] == ["b" in OPERATORS[op].split()] * 3
    assert all((one.weights.scale is not None) == ("ws" in OPERATORS[op].split()) for one in found if one.weights)


@pytest.mark.parametrize(("op", "zero"), [("QLinearConv", 128), ("MatMulInteger", 0)])
def test_a_tuned_model_costs_no_more_than_in_qdq_form(op: str, zero: int) -> None:
    old, new = (onnx_on_integers(net, op, zero) for net in nets())
    patch = patch_of(old, new)
    out = bytearray()
    apply(old, patch.data, out.extend, max_new_bytes=len(new))
    assert out == new
    assert len(patch.data) < 1.03 * len(patch_of(*map(onnx, nets())).data)


def test_a_zero_point_of_another_kind_is_no_harm() -> None:
    old, new = (onnx_on_integers(net, "QGemm", 5) for net in nets())
    strange = new.replace(b"wz0", b"w!0")  # names nothing
    assert len(patch_of(old, strange).data) < 1.2 * len(patch_of(old, new).data)
