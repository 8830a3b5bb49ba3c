"""agent.toml: the configuration of one device. Parsed once, at the start; all issues are reported together.

Relative paths are relative to the file. `firmware_configs/agent.toml` is the commented template.
"""

import contextlib
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, to_builtins
from msgspec.structs import replace

from skerry_agent.ports.api_access import AccessSettings, ApiAccess, is_loopback
from skerry_agent.state import backup_copies, offered
from skerry_agent.wire import broker_url, codec, hours
from skerry_agent.wire.broker_url import BrokerUrl
from skerry_agent.wire.engines import EngineName
from skerry_agent.wire.errors import SkerryError, WireError
from skerry_agent.wire.hours import Hours
from skerry_agent.wire.inputs import InputSourceSpec
from skerry_agent.wire.names import DeviceId, ModelName
from skerry_agent.wire.plain_text import cleaned
from skerry_agent.wire.settings import ALWAYS, issue_of, may_be_kept, parse_listen
from skerry_agent.wire.targets import CPU, TARGETS, TargetName, known_target

Seconds = Annotated[float, Meta(gt=0)]
MAX_SOCKET_PATH = 107
"""Of sun_path in unix(7), without the final zero."""
AUTO, LOOPBACK = "auto", "127.0.0.1"
UNENROLLED = "unenrolled"
"""Stands for a device's id until the host has given it one; nothing is sent under it."""
_STATE_DIR = re.compile(rb'(?m)^\s*state_dir\s*=\s*["\']([^"\'\n\0]+)["\']')


class ConfigError(SkerryError):
    """agent.toml is missing or wrong."""

    code = "config"
    exit_code = 2


class DeviceSection(Struct, frozen=True):
    """Who this is. Without `id` the host says it, as the device enrols. `serial` instead of the board's own."""

    id: DeviceId | None = None
    serial: Annotated[str, Meta(max_length=128)] = ""


class EnrolmentSection(Struct, frozen=True):
    """Where and with what the device asks for its identity. `spread_s`: the longest wait before it first connects."""

    url: str
    claim_file: str = "claim.pem"
    key_file: str = "claim.key"
    spread_s: Annotated[float, Meta(ge=0, le=3600)] = 30.0


class BrokerSection(Struct, frozen=True):
    """Where the broker is, mqtt://host:port or mqtts://host:port, and the files of what it wants, if it does.

    `credentials_file` holds USER:PASSWORD. They may be in the URL, too, as agents before had it.
    """

    url: str
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    credentials_file: str | None = None


class AgentSection(Struct, frozen=True):
    """How the agent itself behaves.

    `hours` is when it may download where a rollout says nothing, by the clock of `time_zone` (the system's, if left
    out). `keeps` are the settings that the host may not change on this board (`wire.settings`).
    """

    state_dir: str = "state"
    trust: str = "trust.json"
    factory: str | None = None
    telemetry_interval_s: Seconds = 60.0
    live_interval_s: Seconds = 10.0
    beat_s: Seconds = 1.0
    hang_s: Seconds = 10.0
    start_timeout_s: Seconds = 60.0
    metered: bool = False
    patch_stall_s: Seconds = 60.0
    outbox_bytes: Annotated[int, Meta(gt=0)] = 32 * 1024 * 1024
    outbox_days: Annotated[float, Meta(gt=0)] = 30.0
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    hours: str = ALWAYS
    time_zone: str | None = None
    keeps: tuple[str, ...] = ()

    @property
    def window(self) -> Hours | None:
        """When it may download: always, if None."""
        return None if self.hours == ALWAYS else hours.parse_hours(self.hours)

    @property
    def outbox_reports(self) -> int:
        """How many reports are `outbox_days` old: age is counted in usual intervals, which no clock can jump."""
        return max(1, round(min(1e9, self.outbox_days * 86400 / self.telemetry_interval_s)))


class PowerSection(Struct, frozen=True):
    """Coefficients of the power model: watts at idle, per busy core and of a busy accelerator, relative uncertainty.

    `calibrated` names what they were measured with, if not by us: `wattmeter 2026-11-29`.
    """

    idle_w: Annotated[float, Meta(ge=0)]
    watts_per_core: Annotated[float, Meta(ge=0)]
    uncertainty: Annotated[float, Meta(ge=0)] = 0.5
    source: str = ""
    calibrated: str = ""
    accelerator_w: Annotated[float, Meta(ge=0)] | None = None


