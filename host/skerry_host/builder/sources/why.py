"""Says why a TFLite model cannot be run or is not one graph, from what is in it: better than the runtime's own words.

Pure: a graph in, a sentence out. The runtime's words remain where nothing of this is the cause.
"""

from collections.abc import Sequence

from skerry_host.builder.modelfile.graph import Graph, Tensor
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.runtime.probe import Probe

_FLEX = "Flex"
"""Begins the names of TensorFlow's own operators in a TFLite file."""
_EDGE_TPU = "edgetpu-custom-op"
_STATE = {"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE"}
_TABLES = {"HASHTABLE", "HASHTABLE_FIND", "HASHTABLE_IMPORT", "HASHTABLE_SIZE"}


def require_runs(path: object, found: Probe) -> None:
    """Raise `ModelError` with the cause when a model did not run in the child process."""
    if not found.problem:
        return
    causes = [*custom(found.graph), *open_sizes(found.graph)]
    if not causes:
        hint = "that is the runtime's own message: check how the model was exported"
        raise ModelError(f"{path} does not run here: {found.problem}", hint=hint, code="does_not_run")
    texts, hints = zip(*causes, strict=True)
    code = "unfit" if not found.graph.custom_ops else "does_not_run"
    raise ModelError(f"{path} cannot be run: {'; '.join(texts)}", hint="; ".join(filter(None, hints)), code=code)


def custom(graph: Graph) -> list[tuple[str, str]]:
    """Operators that the runtime does not have, and what to do."""
    names = sorted({op.name for op in graph.custom_ops})
    flex = [name.removeprefix(_FLEX) for name in names if name.startswith(_FLEX)]
    rest = [name for name in names if not name.startswith(_FLEX) and name != _EDGE_TPU]
    found = []
    if _EDGE_TPU in names:
        found.append(("it is compiled for the Edge TPU", "give the model from before the compiler"))
    if flex:
        text = f"it has operators of TensorFlow itself ({', '.join(flex)}, by SELECT_TF_OPS), which devices do not have"
        found.append((text, "write them with operators of TFLite, and convert it without SELECT_TF_OPS"))
    if rest:
        text = f"it has custom operators ({', '.join(rest)}), which only its maker's runtime has"
        found.append((text, "give the model from before they were put in"))
    return found


def open_sizes(graph: Graph) -> list[tuple[str, str]]:
    """Inputs whose sizes are known at run time only."""
    found = [graph.tensors[index] for index in graph.inputs if graph.tensors[index].dynamic]
    names = {index: name for name, index in graph.input_names.items()}
    return [
        (
            f"input {names.get(tensor.index, tensor.name)} has the open shape {shown(tensor)}",
            f"give its sizes in the recipe: [source.shapes] {_key(names.get(tensor.index, tensor.name))} = [1, ...]",
        )
        for tensor in found
    ]


def several_graphs(graph: Graph, signatures: Sequence[str] = ()) -> str:
    """Why a model is more than one graph."""
    ops = {op.name for op in graph.ops}
    if "WHILE" in ops:
        return "it has a loop (WHILE), as recurrent layers (LSTM, GRU) become one: build them with unroll=True"
    if "IF" in ops:
        return "it has branches (IF) that depend on the input: export it without them"
    if ops & _TABLES:
        return "it looks words up in a table (HASHTABLE): give the part of the model behind it, which takes numbers"
    if ops & _STATE:
        return "it keeps weights or state in variables: export it with constants, and states as inputs and outputs"
    if len(signatures) > 1:
        return f"it has {len(signatures)} signatures ({', '.join(signatures)}): name one as [source] signature"
    return f"it has {graph.subgraphs} subgraphs, of which only the first would be used"


def shown(tensor: Tensor) -> str:
    """A shape with ? for what is open."""
    return "x".join("?" if n < 0 else str(n) for n in tensor.signature)


def _key(name: str) -> str:
    """A name as a key of TOML."""
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else f'"{name}"'
