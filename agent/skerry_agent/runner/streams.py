"""What a model is fed back: the states of each stream of samples, between one sample and the next. Without numpy.

A stream is a source of samples, or what a client of the inference API calls a sequence. It begins with zeros: when its
source is opened, when a replayed file starts anew, after a sample that could not be answered, after an answer with NaN
or infinity, which would never leave it, and in a runner that has just taken over, because states of one release mean
nothing to another.
"""

import struct
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

from skerry_agent.runner.tensor import FORMATS, Tensor, is_finite, nbytes, zeros
from skerry_agent.wire.manifest import Bundle, TensorSpec

MAX_STREAMS = 64
"""Streams of the inference API at a time; the one that was quiet for longest is forgotten for a new one."""
MAX_BYTES = 16 * 1024 * 1024
"""Of the states of all streams together, where more than one is kept."""
Infer = Callable[[Sequence[Tensor]], list[Tensor]]


class States:
    """The states of one stream. The caller sees to it that one sample comes after the other."""

    def __init__(self, bundle: Bundle) -> None:
        outputs = {spec.name: (place, spec) for place, spec in enumerate(bundle.outputs)}
        self._bundle = bundle
        self._taken = {
            place: (*outputs[bundle.feedback[spec.name]], spec)
            for place, spec in enumerate(bundle.inputs)
            if spec.name in bundle.feedback
        }
        self._states: dict[int, Tensor] = {}

    def infer(self, brought: Sequence[Tensor], run: Infer) -> list[Tensor]:
        """The outputs for a sample's inputs, with the states that the samples before led to. Raises what `run` does.

        After a failure, or states that are no numbers, the stream begins anew.
        """
        given = iter(brought)
        inputs = [
            self._states.get(place) or blank(spec) if place in self._taken else next(given)
            for place, spec in enumerate(self._bundle.inputs)
        ]
        self._states = {}
        outputs = run(inputs)
        if all(is_finite(outputs[at]) for at, _output, _spec in self._taken.values()):
            self._states = {
                place: _fed_back(outputs[at], output, spec) for place, (at, output, spec) in self._taken.items()
            }
        return outputs

    def restart(self) -> None:
        """Begin with zeros again."""
        self._states = {}


class Streams:
    """The states of many streams by name, and one sample of them at a time."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._known: OrderedDict[str, States] = OrderedDict()
        self._turn = threading.Lock()
        states = sum(nbytes(spec) for spec in bundle.inputs if spec.name in bundle.feedback)
        self.most = max(1, min(MAX_STREAMS, MAX_BYTES // max(1, states)))

    def infer(self, name: str, rows: Sequence[Sequence[Tensor]], run: Infer) -> list[list[Tensor]]:
        """The outputs for consecutive samples of a stream; with an empty name they are a stream of their own."""
        with self._turn:
            states = self._states(name) if name else States(self._bundle)
            return [states.infer(row, run) for row in rows]

    def known(self, name: str) -> bool:
        """Whether a stream has begun and is not forgotten."""
        return name in self._known

    def end(self, name: str) -> None:
        """Forget a stream: it begins with zeros when it comes again."""
        with self._turn:
            self._known.pop(name, None)

    def _states(self, name: str) -> States:
        states = self._known.pop(name, None) or States(self._bundle)
        self._known[name] = states
        if len(self._known) > self.most:
            self._known.popitem(last=False)
        return states


def blank(spec: TensorSpec) -> Tensor:
    """The real value 0 in every element."""
    if not spec.zero_point:
        return zeros(spec)
    one = struct.pack(f"<{FORMATS[spec.dtype]}", spec.zero_point)
    return Tensor(spec.dtype, spec.shape, one * (nbytes(spec) // len(one)))


def _fed_back(answer: Tensor, output: TensorSpec, spec: TensorSpec) -> Tensor:
    """An output as the input that takes it: its bytes where both have the same form, else the same real values."""
    if (output.dtype, output.scale, output.zero_point) == (spec.dtype, spec.scale, spec.zero_point):
        return Tensor(spec.dtype, spec.shape, answer.data)
    from skerry_agent.processing import dequantize, quantize  # noqa: PLC0415 - imports numpy
    from skerry_agent.runner.arrays import from_array, to_array  # noqa: PLC0415

    return from_array(quantize(dequantize(to_array(answer), output), spec).reshape(spec.shape))
