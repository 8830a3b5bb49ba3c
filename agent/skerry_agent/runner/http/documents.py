"""What a client may read of a model: metadata, configuration, labels, the list of models, statistics.

Formats: the Open Inference Protocol's model metadata with `parameters` for what it does not name; Triton's
extension_model_configuration.md, extension_model_repository.md and extension_statistics.md. Knows no path.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from msgspec import to_builtins

from skerry_agent.runner.http.inputs import MAX_BATCH, SAMPLE_DATATYPES
from skerry_agent.runner.http.names import Names
from skerry_agent.runner.http.oip import Served
from skerry_agent.runner.http.outputs import ANSWER, DETECTION_LABELS, DETECTIONS, MASK, computed_outputs
from skerry_agent.runner.http.tensors import DATATYPES
from skerry_agent.runner.real_values import real_spec
from skerry_agent.wire.manifest import CLASSIFICATION, DETECTION, Bundle, TensorSpec

MAX_NOTED = 1000
"""How many answered requests are noted before they are summed up."""


def metadata(served: Served) -> dict[str, object]:
    """The metadata of a model, in an application's terms: the same for every target but for `raw` and `target`."""
    bundle, names = served.bundle, Names(served.bundle)
    return {
        "name": served.model,
        "versions": [served.version],
        "platform": served.platform,
        "inputs": [_input(place, name, bundle) for place, name in enumerate(names.inputs)],
        "outputs": [*_outputs(served, names), *_found(bundle)],
        "parameters": _parameters(served),
    }


def config(served: Served) -> dict[str, object]:
    """The model's configuration as Triton words it: dimensions are without the batch."""
    document = metadata(served)
    batched = all(spec.shape[:1] == (1,) for spec in (*served.bundle.inputs, *served.bundle.outputs))
    return {
        "name": served.model,
        "platform": served.platform,
        "backend": served.platform,
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": MAX_BATCH if batched else 0,
        "input": [_typed(one, batched) for one in _entries(document, "inputs")],
        "output": [_typed(one, batched) for one in _entries(document, "outputs")],
        "parameters": {"release": {"string_value": f"{served.model}@{served.version}"}},
    }


def labels(served: Served) -> list[str]:
    """The names of the classes, in the order of the output; empty if the release has none."""
    return list(served.labels.names) if served.labels is not None else []


DOCUMENTS: dict[str, Callable[[Served], object]] = {"config": config, "labels": labels}
"""What is read below the path of a model."""


def index(served: Served, *, ready: bool) -> list[dict[str, object]]:
    """The models that are here: this one."""
    state, reason = ("READY", "") if ready else ("UNAVAILABLE", "another release takes over")
    return [{"name": served.model, "version": served.version, "state": state, "reason": reason}]


