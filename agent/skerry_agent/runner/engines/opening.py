"""Opens a model with the runtime that its `Job` names, and checks whether a runtime works here.

A runtime costs memory: only the one that is used is imported.
"""

import importlib
from collections.abc import Callable

from msgspec import Struct

from skerry_agent.runner.engines.base import Engine, ModelFile
from skerry_agent.wire.engines import EngineName


class Runtime(Struct, frozen=True):
    """How a runtime opens a model, and how it says in one line that it works here. Both raise `EngineError`."""

    open: Callable[[ModelFile], Engine]
    check: Callable[[], str]


def open_engine(kind: EngineName, model: ModelFile) -> Engine:
    """Load a model file. Raises `EngineError` when the runtime is missing or refuses it."""
    return _runtime(kind).open(model)


def check_engine(kind: EngineName) -> str:
    """Name and version of a runtime that works here; raises `EngineError`. A broken one may end the process."""
    return _runtime(kind).check()


def _runtime(kind: EngineName) -> Runtime:
    """By name, so that an engine is a module here and a name in `wire.engines`, and no table of its own."""
    module = importlib.import_module(f"skerry_agent.runner.engines.{kind}")
    return Runtime(getattr(module, f"open_{kind}"), module.check)
