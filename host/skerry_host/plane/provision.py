"""Writes the folder that a board is given: agent.toml and trust.json, a claim where it is to enrol, or the whole image.

Enrols nothing, and makes neither keys nor certificates. The only user and password that it knows are those that were
given for the device itself: the plane's are nowhere that this could read.
"""

import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace as dataclass_replace
from pathlib import Path
from typing import Literal

from msgspec import Struct
from msgspec.json import encode as encode_json
from msgspec.json import format as format_json
from msgspec.structs import replace

from skerry_agent.wire import codec
from skerry_agent.wire.broker_url import has_password, without_password
from skerry_agent.wire.engines import EXTRAS
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.names import check_device_id
from skerry_agent.wire.targets import CPU, TARGETS
from skerry_host.boards import Board
from skerry_host.files import write_atomic
from skerry_host.fleet.errors import FleetError
from skerry_host.home import Home
from skerry_host.image import folder as image_folder
from skerry_host.image.describe import SUMS
from skerry_host.image.errors import ImageError
from skerry_host.image.parts import image_files
from skerry_host.image.request import PRIVATE, PUBLIC, ImageFile, ImageRequest, Ordered
from skerry_host.plane.broker.connection import Connection, address
from skerry_host.plane.errors import AddressError, FolderError
from skerry_host.release.keys import trust_keys

ADDRESS_FILE = "serve.json"
CREDENTIALS_FILE = "credentials"
IDENTITY = frozenset({"agent.toml", "trust.json", "fleet-ca.pem", "claim.pem", "claim.key", CREDENTIALS_FILE})
"""The files at the top of a folder that are nobody else's."""


class Addresses(Struct, frozen=True):
    """Of a serving plane, in `ADDRESS_FILE`; no address has a password in it, except in files of older planes.

    `password`: the broker asks for one, so devices need one of their own. `old_port`: where a broker with identities
    hears devices that have none.
    """

    broker: str
    page: str | None = None
    enrolment: str | None = None
    security: Literal["mtls", "plain", "external"] = "plain"
    password: bool = False
    old_port: int | None = None


def first_addresses(environment: Mapping[str, str] = os.environ) -> Addresses:
    """Where the first `skerry serve` is going to start its broker."""
    given = [(environment.get("SKERRY_TLS_PORT", ""), "8883"), (environment.get("SKERRY_ENROLL_PORT", ""), "8884")]
    broker, enrolment = (f"mqtts://127.0.0.1:{port if port.strip('0') else usual}" for port, usual in given)
    return Addresses(broker, None, enrolment, "mtls")


def addresses_of(home: Home) -> Addresses:
    """Those of the last `skerry serve`, else where the first one will be.

    The file of an older plane may have the plane's user and password in its address: they are not for devices.
    """
    try:
        found = codec.decode((home.root / ADDRESS_FILE).read_bytes(), Addresses)
    except (OSError, WireError):
        return first_addresses()
    asks = found.password or has_password(found.broker)
    return replace(found, broker=without_password(found.broker), password=asks)


def write_addresses(home: Home, addresses: Addresses) -> None:
    """Record where the broker and the web page are, for `device provision`, whatever the file held before."""
    content = format_json(encode_json(addresses)) + b"\n"
    write_atomic(home.root / ADDRESS_FILE, content, mode=0o600)


def install_command(board: Board) -> str:
    """What installs the agent on a board, in a checkout, with the runtimes that the board's targets need."""
    extras = dict.fromkeys(
        EXTRAS[TARGETS[target].engine or board.runtime.engines[target][0]] for target in board.targets
    )
    return f"pip install './agent[{','.join(extras)}]'"


def check_id(name: str) -> str:
    """Return a device id; raises `FleetError` that says what one looks like."""
    try:
        return check_device_id(name)
    except WireError as error:
        raise FleetError(error.message, code=error.code) from None


