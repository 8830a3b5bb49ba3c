"""Bundles as a device keeps them: an agent that goes back to an older one serves nothing that it would misread."""

import subprocess
import sys

import pytest

from skerry_agent.state.slots import read_bundle, write_bundle
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.manifest import Artifact, Bundle, Postprocess, Preprocess, TensorSpec
from tests.kit.fielded import checked_out, environment

OLD_AGENT = "d44d72f"
READS = """
import sys
from pathlib import Path
from skerry_agent.state.slots import read_bundle
for folder in sys.argv[1:]:
    try: print(read_bundle(Path(folder)).task)
    except Exception as error: print(type(error).__name__)
"""
MODEL = (Artifact("model.tflite", "model", describe(b"x")),)
X, STATE = TensorSpec("x", "int8", (1, 2), 0.1), TensorSpec("s", "int8", (1, 2), 0.1)
PLAIN = Bundle("cpu", MODEL, (X,), (X,), "classification", Preprocess(scale=0.5))
NEWER = {
    "states": Bundle("cpu", MODEL, (X, STATE), (X, STATE), "raw", feedback={"s": "s"}),
    "several inputs": Bundle("cpu", MODEL, (X, STATE), (X,), "raw", Preprocess(scale=0.5)),
    "decoder": Bundle("cpu", MODEL, (X,), (X,), "classification", postprocess=Postprocess("classes")),
}


@pytest.mark.parametrize("bundle", [PLAIN, *NEWER.values()], ids=["plain", *NEWER])
def test_a_bundle_is_read_as_it_was_written(tmp_path, bundle):
    write_bundle(tmp_path, bundle)
    assert read_bundle(tmp_path) == bundle


def test_an_agent_of_before_reads_what_it_knows_and_finds_nothing_where_it_would_answer_wrongly(tmp_path):
    folders = {name: tmp_path / name for name in ("plain", *NEWER)}
    for name, folder in folders.items():
        folder.mkdir()
        write_bundle(folder, NEWER.get(name, PLAIN))
    old = checked_out(tmp_path / "old", OLD_AGENT)
    command = [sys.executable, "-c", READS, *map(str, folders.values())]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment(old), timeout=60)
    assert done.stdout.split() == ["classification", *["DiskError"] * len(NEWER)]
