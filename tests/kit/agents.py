"""Agent releases out of the code of this tree, as they are and with a fault each, signed by a home's release key.

No tests here. The wheel holds the agent alone: what it stands on comes from the base environment.
"""

import re
from pathlib import Path

import skerry_agent
from skerry_agent.state.blobs import BlobStore
from skerry_agent.state.disk import write_record
from skerry_agent.supervisor.orders import Accepted
from skerry_agent.wire import codec, envelope
from skerry_agent.wire.blobs import BlobRef, describe
from skerry_agent.wire.twin import Desired
from skerry_agent.wire.upgrades import AgentOrder
from skerry_host.release.sign import Signer
from tests.kit.wheels import Wheel, manifest_of, wheelhouse_of, wheelhouse_tar

PACKAGE = Path(skerry_agent.__file__).parent
VERSION = re.compile(r'__version__ = "[^"]*"')


def agent_wheel(version: str, **edits: str) -> Wheel:
    """The agent of this tree under another version; `edits` put text before a module's code, `a__b` being a/b.py.

    `init` is that of the package itself.
    """
    files = {f"skerry_agent/{path.relative_to(PACKAGE)}": path.read_text() for path in PACKAGE.rglob("*.py")}
    first = "skerry_agent/__init__.py"
    files[first] = VERSION.sub(f'__version__ = "{version}"', files[first])
    for module, text in edits.items():
        name = first if module == "init" else f"skerry_agent/{module.replace('__', '/')}.py"
        files[name] = f"{text}\n{files[name]}"
    return Wheel("skerry-agent", version, files)


class AgentRelease:
    """A signed agent release, and the blobs by which a device gets it."""

    def __init__(self, signer: Signer, version: str, *wheels: Wheel, name: str = "agent", **wheelhouse: object) -> None:
        self.version, self.release = version, f"{name}@{version}"
        self.tar = wheelhouse_tar(*wheels)
        manifest = manifest_of(wheelhouse_of(self.tar, *wheels, **wheelhouse), name=name, version=version, kind="agent")
        self.raw = codec.encode(signer.sign(envelope.RUNTIME, codec.encode(manifest)))
        self.manifest: BlobRef = describe(self.raw)

    def order(self, deployment: str, deadline_s: float = 60.0) -> AgentOrder:
        """What a host orders of it."""
        return AgentOrder(self.release, self.manifest, deployment, deadline_s)

    def put(self, state: Path) -> None:
        """As if a device had fetched it already."""
        blobs = BlobStore(state / "blobs")
        for raw in (self.raw, self.tar):
            blobs.keep(describe(raw).sha256, raw)


def desire(state: Path, signer: Signer, desired: Desired) -> None:
    """As if a device had accepted this order already."""
    raw = codec.encode(signer.sign(envelope.DESIRED, codec.encode(desired)))
    for name in ("desired.json", "desired.second.json"):
        write_record(state / name, Accepted(raw, desired))
