"""What a response holds of a model's outputs: real values, raw tensors, the best classes, or what a detector found.

The best classes are the protocol's extension "classification" (Triton's extension_classification.md). Knows no request
and no socket.
"""

import struct
from collections.abc import Sequence
from heapq import nsmallest
from typing import Literal

from msgspec import Struct

from skerry_agent.runner.http import tensors
from skerry_agent.runner.http.messages import RequestError
from skerry_agent.runner.http.shared_memory import Span
from skerry_agent.runner.joined import Outputs
from skerry_agent.runner.labels import Labels
from skerry_agent.runner.real_values import real_spec
from skerry_agent.runner.tensor import Data, Tensor, is_finite, nbytes
from skerry_agent.wire.errors import SkerryError
from skerry_agent.wire.manifest import DETECTION, Bundle, TensorSpec
from skerry_agent.wire.postprocess import ANSWERED

DETECTIONS, DETECTION_LABELS, MASK, ANSWER = "detections", "detection_labels", "mask", "answer"
Kind = Literal["real", "raw", "top", "detections", "detection_labels", "mask", "answer"]


def computed_outputs(task: str) -> list[str]:
    """The outputs that are computed from the model's where a client asks for them; none for a task without answers."""
    more = {DETECTION: [DETECTIONS, DETECTION_LABELS], "segmentation": [MASK]}.get(task, [])
    return [*more, ANSWER] if task in ANSWERED else []


class Wanted(Struct, frozen=True):
    """One output to answer: under which name, what of which of the model's outputs (`index`), and how it travels.

    As binary data, in JSON, or into shared memory (`span`). `top` says how many of the best classes.
    """

    name: str
    kind: Kind
    index: int = 0
    binary: bool = False
    span: Span | None = None
    top: int = 0


class Given(Struct, frozen=True):
    """An output as it is sent. Of strings, `texts` are the elements and `data` their binary form.

    `size` is the length of `data` where they are not there yet.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Data
    tensor: Tensor | None = None
    texts: tuple[str, ...] = ()
    size: int | None = None

    def numbers(self) -> list[object]:
        """Its elements for JSON. Raises `RequestError` (500) for what JSON cannot write."""
        return list(self.texts) if self.tensor is None else tensors.to_json(self.tensor, self.name)


def fixed_spec(wanted: Wanted, spec: TensorSpec, rows: int) -> TensorSpec | None:
    """Datatype and shape of an output that has the same in each response; None for one that has not."""
    if wanted.kind not in {"real", "raw"}:
        return None
    sent = spec if wanted.kind == "raw" else real_spec(spec)
    shape = sent.shape if rows == 1 else (rows, *sent.shape[1:])
    return TensorSpec(wanted.name, sent.dtype, shape)


class Answers:
    """Makes outputs of what the model gave: a list of tensors for each row of the request."""

    def __init__(self, bundle: Bundle, labels: Labels | None) -> None:
        self._bundle, self._labels = bundle, labels
        self._outputs = Outputs(bundle)
        self._of_classes = self._outputs.of_classes

    def fixed(self, wanted: Wanted, results: Sequence[Sequence[Tensor]]) -> Data:
        """The bytes of an output whose form is known beforehand."""
        index = wanted.index
        if wanted.kind == "raw":
            rows = [row[index].data for row in results]
        else:
            rows = [self._outputs.real(row, index).data for row in results]
        return rows[0] if len(rows) == 1 else b"".join(rows)

    def give(self, wanted: Wanted, results: Sequence[Sequence[Tensor]], size: tuple[int, int] | None) -> Given:
        """Any output; `size` is that of the picture. Raises `RequestError` (500) for outputs that mean nothing."""
        match wanted.kind:
            case "top":
                return self._top(wanted, results)
            case "detections" | "detection_labels":
                return self._detections(wanted, results[0], size)
            case "mask" | "answer":
                return self._computed(wanted, results[0], size)
        spec = fixed_spec(wanted, self._outputs.specs[wanted.index], len(results))
        assert spec is not None
        data = self.fixed(wanted, results)
        tensor = Tensor(spec.dtype, spec.shape, data)
        return Given(wanted.name, tensors.DATATYPES[spec.dtype], spec.shape, data, tensor)

    def _top(self, wanted: Wanted, results: Sequence[Sequence[Tensor]]) -> Given:
        rows = [self._best(wanted, row) for row in results]
        return _strings(wanted.name, (len(rows), len(rows[0])), [text for row in rows for text in row])

    def _best(self, wanted: Wanted, row: Sequence[Tensor]) -> list[str]:
        real = self._outputs.real(row, wanted.index)
        if not is_finite(real):
            raise RequestError(500, f"output {wanted.name} holds NaN or infinity")
        scores = real.values()
        order = nsmallest(
            wanted.top, range(len(scores)), key=lambda index: -scores[index]
        )  # stable: the first of equals
        names = self._labels.names if self._labels is not None and wanted.index == self._of_classes else ()
        named = len(names) == len(scores)
        return [f"{scores[i]:f}:{i}" + (f":{names[i]}" if named else "") for i in order]

    def _computed(self, wanted: Wanted, row: Sequence[Tensor], size: tuple[int, int] | None) -> Given:
        """The answer as JSON, or the class of each pixel."""
        from skerry_agent.runner.samples import answer_text, mask  # noqa: PLC0415 - imports numpy

        try:
            if wanted.kind == "answer":
                names = self._labels.names if self._labels else ()
                return _strings(wanted.name, (1,), [answer_text(self._bundle, row, size, names)])
            made = mask(self._bundle, row, size)
        except SkerryError as error:
            raise RequestError(500, f"output {wanted.name}: {error.message}") from None
        return Given(wanted.name, tensors.DATATYPES[made.dtype], made.shape, made.data, made)

    def _detections(self, wanted: Wanted, row: Sequence[Tensor], size: tuple[int, int] | None) -> Given:
        from skerry_agent.runner.samples import detections  # noqa: PLC0415 - imports numpy

        try:
            found = detections(self._bundle, row, size)
        except SkerryError as error:
            raise RequestError(500, f"output {wanted.name}: {error.message}") from None
        if wanted.kind == "detection_labels":
            names = [self._labels.name(one.index) if self._labels else None for one in found]
            texts = [name or str(one.index) for name, one in zip(names, found, strict=True)]
            return _strings(wanted.name, (len(texts),), texts)
        values = [number for one in found for number in (*one.box, one.score, float(one.index))]
        data = struct.pack(f"<{len(values)}f", *values)
        return Given(wanted.name, "FP32", (len(found), 6), data, Tensor("float32", (len(found), 6), data))


def _strings(name: str, shape: tuple[int, ...], texts: Sequence[str]) -> Given:
    """A tensor of strings: in binary data each has its length before it, as extension_binary_data.md says."""
    encoded = [text.encode() for text in texts]
    data = b"".join(struct.pack("<I", len(one)) + one for one in encoded)
    return Given(name, "BYTES", shape, data, texts=tuple(texts))


def answer_bytes(bundle: Bundle) -> int:
    """About how many bytes one row of a response has."""
    return sum(nbytes(real_spec(spec)) for spec in bundle.outputs)