class BoardSection(Struct, frozen=True):
    """What the hardware is."""

    name: str
    targets: Annotated[tuple[TargetName, ...], Meta(min_length=1)] = (CPU.name,)
    threads: Annotated[int, Meta(ge=1, le=64)] = 1
    engine: EngineName = "litert"
    power: PowerSection | None = None

    @property
    def usable_threads(self) -> int:
        """As many as this process may use: in a container or a cpuset it has fewer cores than the board."""
        return min(self.threads, len(os.sched_getaffinity(0)))


class ModelSection(Struct, frozen=True):
    """Inputs and outputs of one model on this device. `http` is host:port, port 0 for any free one at each start.

    "auto" is loopback and a port of its own, the first free one from 8000 on, which the model keeps. `unix` is the path
    of a Unix socket that serves the same, for clients on this device whom `unix_mode` lets in: one in the state folder
    where nothing is said, and none where that is "". `api_values` is what tensors hold for clients that do not say:
    docs/applications.md. `http_names` are names beside its address by which clients call `http`; `tls_cert`, `tls_key`
    and `token_file` are asked for where that is not loopback, unless `insecure` (docs/inference.md).
    """

    http: str | None = AUTO
    http_names: tuple[str, ...] = ()
    tls_cert: str | None = None
    tls_key: str | None = None
    token_file: str | None = None
    insecure: bool | None = None
    unix: str | None = None
    unix_mode: Annotated[str, Meta(pattern="^0?[0-7]{3}$")] = "0660"
    results_file: str | None = None
    results_file_bytes: Annotated[int, Meta(gt=0)] = 16 * 1024 * 1024
    results_files: Annotated[int, Meta(ge=0, le=1000)] = 4
    results_mqtt: bool = False
    results_mqtt_rate_hz: Annotated[float, Meta(gt=0, le=20)] = 1.0
    sources: tuple[InputSourceSpec, ...] = ()
    memory_limit_bytes: int | None = None
    api_values: Literal["sample", "real", "raw"] | None = None

    @property
    def access(self) -> AccessSettings:
        """Who may use the inference API over TCP."""
        where = None if self.http in {None, AUTO} else parse_listen(self.http or "")
        host = where[0] if where else LOOPBACK
        return AccessSettings(host, self.tls_cert, self.tls_key, self.token_file, self.insecure)


class AgentConfig(Struct, frozen=True):
    """The whole file, where it was found, and in `issue` why its copy was read in its place.

    `before` is the section `broker` of the file, where the device was moved: then its host's word is in its place. So
    is `own` the whole, where something is set from afar (`overlay`).
    """

    device: DeviceSection
    broker: BrokerSection
    board: BoardSection
    agent: AgentSection = AgentSection()
    models: dict[ModelName, ModelSection] = {}
    enrolment: EnrolmentSection | None = None
    folder: str = "."
    file: str = ""
    issue: str | None = None
    before: BrokerSection | None = None
    own: "AgentConfig | None" = None

    @property
    def state_dir(self) -> Path:
        """Where everything that must survive a restart is kept."""
        return Path(self.folder) / self.agent.state_dir

    @property
    def broker_address(self) -> BrokerUrl:
        """The broker's address, which was checked when the file was read."""
        return broker_url.parse(self.broker.url)

    @property
    def broker_ca(self) -> Path | None:
        """The authority's file, None for the system's. One in the current folder serves too, as it did before."""
        given = self.broker_file(self.broker.ca_file)
        before = Path(self.broker.ca_file or "")
        return before if given is not None and not given.exists() and before.exists() else given

    def beside(self, given: str) -> Path:
        """A file that is named in agent.toml, relative to it."""
        return Path(self.folder) / given

    def broker_file(self, given: str | None) -> Path | None:
        """A file of the section `broker`, None where it has none."""
        return Path(self.folder) / given if given else None

    @property
    def enrolment_address(self) -> BrokerUrl | None:
        """Where the enrolment listener is, None where none is named."""
        return broker_url.parse(self.enrolment.url) if self.enrolment is not None else None

    @property
    def identity_dir(self) -> Path:
        """Where this device's own key and certificate are once it has enrolled."""
        return self.state_dir / "identity"

    @property
    def trust_file(self) -> Path:
        """The file of the public keys that this device trusts."""
        return Path(self.folder) / self.agent.trust

    @property
    def factory_dir(self) -> Path:
        """Where the factory releases are, one folder a model; `factory` in the state folder unless it is given."""
        given = self.agent.factory
        return Path(self.folder) / given if given is not None else self.state_dir / "factory"

    def model(self, name: str) -> ModelSection:
        """The section of a model, or the default one."""
        return self.models.get(name, ModelSection())

    def unix_path(self, name: str) -> Path | None:
        """Where the Unix socket of a model's inference API is, None where it has none."""
        unix = self.model(name).unix
        if unix is not None:
            return Path(self.folder) / unix if unix else None
        usual = self.state_dir / "sockets" / f"{name}.sock"
        return usual if len(os.fsencode(usual)) <= MAX_SOCKET_PATH else None

    def api_access(self, name: str) -> ApiAccess:
        """Who may use the inference API of a model over TCP, for its runners."""
        section = self.model(name)
        settings = section.access
        elsewhere = not is_loopback(settings.host)
        files = (section.tls_cert, section.tls_key, section.token_file)
        cert, key, token = (self._from_file(file) if file else None for file in files)
        names = (*section.http_names, settings.host, *(own_names() if elsewhere else ()))
        return ApiAccess(names, elsewhere, settings.check_host, cert, key, token)

    def results_file(self, name: str) -> str | None:
        """Where a model's results are written, None for nowhere."""
        file = self.model(name).results_file
        return self._from_file(file) if file is not None else None

    def sources(self, name: str) -> tuple[InputSourceSpec, ...]:
        """The sources of a model, with paths that do not depend on the current folder."""
        return tuple(replace(source, path=self._from_file(source.path)) for source in self.model(name).sources)

    def _from_file(self, path: str) -> str:
        """A path that is relative to agent.toml; what is no path, such as a camera's URL, stays what it is."""
        return path if "://" in path else str(Path(self.folder) / path)

    def engine_for(self, target: TargetName) -> EngineName:
        """The engine that runs bundles of a target on this board."""
        return TARGETS[target].engine or self.board.engine


