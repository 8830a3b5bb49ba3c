"""Finds the Python environment of a converter: converters pin dependencies that the host must not have.

Looks in $SKERRY_CONVERTERS_PYTHON, then in the environment beside this one, then here. Installs nothing.
"""

import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from skerry_host.builder.recipe.errors import ModelError

VARIABLE = "SKERRY_CONVERTERS_PYTHON"


@dataclass(frozen=True, slots=True)
class Converter:
    """A module that converts, what it is for, and how to get it."""

    module: str
    purpose: str
    install: str


def converters_folder() -> Path:
    """The environment for converters that belongs to this one."""
    return Path(sys.prefix) / "converters"


_APART = f"{sys.executable} -m venv {converters_folder()} && {converters_folder()}/bin/pip install"
ONNX2TF = Converter("onnx2tf", "an ONNX model", f"{_APART} onnx2tf==1.29.24")
TENSORFLOW = Converter("tensorflow", "a Keras model or SavedModel", "pip install 'skerry-host[tensorflow]'")
TFMOT = Converter("tensorflow_model_optimization", "a QAT-trained Keras model", "pip install 'skerry-host[train]'")


def require_extra(*modules: str, purpose: str, extra: str) -> None:
    """Raise `ModelError` (missing_extra) with the command that installs it when one of the modules is not there."""
    absent = [module for module in modules if importlib.util.find_spec(module) is None]
    if absent:
        hint = f"pip install 'skerry-host[{extra}]'"
        raise ModelError(f"{purpose} needs {' and '.join(absent)}, not installed here", hint=hint, code="missing_extra")


def python_with(converter: Converter) -> str:
    """The interpreter that can import it; raises `ModelError` (missing_extra) with the command that installs it."""
    named = os.environ.get(VARIABLE)
    if named:
        return _runnable(named)
    apart = converters_folder() / "bin/python"
    has = list(converters_folder().glob(f"lib/python*/site-packages/{converter.module}"))
    if has and apart.is_file():
        return str(apart)
    if importlib.util.find_spec(converter.module) is not None:
        return sys.executable
    raise ModelError(
        f"{converter.purpose} needs {converter.module}, which is not installed",
        hint=f"{converter.install} (or name an environment that has it in {VARIABLE})",
        code="missing_extra",
    )


def _runnable(named: str) -> str:
    """The path that the variable holds, if it is a program; a wrong one is not passed over in silence."""
    problem = "is not there" if not Path(named).is_file() else "may not be run"
    if problem == "is not there" or not os.access(named, os.X_OK):
        hint = f"name the bin/python of an environment with the converters in {VARIABLE}, or unset it"
        raise ModelError(f"{VARIABLE} is {named}, which {problem}", hint=hint, code="missing_extra")
    return named


def missing_package(python: str, module: str) -> ModelError:
    """What to say of an interpreter that does not have a module that a conversion needs."""
    wanted = ONNX2TF.install.rpartition(" ")[2] if module == ONNX2TF.module else module.replace("_", "-")
    hint = f"{python} -m pip install {wanted} (or name another environment in {VARIABLE})"
    return ModelError(f"{python} has no Python package {module}", hint=hint, code="missing_extra")
