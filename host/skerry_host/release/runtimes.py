"""Makes a release of a runtime, or of the agent: folders of wheels, checked, packed, signed and added to the store."""

from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from skerry_agent.wire import codec, envelope
from skerry_agent.wire.blobs import CHUNK_BYTES
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.runtimes import BASE, Kind, RuntimeManifest
from skerry_host.release.errors import ReleaseError
from skerry_host.release.runtime_store import RuntimeStore
from skerry_host.release.sign import Signer
from skerry_host.release.store import Store
from skerry_host.release.wheel_place import Place
from skerry_host.release.wheelhouse import pack


@dataclass(frozen=True)
class RuntimeRequest:
    """What was asked for. `place` is for folders whose wheels do not tell for whom they are."""

    folders: tuple[Path, ...]
    name: str
    version: str
    kind: Kind = "runtime"
    notes: str = ""
    place: Place = Place()  # noqa: RUF009 - frozen
    chunk_bytes: int = CHUNK_BYTES


@dataclass(frozen=True)
class Made:
    """A release of wheelhouses; `existed`: the same was in the store already."""

    manifest: RuntimeManifest
    existed: bool


def create_runtime(request: RuntimeRequest, store: Store, signer: Signer, created: str) -> Made:
    """Check, pack, sign and add. The same wheels under the same name change nothing.

    Raises `ReleaseError` (`WheelhouseError` for what is wrong with a folder), `StoreError`, `OSError`.
    """
    _check_name(request)
    packed = [pack(folder, request.kind, request.place) for folder in request.folders]
    places = [(each.machine, each.python) for each in packed]
    for place in places:
        if places.count(place) > 1:
            raise ReleaseError(f"two folders are for {place[1]} on {place[0]}", code="wheelhouse")
    houses = tuple(each.described(store.put(each.tar, request.chunk_bytes)) for each in packed)
    houses = tuple(sorted(houses, key=lambda each: each.tag))
    manifest = RuntimeManifest(request.kind, request.name, request.version, created, houses, request.notes)
    with store.exclusive():
        runtimes = RuntimeStore(store)
        known = runtimes.find(manifest.full_name)
        if known is not None and replace(manifest, created=known.created) == known:
            return Made(known, existed=True)
        payload = codec.encode(manifest)
        codec.decode(payload, RuntimeManifest)  # what a device could not read is not signed
        runtimes.add(manifest, signer.sign(envelope.RUNTIME, payload))
    return Made(manifest, existed=False)


def _check_name(request: RuntimeRequest) -> None:
    try:
        RuntimeManifest(request.kind, request.name, request.version, "", ()).full_name  # noqa: B018 - it raises
    except WireError as error:
        raise ReleaseError(error.message, hint="--name litert --version 2.4.0", code=error.code) from None
    if request.name == BASE:
        hint = "choose another name"
        raise ReleaseError(f"{BASE} is what the base environment's runtime is called", hint=hint, code="release_name")
