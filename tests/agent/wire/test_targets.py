"""Targets and engines: the tables are whole, names stay as they are on the wire, and a stranger's is refused."""

from importlib import import_module
from typing import get_args

import msgspec
import pytest
from msgspec.structs import replace

from skerry_agent.wire import codec
from skerry_agent.wire.engines import EngineName
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.manifest import Bundle, Release
from skerry_agent.wire.targets import CPU, EDGETPU, ONNX, TARGETS, TargetName, with_fallback
from skerry_agent.wire.twin import Reported
from tests.kit.messages import MESSAGES


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


NPU = b'{"target":"npu","artifacts":[{"is":"of a form that only newer agents know"}]}'


def with_npu(release):
    """A release of a newer host, for boards with an Edge TPU and for those with its successor, as JSON."""
    fields = msgspec.to_builtins(release)
    return msgspec.json.encode({**fields, "newer_bundles": [msgspec.json.decode(NPU)]})


def test_a_release_with_a_target_that_an_agent_does_not_know_is_read_for_those_that_it_does():
    read = codec.decode(with_npu(MESSAGES["release_edgetpu"]), Release)
    assert [bundle.target for bundle in read.offered] == ["edgetpu", "cpu"]
    assert read.bundle("cpu") == MESSAGES["release_edgetpu"].bundle("cpu")
    with pytest.raises(WireError, match="no bundle for target npu"):
        read.bundle("npu")


def test_a_bundle_among_the_newer_ones_counts_where_its_target_is_known():
    release = MESSAGES["release_edgetpu"]
    tpu, cpu = release.bundles
    moved = replace(release, bundles=(cpu,), newer_bundles=(msgspec.Raw(codec.encode(tpu)), msgspec.Raw(NPU)))
    read = codec.decode(codec.encode(moved), Release)
    assert read.bundle("edgetpu") == tpu
    assert read.bundles == (cpu,)


def test_a_device_whose_targets_this_code_does_not_know_is_heard_all_the_same():
    """A board with a newer agent, before its host is upgraded."""
    fields = msgspec.to_builtins(MESSAGES["reported"])
    fields["targets"] = ["npu", "cpu"]
    fields["models"]["fashion"]["current"] |= {"target": "npu", "beside": "cpu"}
    read = codec.decode(msgspec.json.encode(fields), Reported)
    assert read.targets == ("npu", "cpu")
    assert read.models["fashion"].current.target == "npu"
