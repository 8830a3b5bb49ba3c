"""Files that are no source here are told what they are: other tools' models, pointers, pages, weights."""

import json
import struct
from pathlib import Path

import pytest

from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.sources.kinds import kind_of
from skerry_host.cli.main import run

SAFE = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
FILES = {
    "safetensors": ("m.safetensors", struct.pack("<Q", len(SAFE)) + SAFE, "weights without a network (safetensors)"),
    "safetensors under another name": ("m.tflite", struct.pack("<Q", len(SAFE)) + SAFE, "(safetensors)"),
    "GGUF": ("m.gguf", b"GGUF\3\0\0\0", "a language model for llama.cpp"),
    "GGUF under another name": ("m.onnx", b"GGUF\3\0\0\0", "a language model for llama.cpp"),
    "PyTorch": ("m.pt", b"PK\3\4", "a PyTorch or pickle file"),
    "a pickle called Keras": ("m.keras", b"\x80\x04\x95", "a PyTorch or pickle file"),
    "joblib": ("m.joblib", b"\x80\x04\x95", "a PyTorch or pickle file"),
    "Core ML": ("m.mlmodel", b"\x08\x05", "a Core ML model"),
    "TensorRT": ("m.engine", b"ptrt", "an engine of TensorRT"),
    "OpenVINO": ("m.xml", b'<?xml version="1.0"?><net name="m">', "a model of OpenVINO"),
    "a frozen graph": ("m.pb", b"\n\x10", "of TensorFlow 1"),
    "Caffe": ("m.caffemodel", b"\n\x04", "a Caffe model"),
    "Darknet": ("m.weights", b"\0\0\0\0", "weights of Darknet"),
    "PaddlePaddle": ("m.pdmodel", b"\n\x04", "a PaddlePaddle model"),
    "ncnn": ("m.param", b"7767517", "a model of ncnn"),
    "compiled for another accelerator": ("m.rknn", b"RKNN", "compiled for another accelerator"),
    "a zip": ("m.zip", b"PK\3\4", "a zip archive"),
    "Keras weights": ("m.weights.h5", b"\x89HDF\r\n\x1a\n", "Keras weights without a network"),
    "a pointer": ("m.onnx", b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
    "a page": ("m.tflite", b"\n<!DOCTYPE html><html>404", "a web page, not a model"),
}


@pytest.mark.parametrize(("name", "content", "words"), FILES.values(), ids=FILES.keys())
def test_what_is_no_source_is_told_what_it_is_and_what_to_do(name, content, words, tmp_path: Path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError) as refused:
        kind_of(tmp_path / name)
    assert words in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize(
    ("name", "inner", "words"),
    [
        ("m.mlpackage", "Manifest.json", "a Core ML model"),
        ("ckpt", "model.ckpt.index", "a TensorFlow checkpoint"),
        ("export", "net.onnx", "perhaps export/net.onnx"),
        ("empty", "notes.txt", "without saved_model.pb; name a model file"),
    ],
)
def test_folders_are_told_apart_too(name, inner, words, tmp_path: Path):
    (tmp_path / name).mkdir()
    (tmp_path / name / inner).touch()
    with pytest.raises(ModelError) as refused:
        kind_of(tmp_path / name)
    assert words in str(refused.value)


def test_a_model_with_a_wrong_name_is_a_model_all_the_same(tmp_path: Path):
    (tmp_path / "m.bin").write_bytes(b"\x1c\0\0\0TFL3")
    assert kind_of(tmp_path / "m.bin") == "tflite"


@pytest.mark.parametrize("command", ["inspect", "profile"])
def test_commands_that_look_at_a_file_say_so_too(command: str, tmp_path: Path, capsys):
    (tmp_path / "m.gguf").write_bytes(b"GGUF\3\0\0\0")
    assert run(["model", command, str(tmp_path / "m.gguf")]) == 2
    assert "a language model for llama.cpp" in capsys.readouterr().err
