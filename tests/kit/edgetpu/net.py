"""Small int8 graphs, written one operator after the other, and what the preflight says of them."""

from collections import Counter
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.edgetpu.preflight import preflight_model
from tests.kit.edgetpu.models import Maker

Shape = tuple[int, ...]
Rows = Counter[tuple[str, str]]


class Net:
    """Adds one operator after the other; each gives the name of its output."""

    def __init__(self, shape: Shape, dtype: str = "int8") -> None:
        self.made, self.shapes, self.count = Maker(), {}, 0
        self.input = self.tensor(shape, dtype)

    def tensor(self, shape: Shape, dtype: str = "int8", **kept: Any) -> str:
        self.count += 1
        name = self.made.tensor(f"t{self.count}", shape, dtype, **kept)
        self.shapes[name] = shape
        return name

    def ints(self, *values: int) -> str:
        return self.tensor((len(values),), "int32", data=list(values), scale=0.0)

    def op(self, kind: str, *inputs: str, shape: Shape | None = None, dtype: str = "int8", **more: Any) -> str:
        out = self.tensor(shape or self.shapes[inputs[0]], dtype)
        self.made.op(kind, list(inputs), [out], **more)
        return out

    def conv(self, data: str, filters: int) -> str:
        depth = self.shapes[data][-1]
        weights = self.tensor((filters, 1, 1, depth), data=[1] * filters * depth)
        return self.op("CONV_2D", data, weights, shape=(*self.shapes[data][:-1], filters))

    def reshape(self, data: str, *shape: int) -> str:
        return self.op("RESHAPE", data, self.ints(*shape), shape=shape)

    def concat(self, *parts: str, axis: int) -> str:
        options = schema.ConcatenationOptionsT()
        options.axis = axis
        shape = list(self.shapes[parts[0]])
        shape[axis] = sum(self.shapes[part][axis] for part in parts)
        return self.op("CONCATENATION", *parts, shape=tuple(shape), options=options)

    def table(self, *outputs: str) -> Rows:
        """What the compiler would print: operator and status, counted; an unknown one has the status `?`."""
        found = preflight_model(self.made.data([self.input], list(outputs)))
        return Counter((item.op, "?" if item.verdict == "unknown" else item.status) for item in found.all)
