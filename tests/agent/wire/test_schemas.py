"""A manifest that agents of schema 1 would misread has schema 2, and they refuse it; all others keep schema 1."""

import subprocess
import sys

import msgspec
import pytest
from msgspec.structs import replace

from skerry_agent.wire import codec
from skerry_agent.wire.manifest import Bundle, Join, Postprocess, Preprocess, Release, TensorSpec
from skerry_agent.wire.schemas import newer_meanings, schema_of
from tests.kit.fielded import checked_out, environment
from tests.kit.messages import MESSAGES

OLD_AGENT = "d44d72f"
"""The last commit whose agents know neither several inputs with preprocessing, nor states, nor outputs in parts."""
READS = """
import sys
from skerry_agent.updater.verify import release_in
class Trust:
    def verify(self, raw, *_): return raw
for line in sys.stdin.buffer:
    try: print(release_in(line.strip(), Trust()).name)
    except Exception as error: print(error)
"""
PICTURE, VECTOR = TensorSpec("p", "int8", (1, 4, 4, 3), 0.1), TensorSpec("v", "int8", (1, 2), 0.1)
SCALED = Preprocess(scale=0.5)
ONE = Bundle("cpu", (), (PICTURE,), (VECTOR,), preprocess=SCALED)
TWO = Bundle("cpu", (), (PICTURE, VECTOR), (VECTOR,))
READ_AS_BEFORE = {
    "one input, preprocessed": ONE,
    "boxes of ssd": replace(ONE, task="detection", postprocess=Postprocess("ssd")),
    "a task that they give raw outputs of": replace(ONE, task="segmentation", postprocess=Postprocess(output=1)),
    "several plain inputs": TWO,
    "several plain inputs as builds write them": replace(TWO, preprocesses=(Preprocess(),)),
}
MISREAD = {
    "first of several": replace(TWO, preprocess=SCALED),
    "second of several": replace(TWO, preprocesses=(SCALED,)),
    "states": replace(TWO, feedback={"v": "v"}),
    "a single state": replace(ONE, feedback={"p": "v"}),
    "parts": replace(ONE, task="segmentation", joins=(Join("y", (0, 1), 1),)),
    "picture second": replace(TWO, task="detection", inputs=(VECTOR, PICTURE)),
    **{name: replace(ONE, postprocess=Postprocess(name)) for name in ("boxes", "yolo", "anchors", "cells", "classes")},
}


@pytest.mark.parametrize("name", READ_AS_BEFORE)
def test_what_older_agents_read_rightly_keeps_schema_1(name):
    assert schema_of([READ_AS_BEFORE[name]]) == 1


@pytest.mark.parametrize("name", MISREAD)
def test_what_older_agents_would_misread_has_schema_2_and_is_named(name):
    assert schema_of([ONE, MISREAD[name]]) == 2
    assert newer_meanings([ONE, MISREAD[name]])


def test_an_agent_of_before_refuses_by_name_what_it_would_misread_and_reads_the_rest(tmp_path):
    """By the code of then, not by a copy of it."""
    old, bundles = checked_out(tmp_path, OLD_AGENT), {**READ_AS_BEFORE, **MISREAD}
    (artifact,) = MESSAGES["release"].bundles[0].artifacts[:1]
    releases = [
        replace(MESSAGES["release"], schema=schema_of([one]), bundles=(replace(one, artifacts=(artifact,)),))
        for one in bundles.values()
    ]
    lines = b"\n".join(map(codec.encode, releases))
    done = subprocess.run(
        [sys.executable, "-c", READS], input=lines, capture_output=True, check=True, env=environment(old), timeout=60
    )
    said = dict(zip(bundles, done.stdout.decode().splitlines(), strict=True))
    assert {said[name] for name in READ_AS_BEFORE} == {MESSAGES["release"].name}
    refused = "manifest refused: it has schema 2, and this agent reads 1: install a newer skerry-agent"
    assert {said[name] for name in MISREAD} == {refused}


def test_a_manifest_of_schema_2_is_read_and_one_of_schema_3_is_not():
    newer = replace(MESSAGES["release"], schema=2)
    assert codec.decode(codec.encode(newer), Release) == newer
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(msgspec.to_builtins(newer) | {"schema": 3}, Release)
