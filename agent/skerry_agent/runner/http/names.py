"""The names of a model's tensors that are the same whatever the target, and those that its file has.

A converter names tensors as it likes: an output is `Identity` in a TFLite file and `scale_0.tmp_1` in the ONNX file of
the same release. So one input is also `input` and one output `output`; several are `input_0`, `output_0` and so on.
"""

from collections.abc import Sequence

from skerry_agent.runner.joined import Outputs
from skerry_agent.wire.manifest import Bundle


class Names:
    """The stable names of a bundle, and how names of either kind are found.

    Stable are those of the outputs that the source has; the model's file may have parts of one instead.
    """

    def __init__(self, bundle: Bundle) -> None:
        given = Outputs(bundle)
        self.specs, self.places, self.join_of = given.specs, given.whole, given.join_of
        self.of_classes = given.of_classes
        self.inputs = stable_names("input", bundle.inputs)
        self.outputs = stable_names("output", self.places)
        self.own_inputs = [spec.name for spec in bundle.inputs]
        self.own_outputs = [self.specs[place].name for place in self.places]
        self._brought = bundle.brought
        self._raw = list(range(len(bundle.outputs)))

    def find_inputs(self, names: Sequence[str]) -> list[tuple[int, int]] | None:
        """The place of each of the model's inputs with its place among `names`; None where they are not the model's.

        Inputs that are fed back may all be left out.
        """
        every = list(range(len(self.inputs)))
        for places in (every, self._brought):
            for known in (self.own_inputs, self.inputs):
                wanted = [known[place] for place in places]
                if sorted(names) == sorted(wanted):
                    return [(place, names.index(name)) for place, name in zip(places, wanted, strict=True)]
        return None

    @property
    def known_inputs(self) -> str:
        """All names of inputs, for people."""
        return f"{self.own_inputs}" + (f" or {self.inputs}" if self.inputs != self.own_inputs else "")

    def find_output(self, name: str) -> int | None:
        """The place of an output in `runner.joined.Outputs`; a name of the model's file goes before a stable one."""
        own = [spec.name for spec in self.specs]
        if name in own:
            return own.index(name)
        return self.places[self.outputs.index(name)] if name in self.outputs else None

    def answered(self, names: Sequence[str], *, raw: bool) -> list[tuple[str, int]]:
        """Names and places of outputs for a client that has named the inputs so and no outputs: of the same kind.

        Raw ones are those of the model's file, in parts.
        """
        own = set(names) <= set(self.own_inputs) and (raw or not set(names) <= set(self.inputs))
        if raw and self.places != self._raw:
            return [(self.specs[place].name, place) for place in self._raw]
        return list(zip(self.own_outputs if own else self.outputs, self.places, strict=True))


def stable_names(kind: str, tensors: Sequence[object]) -> list[str]:
    """The stable names of all inputs, or of all outputs."""
    return [kind] if len(tensors) == 1 else [f"{kind}_{index}" for index in range(len(tensors))]
