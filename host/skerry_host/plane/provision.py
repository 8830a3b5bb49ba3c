"""Writes a device's configuration folder: agent.toml and trust.json. Enrols nothing."""

import json
import os
import re
from pathlib import Path

from msgspec import Struct

from skerry_agent.wire import codec
from skerry_agent.wire.engines import EXTRAS
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.names import check_device_id
from skerry_agent.wire.targets import CPU, TARGETS
from skerry_host.boards import Board
from skerry_host.files import write_atomic
from skerry_host.fleet.errors import FleetError
from skerry_host.home import Home
from skerry_host.plane.broker.connection import address
from skerry_host.release.keys import trust_keys

DEFAULT_PORT = "1883"
ADDRESS_FILE = "serve.json"


class _Addresses(Struct):
    """What is read of `ADDRESS_FILE`."""

    broker: str


def broker_of(home: Home) -> str:
    """The broker address of the last `skerry serve`, else where the first one will start it."""
    try:
        return codec.decode((home.root / ADDRESS_FILE).read_bytes(), _Addresses).broker
    except (OSError, WireError):
        port = os.environ.get("SKERRY_PORT", "")
        return f"mqtt://127.0.0.1:{port if port.strip('0') else DEFAULT_PORT}"


def write_addresses(home: Home, broker: str, page: str | None) -> None:
    """Record where the broker and the web page are, for `device provision`."""
    content = json.dumps({"broker": broker, "page": page}, indent=2) + "\n"
    write_atomic(home.root / ADDRESS_FILE, content.encode(), mode=0o600)  # the address may hold a password


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


def write_folder(home: Home, folder: Path, device: str, board: Board, broker: str) -> None:
    """Write agent.toml and trust.json.

    Raises `KeyFileError` or `AddressError` before anything is written, and `OSError`.
    """
    address(broker)
    trust = json.dumps(trust_keys(home.keys), indent=2) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "trust.json", trust.encode())
    write_atomic(folder / "agent.toml", agent_toml(device, board, broker).encode(), mode=0o600)


def agent_toml(device: str, board: Board, broker: str) -> str:
    """The configuration of one device. JSON's strings and lists are TOML's too, with the same escapes."""
    cpu = board.runtime.engines.get(CPU.name) or next(iter(board.runtime.engines.values()))
    power = board.power
    lines = [
        "[device]",
        f"id = {json.dumps(device)}",
        "",
        "[broker]",
        f"url = {json.dumps(broker)}",
        "",
        "[agent]",
        'state_dir = "state"            # relative to this file',
        'trust = "trust.json"',
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