def load(path: Path) -> AgentConfig:
    """Read agent.toml, or its copy where it is damaged; then `issue` says so.

    Raises `ConfigError` with one line that names the file and everything wrong in it, where there is no copy.
    """
    try:
        config, issue = backup_copies.choose(
            path, backup_copies.find(path, _states(path)), lambda raw: _parse(raw, path)
        )
    except FileNotFoundError:
        hint = "`skerry device provision NAME --board B` on the host writes one"
        raise ConfigError(f"{path} does not exist", hint=hint) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    return moved(replace(config, issue=cleaned("; ".join(filter(None, (issue, config.issue)))) or None))


def may_move(config: AgentConfig) -> bool:
    """Whether its host may give it an identity over the connection that it has: agent.toml names no other."""
    return config.enrolment is None and config.broker.cert_file is None


def moved(config: AgentConfig) -> AgentConfig:
    """With where the host has moved the device to, once that has given it an identity over the old way."""
    offer = offered.taken(config.state_dir) if may_move(config) else None
    if offer is None:
        return config
    broker = BrokerSection(offer.broker, ca_file=str(offered.authority(config.state_dir).absolute()))
    return replace(config, broker=broker, enrolment=EnrolmentSection(offer.enrolment), before=config.broker)


def by_file(config: AgentConfig) -> AgentConfig:
    """As agent.toml has it, of a device that was moved."""
    return replace(config, broker=config.before, enrolment=None, before=None) if config.before is not None else config


def keep_copy(config: AgentConfig) -> None:
    """Keep a copy of the file that a device has started with. Raises `OSError` when the disk refuses it."""
    if config.file:
        path = Path(config.file)
        backup_copies.keep(path, config.state_dir, lambda raw: _parse(raw, path))


def _parse(raw: bytes, path: Path) -> AgentConfig:
    try:
        data = codec.parse_toml(raw)
    except WireError as error:
        raise ConfigError(f"{path} cannot be read: {'; '.join(error.issues)}") from None
    try:
        place = {"folder": str(path.resolve().parent), "file": str(path), "issue": None, "before": None, "own": None}
        data, strange = _without_strange_targets(data)
        config = codec.convert({"device": {}, **data, **place}, AgentConfig)
    except WireError as error:
        raise ConfigError(f"{path}: {'; '.join(error.issues)}") from None
    issues = [*issues_of(config)]
    if issues:
        raise ConfigError(f"{path}: {'; '.join(issues)}")
    try:
        broker_url.parse(config.broker.url)
    except WireError as error:
        raise ConfigError(f"{path}: broker.url: {error.message}", hint=error.hint) from None
    unknown = [*_unknown(data, to_builtins(config)), *_kept_in_vain(config)]
    said = [f"unknown keys, ignored: {', '.join(unknown)}"] if unknown else []
    said += [f"unknown targets, ignored: {', '.join(strange)}"] if strange else []
    return replace(config, issue=f"{path}: {'; '.join(said)}") if said else config


