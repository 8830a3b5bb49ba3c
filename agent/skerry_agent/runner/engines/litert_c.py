"""TFLite models on the C API of ai-edge-litert's own library, through ctypes: the same kernels without numpy.

`libLiteRt.so` lies in the package's folder and has no promise of a stable interface: functions have gained parameters
from one release to the next. So only releases whose header was read are used (`RELEASES`); with any other, or with a
model that this interface does not take, `litert` goes on with the package's Interpreter. XNNPACK is the only delegate
that is registered; the interface does not say which operators it took. Run on x86-64, and on an emulated aarch64.
"""

import ctypes as c
import importlib.util
import mmap
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from skerry_agent.runner.engines.base import About, ModelFile
from skerry_agent.runner.errors import EngineError, InferenceError
from skerry_agent.runner.tensor import Tensor, nbytes, zeros
from skerry_agent.wire.manifest import TensorSpec

LIBRARY = "libLiteRt.so"
RELEASES = ("2.3.",)
_CPU = 1
_REGISTER, _MIN_SEVERITY, _WARNING = 24, 25, 2
"""Tags of the environment: which accelerators it registers, and from which severity on it logs."""
_INT = 2
_ALIGNMENT = 64
_MAX_RANK = 8
_FAILED = c.c_void_p(-1).value
_PER_TENSOR = 1
_DTYPES = {
    1: "float32",
    2: "int32",
    3: "uint8",
    4: "int64",
    6: "bool",
    7: "int16",
    9: "int8",
    10: "float16",
    11: "float64",
    13: "uint64",
    16: "uint32",
    17: "uint16",
}
_REMEMBERING = {16, 24, 27, 35, 44, 46, 52, 142, 146, 148, 149}
"""Codes of operators that keep something from one inference to the next (schema.fbs of TFLite): LSTM, RNN and SVDF,
variables, random numbers. The first run, which only tries the operators, would be part of what they keep."""
Handle = c.c_void_p
_FIRST = c.c_size_t(0)


class _Layout(c.Structure):
    _fields_ = (
        ("rank", c.c_uint32, 7),
        ("has_strides", c.c_uint32, 1),
        ("dimensions", c.c_int32 * _MAX_RANK),
        ("strides", c.c_uint32 * _MAX_RANK),
    )


class _TensorType(c.Structure):
    _fields_ = (("element", c.c_int), ("layout", _Layout))


class _Quantization(c.Structure):
    _fields_ = (("scale", c.c_float), ("zero_point", c.c_int64))


class _Any(c.Structure):
    _fields_ = (("kind", c.c_int), ("value", c.c_int64))


class _Option(c.Structure):
    _fields_ = (("tag", c.c_int), ("value", _Any))


class Library:
    """The loaded library. Every failed call raises `EngineError` with the function's name."""

    def __init__(self, path: Path) -> None:
        try:
            self._library = c.CDLL(str(path))
        except OSError as error:
            raise EngineError(f"{LIBRARY} does not load: {error}") from None
        self._libc = c.CDLL(None)
        self._libc.strdup.restype = self._libc.mmap.restype = Handle

    def call(self, name: str, *arguments: object) -> None:
        """Call a function that returns a status."""
        try:
            status = getattr(self._library, name)(*arguments)
        except AttributeError:
            raise EngineError(f"{LIBRARY} has no {name}") from None
        if status:
            raise EngineError(f"{name} failed with status {status}")

    def make(self, name: str, *arguments: object) -> Handle:
        """Call a function whose last parameter receives a handle."""
        handle = Handle()
        self.call(name, *arguments, c.byref(handle))
        return handle

    def count(self, name: str, of: Handle) -> int:
        """Call a function whose last parameter receives a number."""
        number = c.c_size_t()
        self.call(name, of, c.byref(number))
        return number.value

    def destroy(self, kind: str, handle: Handle) -> None:
        """Free an object."""
        getattr(self._library, f"LiteRtDestroy{kind}")(handle)

    def options(self, threads: int) -> Handle:
        """Run on the CPU with so many threads. The payload is copied with malloc, so that `free` may destroy it."""
        options = self.make("LiteRtCreateOptions")
        self.call("LiteRtSetOptionsHardwareAccelerators", options, _CPU)
        payload = Handle(self._libc.strdup(b"num_threads = %d\n" % threads))
        opaque = self.make("LiteRtCreateOpaqueOptions", b"xnnpack", payload, self._libc.free)
        self.call("LiteRtAddOpaqueOptions", options, opaque)
        return options

    def map(self, path: str) -> tuple[Handle, c.c_size_t]:
        """The address and size of a file in memory, read only (mmap(2)); it is never unmapped. Raises `EngineError`."""
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            address = self._libc.mmap(None, c.c_size_t(size), mmap.PROT_READ, mmap.MAP_PRIVATE, file.fileno(), Handle())
        if address in {None, _FAILED}:
            raise EngineError(f"a file of {size} bytes cannot be mapped")
        return Handle(address), c.c_size_t(size)

    def runner(self) -> Callable[..., int]:
        """The one function of every inference, with its types, so that a call converts nothing."""
        run: Callable[..., int] = self._library.LiteRtRunCompiledModel
        run.argtypes = (Handle, c.c_size_t, c.c_size_t, Handle, c.c_size_t, Handle)  # type: ignore[attr-defined]
        return run


