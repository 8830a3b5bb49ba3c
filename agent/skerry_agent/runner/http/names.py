"""The names of a model's tensors that are the same whatever the target, and those that its file has.

A converter names tensors as it likes: an output is `Identity` in a TFLite file and `scale_0.tmp_1` in the ONNX file of
the same release. So one input is also `input` and one output `output`; several are `input_0`, `output_0` and so on.
"""

from collections.abc import Sequence

from skerry_agent.wire.manifest import Bundle, TensorSpec


class Names:
    """The stable names of a bundle, and how names of either kind are found."""

    def __init__(self, bundle: Bundle) -> None:
        self.inputs = stable_names("input", bundle.inputs)
        self.outputs = stable_names("output", bundle.outputs)
        self.own_inputs = [spec.name for spec in bundle.inputs]
        self.own_outputs = [spec.name for spec in bundle.outputs]

    def find_inputs(self, names: Sequence[str]) -> list[int] | None:
        """The place among `names` of each of the model's inputs; None where they are not the model's."""
        for known in (self.own_inputs, self.inputs):
            if sorted(names) == sorted(known):
                return [names.index(name) for name in known]
        return None

    @property
    def known_inputs(self) -> str:
        """All names of inputs, for people."""
        return f"{self.own_inputs}" + (f" or {self.inputs}" if self.inputs != self.own_inputs else "")

    def find_output(self, name: str) -> int | None:
        """The index of an output; a name of the model's file goes before a stable one."""
        for known in (self.own_outputs, self.outputs):
            if name in known:
                return known.index(name)
        return None

    def answered(self, names: Sequence[str], *, raw: bool) -> list[str]:
        """The names of outputs for a client that has named the inputs so and no outputs: of the same kind."""
        own = sorted(names) == sorted(self.own_inputs) and (raw or sorted(names) != sorted(self.inputs))
        return self.own_outputs if own else self.outputs


def stable_names(kind: str, tensors: Sequence[TensorSpec]) -> list[str]:
    """The stable names of all inputs, or of all outputs."""
    return [kind] if len(tensors) == 1 else [f"{kind}_{index}" for index in range(len(tensors))]
