"""Readers of what arrives over MQTT, in a release or over the runner's socket: JSON and the packed form of reports."""

import contextlib
from pathlib import Path

from skerry_agent.ports.runner_protocol import FromRunner, ToRunner
from skerry_agent.wire import codec
from skerry_agent.wire.asking import Ask
from skerry_agent.wire.enrolment import EnrolmentAnswer, EnrolmentRequest, RenewalAnswer, RenewalRequest
from skerry_agent.wire.envelope import Envelope
from skerry_agent.wire.errors import SkerryError, WireError
from skerry_agent.wire.manifest import Release
from skerry_agent.wire.report_forms import decode_report
from skerry_agent.wire.telemetry import Receipt
from skerry_agent.wire.twin import Command, CommandResult, Desired, DeviceState, Reported
from skerry_host.plane.registry.telemetry.rollup import unpack_block
from tests.fuzz.files import scratch_folder

ROOT = Path(__file__).resolve().parents[1]
WIRE = ROOT / "agent" / "wire" / "golden"
KINDS = {
    "ask": Ask,
    "command": Command,
    "command_result": CommandResult,
    "desired": Desired,
    "enrolment_answer": EnrolmentAnswer,
    "enrolment_request": EnrolmentRequest,
    "envelope": Envelope,
    "receipt": Receipt,
    "release": Release,
    "renewal_answer": RenewalAnswer,
    "renewal_proof": RenewalRequest,
    "renewal_request": RenewalRequest,
    "reported": Reported,
    "state": DeviceState,
}
TOKENS = (b'"\\ud800"', b"1e400", b"-0.0", b'"a":' * 50, b"[[" * 1000, b'{"type":"beat"}', b"99999999999999999999")
BINARY = (
    b"\xcf" + b"\xff" * 8,
    b"\xdd\xff\xff\xff\xff",
    b"\xc1",
    b"\xd9\xff",
    b"\x91" * 500,
    b"\xcb\x7f\xf0" + bytes(6),
)


def wire_seeds() -> list[bytes]:
    """Every pinned message, its kind in front of it."""
    files = [path for path in sorted(WIRE.glob("*.json")) if _kind(path) in KINDS]
    return [_kind(path).encode() + b"\n" + path.read_bytes() for path in files]


def _kind(path: Path) -> str:
    stem = path.name.split(".")[0]
    return next((kind for kind in sorted(KINDS, key=len, reverse=True) if stem.startswith(kind)), "")


def read_wire(raw: bytes) -> None:
    kind, _, message = raw.partition(b"\n")
    codec.decode(message, KINDS.get(kind.decode("latin-1"), Desired))


def report_seeds() -> list[bytes]:
    return [path.read_bytes() for path in sorted(WIRE.glob("telemetry*"))]


def line_seeds() -> list[bytes]:
    return (ROOT / "agent" / "ports" / "golden" / "runner_protocol.v1.jsonl").read_bytes().splitlines()


def read_line(raw: bytes) -> None:
    """As either end of the socket between supervisor and runner."""
    for kind in (FromRunner, ToRunner):
        with contextlib.suppress(WireError):
            codec.decode(raw, kind)  # type: ignore[arg-type]


def block_seeds() -> list[bytes]:
    return [(ROOT / "host" / "plane" / "registry" / "golden" / "block.v1.bin").read_bytes()]


def open_addresses() -> object:
    from skerry_host.home import Home
    from skerry_host.plane.provision import ADDRESS_FILE, addresses_of

    home = Home(scratch_folder())

    def read(raw: bytes) -> None:
        (home.root / ADDRESS_FILE).write_bytes(raw)
        addresses_of(home)

    return read


READERS = (
    ("wire", wire_seeds, lambda: read_wire, (WireError,), TOKENS),
    ("report", report_seeds, lambda: decode_report, (WireError,), (*TOKENS, *BINARY)),
    ("runner-line", line_seeds, lambda: read_line, (), TOKENS),
    ("rollup", block_seeds, lambda: unpack_block, (ValueError,), BINARY),
    ("addresses", lambda: [b'{"broker": "mqtt://h:1", "page": null}'], open_addresses, (SkerryError,), TOKENS),
)
