"""A profile as data, and as a trace that Chrome and Perfetto open. Measures nothing."""

import json
from typing import Literal

from msgspec import Struct

Method = Literal["each operator alone", "onnxruntime", "LiteRT's profiler"]


class OpTime(Struct, frozen=True):
    """One operator's time in microseconds (median of `runs`); None where it cannot be run alone."""

    index: int
    op: str
    tensor: str
    us: float | None


class Profile(Struct, frozen=True):
    """The operators' times, and the whole model's (median) beside their sum: fusion makes the whole quicker.

    `of`: what `ops` are, operators of the model or kernels of the runtime. `note`: why no better method was used.
    """

    method: Method
    runtime: str
    runs: int
    whole_us: float
    ops: tuple[OpTime, ...]
    of: Literal["operators", "kernels"] = "operators"
    note: str = ""

    @property
    def sum_us(self) -> float:
        """All that was measured, added up."""
        return sum(op.us for op in self.ops if op.us is not None)


def trace(profile: Profile, name: str) -> str:
    """Trace Event Format (JSON): the operators one after the other on one track, the whole model on another.

    The times are medians laid end to end: how they overlap in truth is not known.
    """
    start, events = 0.0, [_event(name, "model", 0.0, profile.whole_us, 1, {"method": "median of whole inferences"})]
    for op in profile.ops:
        if op.us is not None:
            events.append(_event(op.op, profile.of[:-1], start, op.us, 2, {"index": op.index, "tensor": op.tensor}))
            start += op.us
    for track, words in ((1, "whole model"), (2, f"{profile.of} ({profile.method})")):
        events.append({"ph": "M", "name": "thread_name", "pid": 1, "tid": track, "args": {"name": words}})
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ns", "otherData": {"runtime": profile.runtime}})


def _event(name: str, kind: str, start: float, length: float, track: int, args: dict[str, object]) -> dict[str, object]:
    return {"ph": "X", "name": name, "cat": kind, "ts": start, "dur": length, "pid": 1, "tid": track, "args": args}
