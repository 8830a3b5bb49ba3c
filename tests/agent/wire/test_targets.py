"""Targets and engines: the tables are whole, names stay as they are on the wire, and a stranger's is refused."""

from importlib import import_module
from typing import get_args

import pytest

from skerry_agent.wire import codec
from skerry_agent.wire.engines import EngineName
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.manifest import Bundle
from skerry_agent.wire.targets import CPU, EDGETPU, ONNX, TARGETS, TargetName, with_fallback


def test_the_table_holds_every_name_that_messages_may_have():
    assert set(TARGETS) == set(get_args(TargetName)) >= {"cpu", "edgetpu", "onnx"}
    assert all(target.name == name for name, target in TARGETS.items())


@pytest.mark.parametrize("target", TARGETS.values(), ids=str)
def test_a_fallback_runs_without_an_accelerator(target):
    assert target.fallback is None or not TARGETS[target.fallback].exclusive
    assert target.exclusive == (target.fallback is not None)


def test_what_a_device_without_its_accelerator_needs():
    assert with_fallback(EDGETPU.name) == ("edgetpu", "cpu")
    assert with_fallback(CPU.name) == ("cpu",)
    assert with_fallback(ONNX.name) == ("onnx",)
    assert with_fallback("npu") == ("npu",)


def test_a_target_of_a_newer_host_is_refused_by_name():
    with pytest.raises(WireError, match="target"):
        codec.convert({"target": "npu", "artifacts": [], "inputs": [], "outputs": []}, Bundle)


@pytest.mark.parametrize("name", get_args(EngineName))
def test_every_engine_has_a_module_that_opens_and_checks(name):
    module = import_module(f"skerry_agent.runner.engines.{name}")
    assert callable(getattr(module, f"open_{name}"))
    assert callable(module.check)
