"""Settings from afar: the one table of keys that a host may set on a device, and how both say it. Pure.

A setting stands in the place of the same key in agent.toml. Keys are written as in agent.toml without the section of
the agent; those of a model begin with `models.NAME.`. What must never leave a board (passwords, keys, tokens, who may
use the inference API without them) and what the hardware is are no settings: only agent.toml says them.

An order names all that is set on a device, each time: what it leaves out is agent.toml's again.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from skerry_agent.wire import broker_url, hours
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.inputs import InputSourceSpec
from skerry_agent.wire.names import MODEL_PATTERN, Count
from skerry_agent.wire.plain_text import cleaned

NEWEST: Final = 1
"""The newest state of the table; a device reports its own, and so which keys it knows."""

ALWAYS = "always"
AUTO_PORT = "auto"
MOST_KEYS, MOST_CHARS, MOST_SOURCES = 64, 512, 8
MAX_VALUES_BYTES = 16 * 1024
"""Of all that is set on one device, as JSON: its signed desired state stays a few kilobytes."""

MOST_SHOWN = 120

DEFAULT_TRIAL_S, LEAST_TRIAL_S, MOST_TRIAL_S = 120.0, 5.0, 3600.0

Outcome = Literal["none", "trial", "kept", "rolled_back", "refused"]
Taken = Literal["at once", "connection", "runner"]
"""What a change of a key takes: nothing, a new connection to the broker, or a new runner of the model (of all models,
where the key is of no single one): a limit that no runner keeps to is found out on trial, not at the next start."""

KEY_PATTERN = r"^[a-z0-9][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*){0,3}\Z"
Key = Annotated[str, Meta(pattern=KEY_PATTERN, max_length=128)]
SettingsId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{0,64}\Z")]
Text = Annotated[str, Meta(max_length=2048)]
"""A value that is shown; what is escaped in it takes more characters."""
Values = Annotated[dict[Key, Any], Meta(max_length=MOST_KEYS)]


class SettingsOrder(Struct, frozen=True):
    """All that the host has set on a device; `id` is new with each order. Taken as a whole, or not at all.

    It is on trial for `trial_s` seconds at most: what has not shown itself healthy by then is rolled back.
    """

    id: SettingsId
    values: Values = {}
    trial_s: Annotated[float, Meta(ge=LEAST_TRIAL_S, le=MOST_TRIAL_S)] = DEFAULT_TRIAL_S


class Difference(Struct, frozen=True, omit_defaults=True):
    """A key whose value on the device is not the one that was ordered; None stands for agent.toml's own.

    Values are as a person reads them (`shown`). `why`: `kept_here` where agent.toml keeps the key for itself; else the
    outcome of the order says it.
    """

    key: Annotated[str, Meta(max_length=128)]
    wanted: Text | None = None
    running: Text | None = None
    why: Annotated[str, Meta(max_length=64)] = ""


class SettingsReport(Struct, frozen=True, omit_defaults=True):
    """What became of the newest order of settings, and which keys agent.toml `keeps` for itself.

    `schema` is the newest state of the table of keys that the device knows (`NEWEST`). `code` and `detail` say why an
    order was rolled back or refused. `kept` is the order whose values hold now, or hold again if a trial fails.
    """

    id: SettingsId = ""
    outcome: Outcome = "none"
    code: str = ""
    detail: str = ""
    differences: Annotated[tuple[Difference, ...], Meta(max_length=2 * MOST_KEYS)] = ()
    keeps: Annotated[tuple[str, ...], Meta(max_length=MOST_KEYS)] = ()
    schema: Count = 0
    kept: SettingsId = ""


class Setting(Struct, frozen=True):
    """One key: `models.*.http` stands for those of every model. `form` says in words which values it takes.

    `since` is the state of the table that has brought it.
    """

    key: str
    kind: Any
    form: str
    taken: Taken
    text: str
    check: Callable[[Any], str] = lambda _value: ""
    since: int = 1


def _broker(url: str) -> str:
    try:
        broker_url.parse(url)
    except WireError as error:
        return "; ".join(filter(None, (*error.issues, error.hint)))
    said = "it has a user or a password in it: they stay in the device's credentials_file"
    return said if broker_url.has_password(url) else ""


def _hours(text: str) -> str:
    try:
        return "" if text == ALWAYS else str(hours.parse_hours(text) and "")
    except WireError as error:
        return error.issues[0]


_SECRET = re.compile(r'(?<=://)[^/@\s"]*@')
_LISTEN = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s\[\]:/]+):([0-9]{1,5})")
LAST_PORT = 65535


def parse_listen(address: str) -> tuple[str, int] | None:
    """(host, port) of host:port or [IPv6]:port; None where it is neither."""
    found = _LISTEN.fullmatch(address)
    if found is None or int(found[2]) > LAST_PORT:
        return None
    return found[1].strip("[]"), int(found[2])


def _listen(address: str) -> str:
    usable = address == AUTO_PORT or parse_listen(address) is not None
    return "" if usable else 'write "auto", 127.0.0.1:8000, or [::1]:0 for any port'


def _path(path: str) -> str:
    if _SECRET.search(path):
        return "it has a user or a password in it: only agent.toml on the device may have that"
    return "" if path.isprintable() and path.strip() == path else "it has spaces at an end, or what no path has"


def _paths(sources: Iterable[InputSourceSpec]) -> str:
    return next(filter(None, (_path(each.path) for each in sources)), "")


def _seconds(least: float, most: float) -> tuple[Any, str]:
    return Annotated[float, Meta(ge=least, le=most)], f"seconds from {least:g} to {most:g}"


def _whole(least: int, most: int) -> tuple[Any, str]:
    return Annotated[int, Meta(ge=least, le=most)], f"a whole number from {least} to {most}"


_BOOL: tuple[Any, str] = (bool, "true or false")
_DAY = 86_400.0
_PATH: tuple[Any, str] = (Annotated[str, Meta(min_length=1, max_length=MOST_CHARS)], "a path")
_GIB = 1 << 30
_ZONE = r"^[A-Za-z][A-Za-z0-9_+-]{0,31}(/[A-Za-z0-9_+-]{1,31}){0,2}\Z"
_LEVELS = Literal["debug", "info", "warning", "error"]
_API_VALUES = Literal["sample", "real", "raw"]

SETTINGS: tuple[Setting, ...] = (
    Setting("telemetry_interval_s", *_seconds(1, _DAY), "at once", "how long a telemetry report's interval is"),
    Setting("live_interval_s", *_seconds(1, 3600), "at once", "the same during a trial and while it is watched"),
    Setting("log_level", _LEVELS, "debug, info, warning or error", "at once", "from which level on lines are logged"),
    Setting("metered", *_BOOL, "connection", "whether the link is paid by the byte"),
    Setting("hours", str, f"{hours.FORM}, or {ALWAYS}", "at once", "when it may download", _hours),
    Setting(
        "time_zone",
        Annotated[str, Meta(pattern=_ZONE)],
        "a time zone, for instance Europe/Berlin",
        "at once",
        "by which clock `hours` are meant",
    ),
    Setting("hang_s", *_seconds(1, 600), "runner", "an inference that takes longer counts as hung"),
    Setting("start_timeout_s", *_seconds(5, 3600), "runner", "a model that is not ready by then is rejected"),
    Setting("patch_stall_s", *_seconds(5, 3600), "at once", "timeout of a patch"),
    Setting("outbox_bytes", *_whole(64 * 1024, 64 * _GIB), "at once", "telemetry kept while offline"),
    Setting("outbox_days", Annotated[float, Meta(gt=0, le=3650)], "days, up to 3650", "at once", "and for how long"),
    Setting(
        "broker_url",
        Annotated[str, Meta(max_length=MOST_CHARS)],
        "mqtt://HOST:PORT or mqtts://HOST:PORT",
        "connection",
        "where the broker is",
        _broker,
    ),
    Setting(
        "models.*.http",
        Annotated[str, Meta(max_length=MOST_CHARS)],
        "HOST:PORT or auto",
        "runner",
        "where its inference API listens",
        _listen,
    ),
    Setting(
        "models.*.sources",
        Annotated[tuple[InputSourceSpec, ...], Meta(max_length=MOST_SOURCES)],
        'a list of sources, such as [{"type":"camera","path":"/dev/video0"}]',
        "runner",
        "what feeds it beside its API",
        _paths,
    ),
    Setting("models.*.camera", *_PATH, "runner", "the path of its camera", _path),
    Setting(
        "models.*.memory_limit_bytes", *_whole(16 << 20, 1 << 50), "runner", "the most memory that its runner may take"
    ),
    Setting("models.*.api_values", _API_VALUES, "sample, real or raw", "runner", "what tensors of its API hold"),
    Setting("models.*.results_file", *_PATH, "runner", "where its results are written", _path),
    Setting("models.*.results_file_bytes", *_whole(4096, 64 * _GIB), "runner", "the most that one of these files has"),
    Setting("models.*.results_files", *_whole(0, 1000), "runner", "how many older ones are kept"),
    Setting("models.*.results_mqtt", *_BOOL, "runner", "whether results go to the broker"),
    Setting(
        "models.*.results_mqtt_rate_hz",
        Annotated[float, Meta(gt=0, le=20)],
        "a number up to 20",
        "runner",
        "at most so many of them a second",
    ),
)
"""Every key that can be set from afar."""

_BY_KEY = {setting.key: setting for setting in SETTINGS}
_MODEL = re.compile(r"models\.([^.]+)\.(.+)")


def find(key: str) -> Setting | None:
    """The setting of a key; None where there is none."""
    model, rest = split(key)
    return _BY_KEY.get(f"models.*.{rest}" if model else key)


def split(key: str) -> tuple[str, str]:
    """(model, the rest) of a key of a model, ("", key) of any other."""
    found = _MODEL.fullmatch(key)
    return (found[1], found[2]) if found is not None and re.match(MODEL_PATTERN, found[1]) else ("", key)


def keys_for(models: Iterable[str]) -> Iterator[str]:
    """Every key that there is, with those of some models."""
    for setting in SETTINGS:
        if setting.key.startswith("models.*."):
            yield from (setting.key.replace("*", model) for model in models)
        else:
            yield setting.key


def issue_of(key: str, value: object) -> str:
    """What is wrong with a value of a known key, in words; empty if nothing is."""
    setting = find(key)
    if setting is None:
        return f"{key}: there is no such setting"
    try:
        if isinstance(value, str) and len(value) > MOST_CHARS:
            return f"{key}: longer than {MOST_CHARS} characters"
        msgspec.json.encode(value)  # half a character has no place in any message
        converted = msgspec.convert(value, setting.kind)
    except (msgspec.ValidationError, ValueError, RecursionError):
        return f"{key}: {_quoted(value)} is not {setting.form}"
    why = setting.check(converted)
    return f"{key}: {_quoted(value)} cannot be used: {why}" if why else ""


def issues_of(values: Mapping[str, object]) -> list[str]:
    """What is wrong with each of some values, and with all of them together."""
    found = [*filter(None, (issue_of(key, value) for key, value in values.items()))]
    try:
        size = len(msgspec.json.encode(values))
    except (RecursionError, UnicodeEncodeError):  # each has its issue already
        return found
    if len(values) > MOST_KEYS or size > MAX_VALUES_BYTES:
        found.append(
            f"{len(values)} settings of {size} bytes: at most {MOST_KEYS} of {MAX_VALUES_BYTES} bytes can be set"
        )
    return found


def is_kept(key: str, keeps: Iterable[str]) -> bool:
    """Whether agent.toml keeps a key for itself: by its name, or that of a part above it, such as `models.fashion`."""
    return any(key == each or key.startswith(f"{each}.") for each in keeps)


def may_be_kept(key: str) -> bool:
    """Whether a board may say that it keeps this: a key, or a part above some."""
    above = (setting.key for setting in SETTINGS if setting.key.startswith("models.*."))
    model = re.fullmatch(r"models(\.[^.]+)?", key)
    return find(key) is not None or (model is not None and any(above))


def _quoted(value: object) -> str:
    return cleaned(_text(value), MOST_SHOWN)


def shown(value: object) -> str:
    """A value as a person reads it, without passwords, cut if it is long."""
    return cleaned(_SECRET.sub("...@", value) if isinstance(value, str) else _text(value), MOST_SHOWN)


def _text(value: object) -> str:
    try:
        return _SECRET.sub("...@", msgspec.json.encode(value).decode())
    except (RecursionError, UnicodeEncodeError):  # nested without end, or half a character
        return "something else"