class _Model:
    """A model in the runtime, and everything that was made for it, to be freed in the opposite order."""

    def __init__(self, library: Library, file: ModelFile) -> None:
        self.library = library
        self._made: list[tuple[str, Handle]] = []
        options = (_Option * 2)(_Option(_REGISTER, _Any(_INT, _CPU)), _Option(_MIN_SEVERITY, _Any(_INT, _WARNING)))
        environment = self.make("Environment", "LiteRtCreateEnvironment", 2, options)
        # From memory: of a malformed file, which is checked here, `LiteRtCreateModelFromFile` crashes.
        model = self.make("Model", "LiteRtCreateModelFromBuffer", environment, *library.map(file.path))
        self.subgraph = library.make("LiteRtGetModelSubgraph", model, _FIRST)
        if not _REMEMBERING.isdisjoint(_operators(library, model)):
            raise EngineError("it keeps something from one inference to the next")
        compiling = library.options(file.threads)
        self._made.append(("Options", compiling))
        self.compiled = self.make("CompiledModel", "LiteRtCreateCompiledModel", environment, model, compiling)
        self.signature = library.make("LiteRtGetModelSignature", model, _FIRST)
        if library.make("LiteRtGetSignatureSubgraph", self.signature).value != self.subgraph.value:
            raise EngineError("its first signature is not that of its first subgraph")

    def make(self, kind: str, name: str, *arguments: object) -> Handle:
        """Make an object that `close` frees."""
        handle = self.library.make(name, *arguments)
        self._made.append((kind, handle))
        return handle

    def close(self) -> None:
        """Free everything."""
        while self._made:
            self.library.destroy(*self._made.pop())

    def layouts(self, side: str, number: int) -> c.Array[_Layout]:
        """The shapes that the runtime has allocated, in the signature's order: an open batch is 1 there."""
        layouts = (_Layout * number)()
        if side == "Output":
            name = "LiteRtGetCompiledModelOutputTensorLayouts"
            self.library.call(name, self.compiled, _FIRST, c.c_size_t(number), layouts, c.c_bool(False))
            return layouts
        for i in range(number):
            place = c.byref(layouts, i * c.sizeof(_Layout))
            name = "LiteRtGetCompiledModelInputTensorLayout"
            self.library.call(name, self.compiled, _FIRST, c.c_size_t(i), place)
        return layouts


class _Side:
    """The inputs or the outputs of a model: what they are, and their memory, in the order of its subgraph.

    `handles` are in the order of its signature, which sorts by name: other orders are the Interpreter's, and bundles'.
    `open`: whether a dimension is not said in the file.
    """

    def __init__(self, model: _Model, side: str) -> None:
        library = model.library
        number = library.count(f"LiteRtGetNumSubgraph{side}s", model.subgraph)
        if library.count(f"LiteRtGetNumSignature{side}s", model.signature) != number:
            raise EngineError(f"its signature leaves out an {side.lower()}")
        places = [c.c_size_t(i) for i in range(number)]
        by_signature = [library.make(f"LiteRtGetSignature{side}TensorByIndex", model.signature, i) for i in places]
        order = {_index(library, tensor): i for i, tensor in enumerate(by_signature)}
        layouts = model.layouts(side, number)
        self.handles = (Handle * number)()
        self.indexes, self.shapes = set(order), _shapes(layouts)
        self.open = False
        self.specs: list[TensorSpec] = []
        self.views: list[memoryview] = []
        for i in places:
            tensor = library.make(f"LiteRtGetSubgraph{side}", model.subgraph, i)
            at = order.pop(_index(library, tensor), None)
            if at is None:
                raise EngineError(f"its signature has other {side.lower()}s than its subgraph")
            self._add(model, tensor, layouts[at], at)

    def _add(self, model: _Model, tensor: Handle, layout: _Layout, at: int) -> None:
        kind = _TensorType()
        model.library.call("LiteRtGetRankedTensorType", tensor, c.byref(kind))
        self.open = self.open or -1 in kind.layout.dimensions[: kind.layout.rank]
        kind.layout = layout
        spec = _spec(model.library, tensor, kind)
        memory = c.create_string_buffer(nbytes(spec) + 2 * _ALIGNMENT)
        start = -c.addressof(memory) % _ALIGNMENT
        arguments = Handle(c.addressof(memory) + start), c.c_size_t(nbytes(spec)), None
        made = model.make("TensorBuffer", "LiteRtCreateTensorBufferFromHostMemory", c.byref(kind), *arguments)
        self.handles[at] = made.value
        self.specs.append(spec)
        self.views.append(memoryview(memory).cast("B")[start : start + nbytes(spec)])