def _without_strange_targets(data: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The file without targets that only a newer agent knows, unless it has no other; and what they are.

    A board that goes back to an older agent must not stop for what a newer one has brought.
    """
    board = data.get("board")
    if not isinstance(board, dict):
        return data, []
    targets = board.get("targets")
    if not isinstance(targets, list) or not all(isinstance(word, str) for word in targets):
        return data, []
    known = [word for word in targets if known_target(word) is not None]
    if not known or len(known) == len(targets):
        return data, []
    return {**data, "board": {**board, "targets": known}}, [word for word in targets if word not in known]


def _kept_in_vain(config: AgentConfig) -> Iterator[str]:
    """Keys that it keeps for itself and that nobody could set: a board must not stop for what another agent knows."""
    yield from (f"{key} in agent.keeps" for key in config.agent.keeps if not may_be_kept(key))


def _unknown(given: object, known: object, where: str = "") -> Iterator[str]:
    """Keys that nothing reads: typing errors, or keys of another version of the agent."""
    if isinstance(given, dict) and isinstance(known, dict):
        for key, value in given.items():
            if key in known:
                yield from _unknown(value, known[key], f"{where}{key}.")
            else:
                yield f"{where}{key}"
    elif isinstance(given, list) and isinstance(known, list | tuple):
        for item, read in zip(given, known, strict=True):
            yield from _unknown(item, read, where)


def issues_of(config: AgentConfig) -> Iterator[str]:
    """Issues between fields, and within the parts of one."""
    agent = config.agent
    yield from _enrolment_issues(config)
    if agent.hang_s <= 2 * agent.beat_s:
        yield f"agent.hang_s: {agent.hang_s:g} s must be more than twice beat_s, or healthy runners count as hung"
    for key in ("hours", "time_zone"):
        value = getattr(agent, key)
        issue = issue_of(key, value) if value is not None else ""
        if issue:
            yield f"agent.{issue}"
    for name, model in config.models.items():
        if model.http not in {None, AUTO} and parse_listen(model.http or "") is None:
            forms = '"auto", 127.0.0.1:8000, or [::1]:0 for any port'
            yield f"models.{name}.http: {model.http!r} is not usable; write {forms}"
        yield from (f"models.{name}: {error}" for error in model.access.errors())
        path = config.unix_path(name)
        if path is not None and len(os.fsencode(path)) > MAX_SOCKET_PATH:
            yield f"models.{name}.unix: {path} is longer than {MAX_SOCKET_PATH} bytes; put the socket elsewhere"


def _enrolment_issues(config: AgentConfig) -> Iterator[str]:
    if config.enrolment is None:
        if config.device.id is None:
            yield "device.id: missing; only a device with a section [enrolment] is named by the host"
        return
    if config.broker.ca_file is None:
        yield "broker.ca_file: missing; a device that enrols believes its fleet's own authority only"
    for name, url in (("broker.url", config.broker.url), ("enrolment.url", config.enrolment.url)):
        try:
            if not broker_url.parse(url).tls:
                yield f"{name}: a device that enrols needs mqtts://"
        except WireError as error:
            yield f"{name}: {error.message}"


def own_names() -> tuple[str, ...]:
    """What other machines usually call this one."""
    name = socket.gethostname()
    short = name.partition(".")[0]
    return name, short, f"{short}.local"


def _states(path: Path) -> list[Path]:
    """Where the state folder may be, also when the file that says so is damaged."""
    with contextlib.suppress(OSError):
        line = _STATE_DIR.search(path.read_bytes())
        said = [line[1].decode(errors="replace")] if line else []
        return [path.resolve().parent / name for name in (*said, *_usual_states())]
    return [path.resolve().parent / name for name in _usual_states()]


def _usual_states() -> list[str]:
    """For a service, systemd names the folder that it made."""
    return [*filter(None, os.environ.get("STATE_DIRECTORY", "").split(":")), AgentSection().state_dir]