def check_tag(tag: str) -> str:
    """Return a tag that a selection can name; raises `FleetError`."""
    if not re.match(r"^[A-Za-z0-9_.@-]{1,64}\Z", tag):
        raise FleetError(f"tag {tag!r} is not usable", hint="use up to 64 letters, digits and _ . @ -", code="tag")
    return tag


@dataclass(frozen=True, slots=True)
class Place:
    """A folder for the boards of one kind: that of `device`, or many that the host names.

    With `ordered` it is an image folder, with all that a board needs; else only what says who it is and whom to call.
    """

    folder: Path
    board: Board
    device: str | None = None
    ordered: Ordered | None = None

    @property
    def factory(self) -> bool:
        """Whether releases come with it."""
        return self.ordered is not None and bool(self.ordered.factories)


@dataclass(frozen=True, slots=True)
class Image:
    """What boards enrol by: where broker and enrolment listener are, whom to believe, and a claim with its key."""

    broker: str
    enrolment: str
    fleet_ca: bytes
    claim: bytes
    claim_key: bytes
    name: str = ""
    expires: float = 0.0
    count: int = 1


Files = dict[str, tuple[str, int]]


def device_files(home: Home, place: Place, access: Connection) -> list[ImageFile]:
    """The files of one device without an identity: agent.toml, trust.json, what `access` has of a user and password.

    Raises `KeyFileError`, `FolderError`.
    """
    assert place.device is not None
    files: Files = {"trust.json": (_trust(home), PUBLIC)}
    if access.username is not None:
        files[CREDENTIALS_FILE] = (f"{access.username}:{access.password}\n", PRIVATE)
    credentials = CREDENTIALS_FILE if access.username is not None else None
    toml = agent_toml(place.device, place.board, str(access.url), credentials, factory=place.factory)
    return _all_files(place, files | {"agent.toml": (toml, PRIVATE)}, without_password(str(access.url)), None)


def claim_files(home: Home, place: Place, image: Image) -> list[ImageFile]:
    """The files that boards of one kind enrol by: the board of one device, or many that the host names.

    Raises `KeyFileError`, `AddressError`, `FolderError`.
    """
    for url in (image.broker, image.enrolment):
        require_tls(url)
    files: Files = {
        "claim.key": (image.claim_key.decode(), PRIVATE),
        "claim.pem": (image.claim.decode(), PUBLIC),
        "fleet-ca.pem": (image.fleet_ca.decode(), PUBLIC),
        "trust.json": (_trust(home), PUBLIC),
        "agent.toml": (claim_toml(image, place.board, place.device, factory=place.factory), PRIVATE),
    }
    return _all_files(place, files, image.broker, image)


def write_files(place: Place, files: list[ImageFile]) -> None:
    """Write a folder; where one file cannot be written, none stays that was not there before.

    Raises `FolderError`, and `FleetError` where a configuration alone would be put over an image.
    """
    if place.ordered is None and (place.folder / SUMS).exists():
        hint = "leave out --config-only, which makes all of it anew, or choose another folder"
        what = f"{place.folder} holds an image, whose checksums would fit no more"
        raise FleetError(what, hint=hint, code="not_empty")
    try:
        image_folder.write_folder(place.folder, files, kept_before(place.folder))
    except ImageError as error:
        raise FolderError(error.message, hint=error.hint) from None


def identity_of(files: list[ImageFile]) -> list[ImageFile]:
    """Of all files of an image those that say who the device is, and whom it calls and believes."""
    return [file for file in files if file.path in IDENTITY]


def kept_before(folder: Path) -> Path:
    """Where a folder's agent.toml goes that is written anew: somebody may have added inputs to it.

    Beside the folder, because that is copied to a board, and those of old hosts may hold the plane's password.
    """
    return folder.absolute().with_name(f"{folder.name}.agent.toml.before")


def _trust(home: Home) -> str:
    return json.dumps(trust_keys(home.keys), indent=2) + "\n"