class Statistics:
    """Counts the requests of the API, since this release began to serve. Exercise and sources are not in it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._noted: deque[tuple[int, int, int, int, int]] = deque()
        self._answered = self._inferences = self._failed = self._last = 0
        self._input_ns = self._infer_ns = self._output_ns = self._failed_ns = 0

    def note(self, began: int, read: int, inferred: int, written: int, rows: int) -> None:
        """Note an answered request: when it began, had its inputs, the model's outputs, and was written (ns).

        Sums are made later: right after an inference everything is cold.
        """
        self._noted.append((began, read, inferred, written, rows))

    def failed(self, ns: int) -> None:
        """Count a request that got an error."""
        with self._lock:
            self._failed += 1
            self._failed_ns += ns

    def add_up(self) -> None:
        """Sum up what was noted, if that is much."""
        if len(self._noted) > MAX_NOTED:
            with self._lock:
                self._sum()

    def _sum(self) -> None:
        for _ in range(len(self._noted)):
            began, read, inferred, written, rows = self._noted.popleft()
            self._answered += 1
            self._inferences += rows
            self._input_ns += read - began
            self._infer_ns += inferred - read
            self._output_ns += written - inferred
            self._last = max(self._last, written)

    def document(self, served: Served) -> dict[str, object]:
        """The statistics of the model."""
        with self._lock:
            self._sum()
            spent = [self._input_ns, self._infer_ns, self._output_ns]
            names = ("success", "queue", "compute_input", "compute_infer", "compute_output")
            durations = zip(names, (sum(spent), 0, *spent), strict=True)
            stats = {name: {"count": self._answered, "ns": ns} for name, ns in durations}
            one = {
                "name": served.model,
                "version": served.version,
                "last_inference": _wall_clock_ms(self._last) if self._answered else 0,
                "inference_count": self._inferences,
                "execution_count": self._inferences,
                "inference_stats": stats | {"fail": {"count": self._failed, "ns": self._failed_ns}},
                "batch_stats": [],
            }
        return {"model_stats": [one]}


def _wall_clock_ms(mark_ns: int) -> int:
    """When a mark of the monotonic clock was, in milliseconds since 1970."""
    return (time.time_ns() - (time.perf_counter_ns() - mark_ns)) // 1_000_000


def _input(place: int, name: str, bundle: Bundle) -> dict[str, object]:
    spec, prep = bundle.inputs[place], bundle.preprocess_at(place)
    real = real_spec(spec)
    shape = (1, *prep.sample_shape(spec)) if spec.shape[:1] == (1,) else spec.shape
    datatypes = SAMPLE_DATATYPES if real.dtype == "float32" else (DATATYPES[real.dtype],)
    parameters: dict[str, object] = {
        "values": "sample",
        "datatypes": datatypes,
        "any_size": prep.resize != "none",
        "max_batch": MAX_BATCH if spec.shape[:1] == (1,) else 1,
        "preprocess": {key: value for key, value in to_builtins(prep).items() if key != "layout"},
        "raw": _raw(spec) | ({"layout": prep.layout} if len(spec.shape) == 4 else {}),
    }
    if spec.name in bundle.feedback:
        parameters["fed_back"] = bundle.feedback[spec.name]
    return {"name": name, "datatype": DATATYPES[real.dtype], "shape": shape, "parameters": parameters}


def _outputs(served: Served, names: Names) -> list[dict[str, object]]:
    return [_output(place, name, served, names) for place, name in zip(names.places, names.outputs, strict=True)]


def _output(place: int, name: str, served: Served, names: Names) -> dict[str, object]:
    spec = names.specs[place]
    real = real_spec(spec)
    parameters: dict[str, object] = {"values": "real"} | _raw_of(place, served.bundle, spec)
    if served.bundle.task == CLASSIFICATION and place == names.of_classes:
        parameters["classification"] = True
    return {"name": name, "datatype": DATATYPES[real.dtype], "shape": real.shape, "parameters": parameters}


def _found(bundle: Bundle) -> list[dict[str, object]]:
    """What is computed from a detector's outputs where a client asks for it; other tasks have it in `parameters`.

    Clients that take every output of the metadata would ask for each answer twice.
    """
    return [_about(name) for name in computed_outputs(bundle.task) if bundle.task == DETECTION and name != ANSWER]


def _about(name: str) -> dict[str, object]:
    return {"name": name, **_COMPUTED[name]}


_COLUMNS = ["top", "left", "bottom", "right", "score", "class"]
_COMPUTED: dict[str, dict[str, object]] = {
    DETECTIONS: {
        "datatype": "FP32",
        "shape": [-1, len(_COLUMNS)],
        "parameters": {"on_request": True, "columns": _COLUMNS, "units": "0..1 of the sample"},
    },
    DETECTION_LABELS: {"datatype": "BYTES", "shape": [-1], "parameters": {"on_request": True}},
    MASK: {"datatype": "UINT8", "shape": [-1, -1], "parameters": {"on_request": True, "units": "classes of pixels"}},
    ANSWER: {"datatype": "BYTES", "shape": [1], "parameters": {"on_request": True, "content_type": "application/json"}},
}


def _raw_of(place: int, bundle: Bundle, spec: TensorSpec) -> dict[str, object]:
    """The tensor of the model's file, or those that join to an output, with the axis along which they do."""
    if place < len(bundle.outputs):
        return {"raw": _raw(spec)}
    join = bundle.joins[place - len(bundle.outputs)]
    return {"raw_parts": [_raw(bundle.outputs[part]) for part in join.parts], "raw_axis": join.axis}


def _raw(spec: TensorSpec) -> dict[str, object]:
    """The tensor as the model's file has it: real = scale * (raw - zero_point); a scale of 0 means not quantized."""
    about = {"name": spec.name, "datatype": DATATYPES[spec.dtype], "shape": spec.shape}
    return about | {"scale": spec.scale, "zero_point": spec.zero_point}


def _parameters(served: Served) -> dict[str, object]:
    count = len(served.labels.names) if served.labels is not None else 0
    return {
        "release": f"{served.model}@{served.version}",
        "task": served.bundle.task,
        "target": served.bundle.target,
        "labels": {"count": count, "path": f"/v2/models/{served.model}/labels"},
        "quality": to_builtins(served.quality) if served.quality is not None else None,
        "default_values": served.values or "sample",
        "computed": [_about(name) for name in computed_outputs(served.bundle.task)],
    }


def _entries(document: dict[str, object], kind: str) -> list[dict[str, Any]]:
    found = document[kind]
    assert isinstance(found, list)
    return found


def _typed(entry: dict[str, Any], batched: bool) -> dict[str, object]:
    datatype = entry["datatype"].replace("BYTES", "STRING")
    dims = list(entry["shape"])[1 if batched and entry["shape"][0] == 1 else 0 :]
    return {"name": entry["name"], "data_type": f"TYPE_{datatype}", "dims": dims}
