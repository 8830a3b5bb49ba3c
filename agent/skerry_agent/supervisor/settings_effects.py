"""Puts another configuration into effect on a running device, as far as two differ, and takes it back. Decides nothing.

A model that gets another port keeps its old socket until that is settled: nobody else can take the port meanwhile, and
who connects to it is answered when the old one comes back.
"""

import errno
from collections.abc import Callable, Iterable, MutableMapping

from msgspec import Struct

from skerry_agent import log
from skerry_agent.config import AgentConfig
from skerry_agent.deployment.unit import Unit
from skerry_agent.overlay import RESULTS, SAMPLES
from skerry_agent.ports.clock import use_time_zone
from skerry_agent.state.disk import make_folder
from skerry_agent.supervisor.listeners import ModelListeners
from skerry_agent.supervisor.settings_proofs import Failure
from skerry_agent.wire import settings


class Parts(Struct, frozen=True):
    """What of a supervisor can be set otherwise while it runs. `use` takes what needs nothing but to be known.

    `reconnect` leaves the broker, and connects to the one of the configuration.
    """

    units: Callable[[], dict[str, Unit]]
    listeners: MutableMapping[str, ModelListeners]
    use: Callable[[AgentConfig], None]
    reconnect: Callable[[AgentConfig], None]


class Effects:
    """What is in effect, and what was before while a trial lasts."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._before: dict[str, ModelListeners] = {}
        self._halfway = False

    def apply(self, config: AgentConfig, keys: Iterable[str]) -> Failure | None:
        """Work by this configuration, which differs from the one before in these keys; why that cannot be."""
        self._use(config)
        touched = models_of(keys, self._parts.units())
        for model in sorted(touched):
            if f"models.{model}.http" in keys:
                failure = self._listen_elsewhere(config, model)
                if failure is not None:
                    self._halfway = True
                    return failure
        self._reload(touched, anew=any(_takes(key) == "runner" and not settings.split(key)[0] for key in keys))
        self._connect(config, keys)
        return None

    def take_back(self, config: AgentConfig, keys: Iterable[str]) -> None:
        """Work by the configuration of before again, also in a process that was started under the other one."""
        self._use(config)
        touched = models_of(keys, self._parts.units())
        for model in sorted(touched):
            if f"models.{model}.http" in keys:
                self._listen_again(config, model)
        self._close_of_models_that_went()
        if not self._halfway:
            self._reload(touched)
            self._connect(config, keys)
        self._halfway = False

    def _close_of_models_that_went(self) -> None:
        for model, before in self._before.items():
            if model not in self._parts.listeners:
                before.close_tcp()
        self._before = {}

    def _listen_again(self, config: AgentConfig, model: str) -> None:
        now, before = self._parts.listeners[model], self._before.get(model)
        if before is now or (before is None and self._halfway):
            return
        self._parts.listeners[model] = before or now.elsewhere(config)
        now.close_tcp()

    def _reload(self, models: set[str], *, anew: bool = False) -> None:
        units = self._parts.units()
        for model in sorted(models):
            units[model].reload(self._parts.listeners[model].sockets, anew=anew)

    def settle(self) -> None:
        """What was before is needed no more."""
        for before in self._before.values():
            before.close_tcp()
        self._before = {}

    def _use(self, config: AgentConfig) -> None:
        self._parts.use(config)
        log.use_level(config.agent.log_level)
        use_time_zone(config.agent.time_zone)

    def _connect(self, config: AgentConfig, keys: Iterable[str]) -> None:
        if takes_connection(keys):
            self._parts.reconnect(config)

    def _listen_elsewhere(self, config: AgentConfig, model: str) -> Failure | None:
        now = self._parts.listeners[model]
        other = now.elsewhere(config)
        if other.refusal is not None:
            other.close_tcp()
            return Failure("port_in_use" if other.errno == errno.EADDRINUSE else "port_unusable", other.refusal)
        self._before.setdefault(model, now)
        self._parts.listeners[model] = other
        return None


def make_folders(config: AgentConfig, keys: Iterable[str]) -> None:
    """Those in the state folder that results and samples from afar may be in, where any are. Raises `OSError`."""
    for key in keys:
        _, name = settings.split(key)
        if name in {"results_file", "sources"}:
            make_folder(config.state_dir / (RESULTS if name == "results_file" else SAMPLES))


def models_of(keys: Iterable[str], there: Iterable[str]) -> set[str]:
    """The models, of those that are there, that take a new runner: all, where a key is of no single one."""
    touched = {settings.split(key)[0] for key in keys if _takes(key) == "runner"}
    return {*there} if "" in touched else touched & {*there}


def takes_connection(keys: Iterable[str]) -> bool:
    """Whether a change of these takes a new connection to the broker."""
    return any(_takes(key) == "connection" for key in keys)


def feeds(model: str, keys: Iterable[str]) -> bool:
    """Whether a change of these gives a model other sources."""
    return bool({f"models.{model}.{name}" for name in ("sources", "camera")} & {*keys})


def _takes(key: str) -> settings.Taken:
    setting = settings.find(key)
    return setting.taken if setting is not None else "at once"