def _all_files(place: Place, identity: Files, broker: str, image: Image | None) -> list[ImageFile]:
    """Those of the identity, and with an image all others. Raises `FolderError` where one cannot be read."""
    if place.ordered is None:
        return [ImageFile(name, text.encode(), mode=mode) for name, (text, mode) in identity.items()]
    try:
        return image_files(_request(place, place.ordered, identity, (broker, image)))
    except OSError as error:
        raise FolderError(f"cannot read {error.filename}: {error.strerror}", hint="try again") from None


def _request(place: Place, ordered: Ordered, identity: Files, known: tuple[str, Image | None]) -> ImageRequest:
    broker, image = known
    made = ImageRequest(place.board, ordered, identity, broker, time.time(), place.device)
    if image is None:
        return made
    return dataclass_replace(made, claim=image.name, expires=image.expires, count=image.count)


def require_tls(url: str) -> None:
    """Raises `AddressError` for an address that no device with an identity calls."""
    parsed = address(url)
    if not parsed.tls:
        raise AddressError(f"{parsed} is without TLS", hint="devices with an identity need mqtts://")
    if parsed.username is not None:
        hint = "leave out user and password: devices with an identity come in by their certificate"
        raise AddressError(f"the address of {parsed} holds a user", hint=hint)


def claim_toml(image: Image, board: Board, device: str | None = None, *, factory: bool = False) -> str:
    """The configuration of boards that enrol; without a device the host says who they are."""
    named = ["[device]", f"id = {json.dumps(device)}", ""] if device else []
    alone = ["spread_s = 0.0                # one board need not wait for others"] if device else []
    serial = ["# [device]", '# serial = "..."              # in place of the one that the board itself has', ""]
    lines = [
        *(named or serial),
        "[broker]",
        f"url = {json.dumps(image.broker)}",
        'ca_file = "fleet-ca.pem"',
        "",
        "[enrolment]",
        f"url = {json.dumps(image.enrolment)}",
        'claim_file = "claim.pem"',
        'key_file = "claim.key"',
        *alone,
    ]
    return _toml(lines, board, factory=factory)


def agent_toml(device: str, board: Board, broker: str, credentials: str | None = None, *, factory: bool = False) -> str:
    """The configuration of one device that has no identity."""
    lines = ["[device]", f"id = {json.dumps(device)}", "", "[broker]", f"url = {json.dumps(broker)}"]
    return _toml(
        [*lines, *([f"credentials_file = {json.dumps(credentials)}"] if credentials else [])], board, factory=factory
    )


def _toml(begins: list[str], board: Board, *, factory: bool) -> str:
    """A configuration. JSON's strings and lists are TOML's too, with the same escapes."""
    cpu = board.runtime.engines.get(CPU.name) or next(iter(board.runtime.engines.values()))
    power = board.power
    lines = [
        *begins,
        "",
        "[agent]",
        'state_dir = "state"            # relative to this file',
        'trust = "trust.json"',
        *(['factory = "factory"            # what serves until the host has said something'] if factory else []),
        "telemetry_interval_s = 60.0",
        "",
        "[board]",
        f"name = {json.dumps(board.name)}",
        f"targets = {json.dumps(list(board.targets))}",
        f"threads = {board.runtime.threads}",
        f"engine = {json.dumps(cpu[0])}",
        "",
        "[board.power]",
        f"idle_w = {power.idle_w!r}",
        f"watts_per_core = {power.watts_per_core!r}",
        *([f"accelerator_w = {power.accelerator_w!r}"] if power.accelerator_w is not None else []),
        f"uncertainty = {power.uncertainty!r}",
        f"source = {json.dumps(power.source, ensure_ascii=False)}",
        "",
        "# Inputs and the local inference API of a model, if the defaults do not suit:",
        "# [models.MODEL]",
        '# http = "auto"                # a port that it keeps, from 8000 on; or an address: "127.0.0.1:9000"',
        '# results_file = "results.jsonl"',
        "# [[models.MODEL.sources]]",
        '# type = "replay"',
        '# path = "/path/to/samples.npz"',
        "# rate_hz = 10.0",
    ]
    return "\n".join(lines) + "\n"