class CompiledEngine:
    """A compiled model that reads and writes memory of this process."""

    def __init__(self, model: _Model, about: About) -> None:
        self._model = model
        self.about = about
        ins, outs = _Side(model, "Input"), _Side(model, "Output")
        if ins.indexes & outs.indexes:  # would be two memories of one tensor: the runtime reads neither
            raise EngineError("an input is an output, too")
        self.inputs, self.outputs = tuple(ins.specs), tuple(outs.specs)
        self._in = list(zip(ins.specs, ins.views, strict=True))
        self._out = list(zip(outs.specs, outs.views, strict=True))
        self._run = model.library.runner()
        self._handles = ins.handles, outs.handles
        counted = (len(ins.handles), c.addressof(ins.handles), len(outs.handles), c.addressof(outs.handles))
        self._arguments = (model.compiled, 0, *counted)
        self.infer([zeros(spec) for spec in self.inputs])  # operators are looked up, and refused, in the first run
        if (outs.open and not ins.open) or _shapes(model.layouts("Output", len(self._out))) != outs.shapes:
            raise EngineError("the shape of an output depends on what the inputs hold")

    def infer(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """See `Engine.infer`."""
        for tensor, (spec, view) in zip(inputs, self._in):  # noqa: B905 - callers give as many as there are inputs
            if tensor.dtype != spec.dtype or tensor.shape != spec.shape:
                wrong = f"{spec.name} is {spec.dtype}{list(spec.shape)}, not {tensor.dtype}{list(tensor.shape)}"
                raise InferenceError(f"inference failed: input {wrong}")
            view[:] = tensor.data
        status = self._run(*self._arguments)
        if status:
            raise InferenceError(f"inference failed: the runtime ended with status {status}")
        return [Tensor(spec.dtype, spec.shape, view.tobytes()) for spec, view in self._out]

    def close(self) -> None:
        """See `Engine.close`."""
        self._run = _closed
        self._model.close()


def open_compiled(file: ModelFile) -> CompiledEngine:
    """Load a model. Raises `EngineError` where this package, its release or the model is none for this interface."""
    library, version = _find()
    model = None
    try:
        model = _Model(Library(library), file)
        return CompiledEngine(model, About("ai-edge-litert", version, "XNNPACK"))
    except (EngineError, InferenceError, OSError) as error:
        if model is not None:
            model.close()
        raise EngineError(f"the C API of ai-edge-litert {version} does not take {file.title}: {error}") from None


def _find() -> tuple[Path, str]:
    """The library of an installed release that is known here, and which it is: found without importing the package."""
    spec = importlib.util.find_spec("ai_edge_litert")
    for folder in spec.submodule_search_locations or () if spec is not None else ():
        for record in Path(folder).parent.glob("ai_edge_litert-*.dist-info"):
            version = record.name.removeprefix("ai_edge_litert-").removesuffix(".dist-info")
            if version.startswith(RELEASES) and (Path(folder) / LIBRARY).is_file():
                return Path(folder) / LIBRARY, version
    raise EngineError("no release of ai-edge-litert with a known C API is installed")


def _spec(library: Library, tensor: Handle, kind: _TensorType) -> TensorSpec:
    name, quantized, quantization = c.c_char_p(), c.c_int(), _Quantization()
    library.call("LiteRtGetTensorName", tensor, c.byref(name))
    library.call("LiteRtGetQuantizationTypeId", tensor, c.byref(quantized))
    if quantized.value == _PER_TENSOR:
        library.call("LiteRtGetPerTensorQuantization", tensor, c.byref(quantization))
    (shape,) = _shapes([kind.layout])
    title = (name.value or b"").decode(errors="replace")
    if kind.element not in _DTYPES or any(n <= 0 for n in shape):
        raise EngineError(f"tensor {title} is of type {kind.element} and shape {list(shape)}")
    return TensorSpec(title, _DTYPES[kind.element], shape, quantization.scale, quantization.zero_point)


def _shapes(layouts: Iterable[_Layout]) -> list[tuple[int, ...]]:
    return [tuple(layout.dimensions[: layout.rank]) for layout in layouts]


def _operators(library: Library, model: Handle) -> Iterator[int]:
    """The code of every operator."""
    for i in range(library.count("LiteRtGetNumModelSubgraphs", model)):
        subgraph = library.make("LiteRtGetModelSubgraph", model, c.c_size_t(i))
        for j in range(library.count("LiteRtGetNumSubgraphOps", subgraph)):
            code = c.c_int()
            operator = library.make("LiteRtGetSubgraphOp", subgraph, c.c_size_t(j))
            library.call("LiteRtGetOpCode", operator, c.byref(code))
            yield code.value


def _index(library: Library, tensor: Handle) -> int:
    index = c.c_uint32()
    library.call("LiteRtGetTensorIndex", tensor, c.byref(index))
    return index.value


def _closed(*_arguments: object) -> int:
    raise InferenceError("the model is closed")
