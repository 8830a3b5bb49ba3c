"""Recognises files that are no source here: other tools' models, and what was meant to be one and is not.

By the first bytes where a format has such, else by the name's end. Opens no file: the first bytes are handed over.
"""

from dataclasses import dataclass
from pathlib import Path

HEAD_BYTES = 512


@dataclass(frozen=True, slots=True)
class Foreign:
    """What a file is, and how it becomes a source."""

    what: str
    hint: str


_ONNX_OF_TORCH = "export the model with torch.onnx.export"
_PICKLE = Foreign("a PyTorch or pickle file", f"opening a pickle runs code: {_ONNX_OF_TORCH} instead")
_WEIGHTS = Foreign(
    "a file of weights without a network (safetensors)",
    f"build the network with its own code, load the weights, and {_ONNX_OF_TORCH}",
)
_LLM = Foreign("a language model for llama.cpp (GGUF)", "those are not for the boards that Skerry builds for")
_POINTER = Foreign("a pointer of Git LFS, not the file itself", "fetch the file with `git lfs pull`")
_PAGE = Foreign("a web page, not a model: a download that failed", "download it again, and look at what comes")
_COREML = Foreign("a Core ML model", "export the model again from its source, as ONNX or TFLite")
_TENSORRT = Foreign("an engine of TensorRT, for one kind of GPU", "give the ONNX that it was built from")
_OPENVINO = Foreign("a model of OpenVINO", "give the model that it was converted from")
_ZIP = Foreign("a zip archive", "unpack it and name the model in it; one of Keras ends in .keras")
_FROZEN = Foreign(
    "a frozen graph or other message of TensorFlow 1", "save it as a SavedModel, a folder with saved_model.pb"
)
_CAFFE = Foreign("a Caffe model", "convert it to ONNX with the tool of its framework")
_DARKNET = Foreign("a file of weights of Darknet", "export the model as ONNX with the tool that trained it")
_PADDLE = Foreign("a PaddlePaddle model", "convert it with paddle2onnx")
_NCNN = Foreign("a model of ncnn or MNN", "give the ONNX that it was converted from")
_COMPILED = Foreign("a model compiled for another accelerator", "give the model from before the compiler")
_CHECKPOINT = Foreign(
    "a TensorFlow checkpoint: weights without a network", "load it in its own code and save a SavedModel"
)
_KERAS_WEIGHTS = Foreign("a file of Keras weights without a network", "save the whole model with model.save")
_TREES = Foreign("a model of trees or tables, not a neural network", "give a neural network: trees have no int8 form")

_HEADS: tuple[tuple[bytes, Foreign], ...] = (
    (b"version https://git-lfs", _POINTER),
    (b"GGUF", _LLM),
    (b"ptrt", _TENSORRT),
    (b"\x80\x02", _PICKLE),
    (b"\x80\x03", _PICKLE),
    (b"\x80\x04", _PICKLE),
    (b"\x80\x05", _PICKLE),
)
_SUFFIXES: dict[str, Foreign] = {
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin", ".joblib", ".pte", ".ptl"), _PICKLE),
    ".safetensors": _WEIGHTS,
    ".gguf": _LLM,
    ".mlmodel": _COREML,
    ".mlpackage": _COREML,
    **dict.fromkeys((".engine", ".plan", ".trt"), _TENSORRT),
    ".zip": _ZIP,
    ".pb": _FROZEN,
    ".pbtxt": _FROZEN,
    **dict.fromkeys((".caffemodel", ".prototxt"), _CAFFE),
    ".weights": _DARKNET,
    **dict.fromkeys((".pdmodel", ".pdiparams"), _PADDLE),
    **dict.fromkeys((".param", ".mnn"), _NCNN),
    **dict.fromkeys((".rknn", ".hef", ".blob", ".dlc", ".kmodel"), _COMPILED),
    ".index": _CHECKPOINT,
    **dict.fromkeys((".ubj", ".cbm", ".lgb"), _TREES),
}


def foreign(path: Path, head: bytes) -> Foreign | None:
    """What a file is that is no source; None where it may be one. A head counts before a name."""
    named = _SUFFIXES.get(path.suffix.lower())
    if path.name.lower().endswith(".weights.h5"):
        return _KERAS_WEIGHTS
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return _PAGE
    if text.startswith(b"<?xml") and b"<net" in text:
        return _OPENVINO
    if _is_safetensors(head):
        return _WEIGHTS
    return next((found for magic, found in _HEADS if head.startswith(magic)), named)


def foreign_folder(folder: Path) -> Foreign | None:
    """The same of a folder, by the names of what is in it."""
    names = {path.name for path in folder.iterdir()}
    if folder.suffix.lower() == ".mlpackage":
        return _COREML
    if any(name.endswith(".index") or name == "checkpoint" for name in names):
        return _CHECKPOINT
    return None


def _is_safetensors(head: bytes) -> bool:
    """Eight bytes of length, then JSON (the format of safetensors)."""
    return len(head) > 9 and head[8:10] in {b'{"', b"{}"} and head[4:8] == b"\0\0\0\0"
