"""agent.toml with what is set from afar in the place of its keys: the configuration that a device works by.

The file itself is never changed, and what it `keeps` is its own. Values were checked when they were taken; what does
not fit the file any more, because somebody has edited that, is left out, and an issue says so.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from skerry_agent import config as own_config
from skerry_agent.config import AgentConfig, ConfigError, ModelSection, issues_of
from skerry_agent.machine.settings import Overlay
from skerry_agent.ports.clock import has_time_zone
from skerry_agent.state.settings import read_settings
from skerry_agent.wire import broker_url, settings
from skerry_agent.wire.inputs import CameraSource, DirectorySource, InputSourceSpec

RESULTS, SAMPLES = "results", "samples"
"""The folders in the state folder that results files and watched folders may be in: nothing else there is theirs."""


def load(path: Path) -> AgentConfig:
    """agent.toml with what is set from afar. Raises `ConfigError` as `config.load`."""
    own = own_config.load(path)
    record, _ = read_settings(own.state_dir)
    return effective(own, record.overlay)


def effective(own: AgentConfig, overlay: Overlay) -> AgentConfig:
    """With as much of an overlay as fits, and an issue for the rest."""
    values = {key: value for key, value in overlay.values.items() if not _is_elsewhere(own, overlay, key)}
    try:
        return overlaid(own, values)
    except ConfigError:
        return _with_what_fits(own, values)


def _is_elsewhere(own: AgentConfig, overlay: Overlay, key: str) -> bool:
    """The host has moved the device since: where its broker was before is not where it is now."""
    return key == "broker_url" and overlay.moved != (own.before is not None)


def _with_what_fits(own: AgentConfig, values: Mapping[str, Any]) -> AgentConfig:
    fitting: dict[str, Any] = {}
    left_out: list[str] = []
    for key, value in values.items():
        try:
            overlaid(own, {**fitting, key: value})
            fitting[key] = value
        except ConfigError as error:
            left_out.append(error.message)
    config = overlaid(own, fitting)
    issue = f"settings from afar are left out: {'; '.join(left_out)}"
    return replace(config, issue="; ".join(filter(None, (own.issue, issue))))


def overlaid(own: AgentConfig, values: Mapping[str, Any]) -> AgentConfig:
    """With all of these values but those that agent.toml keeps. Raises `ConfigError` that lists what cannot be."""
    taken = {key: value for key, value in values.items() if not settings.is_kept(key, own.agent.keeps)}
    issues = settings.issues_of(taken)
    if not issues:
        config = _put(own, taken)
        issues = [*issues_of(config), *_issues_from_afar(config, taken)]
    if issues:
        raise ConfigError("; ".join(issues), code="invalid_settings")
    return replace(config, own=own) if taken else own


def value_of(config: AgentConfig, key: str) -> Any:
    """What a key is now, as JSON has it; None where there is no such key."""
    model, name = settings.split(key)
    if settings.find(key) is None:
        return None
    if key == "broker_url":
        return broker_url.without_password(config.broker.url)
    if not model:
        return getattr(config.agent, name)
    section = config.model(model)
    if name == "camera":
        return next((each.path for each in section.sources if isinstance(each, CameraSource)), None)
    return msgspec.to_builtins(getattr(section, name))


def changed_keys(before: AgentConfig, after: AgentConfig) -> set[str]:
    """The keys that two configurations of a device differ in."""
    models = {*before.models, *after.models}
    return {key for key in settings.keys_for(models) if value_of(before, key) != value_of(after, key)}


def _put(own: AgentConfig, values: Mapping[str, Any]) -> AgentConfig:
    agent: dict[str, Any] = {}
    models: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        setting = settings.find(key)
        assert setting is not None
        model, name = settings.split(key)
        typed = msgspec.convert(value, setting.kind)
        (models.setdefault(model, {}) if model else agent)[name] = typed
    url = _with_credentials(agent.pop("broker_url"), own.broker.url) if "broker_url" in agent else own.broker.url
    sections = {**own.models, **{name: _section(own.model(name), each) for name, each in models.items()}}
    broker, section = replace(own.broker, url=url), replace(own.agent, **agent)
    return replace(own, broker=broker, agent=section, models=sections)


def _with_credentials(url: str, own: str) -> str:
    """An address with the user and password that agent.toml has in its own: agents before had them there."""
    credentials = own.partition("://")[2].rpartition("@")[0]
    scheme, _, place = url.partition("://")
    return f"{scheme}://{credentials}@{place}" if credentials else url


def _section(section: ModelSection, values: dict[str, Any]) -> ModelSection:
    camera = values.pop("camera", None)
    changed = replace(section, **values)
    return changed if camera is None else replace(changed, sources=_with_camera(changed.sources, camera))


def _with_camera(sources: tuple[InputSourceSpec, ...], path: str) -> tuple[InputSourceSpec, ...]:
    """With another path for the camera; a model without one gets one beside its sources."""
    if not any(isinstance(each, CameraSource) for each in sources):
        return (*sources, CameraSource(path))
    return tuple(replace(each, path=path) if isinstance(each, CameraSource) else each for each in sources)


def _issues_from_afar(config: AgentConfig, values: Mapping[str, Any]) -> list[str]:
    """What a person may write into agent.toml on the board, and nobody may from afar."""
    found = []
    zone = values.get("time_zone")
    if zone is not None and not has_time_zone(zone):
        found.append(f"time_zone: this device does not know {zone}: install tzdata, or choose another")
    for key in values:
        model, name = settings.split(key)
        if name == "http" and (issue := config.model(model).access.issue()):
            found.append(f"{key}: {issue} in agent.toml")
        elif name == "results_file" and not _may_write(config, config.results_file(model) or "", RESULTS):
            found.append(f"{key}: in the state folder only {config.state_dir / RESULTS} is for results")
        elif name == "results_file" and _is_needed(config, Path(config.results_file(model) or "")):
            found.append(f"{key}: it is a file that this device works with, or no file: choose another name")
        elif name == "sources":
            folders = [each.path for each in config.sources(model) if isinstance(each, DirectorySource)]
            if not all(_may_write(config, folder, SAMPLES) for folder in folders):
                found.append(f"{key}: in the state folder only {config.state_dir / SAMPLES} is for samples")
    return found


def _is_needed(config: AgentConfig, path: Path) -> bool:
    """Whether a path is of something that results must never be written into: they are appended, and then renamed."""
    place = path.resolve()
    if place in {each.resolve() for each in _files(config)} or place.is_relative_to(config.factory_dir.resolve()):
        return True
    return os.path.exists(place) and not os.path.isfile(place)  # noqa: PTH110, PTH113 - False for a name that cannot be


def _files(config: AgentConfig) -> Iterator[Path]:
    """Those that agent.toml names, and itself."""
    yield from (Path(config.file), config.trust_file)
    broker, enrolment = config.broker, config.enrolment
    named = [broker.ca_file, broker.cert_file, broker.key_file, broker.credentials_file]
    named += [enrolment.claim_file, enrolment.key_file] if enrolment is not None else []
    for model, section in config.models.items():
        named += [section.tls_cert, section.tls_key, section.token_file]
        yield from (Path(source.path) for source in config.sources(model))
    yield from (config.beside(name) for name in named if name)


def _may_write(config: AgentConfig, path: str, folder: str) -> bool:
    """Whether a path from afar is none of the agent's own files."""
    place, state = Path(path).resolve(), config.state_dir.resolve()
    if place == state or state.is_relative_to(place):
        return False
    return not place.is_relative_to(state) or place.is_relative_to(state / folder)
