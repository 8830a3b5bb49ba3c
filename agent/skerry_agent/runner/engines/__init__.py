"""The inference runtimes behind one interface. Each is imported only when it is used."""

from skerry_agent.runner.engines.base import About, Engine, ModelFile
from skerry_agent.runner.engines.opening import open_engine

__all__ = ["About", "Engine", "ModelFile", "open_engine"]
