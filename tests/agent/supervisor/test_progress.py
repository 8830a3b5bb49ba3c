"""How a transfer goes on is visible while it does: in the device's own status, in its words, and in its twin."""

import pytest
from msgspec.structs import replace

from skerry_agent.cli.status_lines import shown
from skerry_agent.ports.jobs import Planned
from skerry_agent.supervisor import loop
from skerry_agent.supervisor.report import EnergyStatus
from skerry_agent.wire import codec, topics
from skerry_agent.wire.asking import Ask, answer
from skerry_agent.wire.blobs import CHUNK_BYTES, describe, digest_list, split
from skerry_agent.wire.manifest import PATCH_FORMAT
from skerry_agent.wire.twin import Assignment, Reported
from tests.kit.site import Site

DATA = bytes(5 * CHUNK_BYTES)[:-100] + b"x" * 100
REF, MANIFEST = describe(DATA), describe(b"manifest")
BLOBS = {REF.sha256: DATA, MANIFEST.sha256: b"manifest"}


@pytest.fixture(params=[False, True], ids=["retained", "asked"])
def site(request, tmp_path):
    """A device that has just been ordered a release; its updater plans one blob of five chunks."""
    made = Site(tmp_path / "device")
    made.plan = Planned("full", (REF,), 1000)
    made.asked = request.param
    made.agent.link_up()
    made.want(1, Assignment("m", "m@1.0.0", "cpu", MANIFEST, "d-1", asked=made.asked))
    bring(made, MANIFEST.sha256, 0)
    bring(made, REF.sha256, None)
    return made


def bring(site, sha256, piece):
    """One piece reaches the device, over the transport that it waits for."""
    data = BLOBS[sha256]
    payload = digest_list(data) if piece is None else [*split(data)][piece]
    if site.asked:
        asked = [codec.decode(raw, Ask) for topic, raw in site.link.published if topic == topics.ask("dev-1")]
        assert any(question.sha256 == sha256 and piece in question.pieces for question in asked)
        site.agent.message(topics.piece("dev-1", sha256), answer(piece, payload))
    else:
        topic = topics.digests(sha256) if piece is None else topics.chunk(sha256, piece)
        assert topic in site.link.subscribed
        site.agent.message(topic, payload)
    site.clock.advance(0.1)


def twin(site):
    """What the device last said of its deployment."""
    said = [raw for topic, raw in site.link.published if topic == topics.reported("dev-1")]
    return codec.decode(said[-1], Reported).models["m"].deployment


def test_bytes_and_transport_are_in_status_and_twin_while_it_is_fetched(site):
    transport = "asked" if site.asked else "retained"
    seen = []
    for piece in range(3):
        bring(site, REF.sha256, piece)
        site.clock.advance(loop.PROGRESS_S)
        assert replace(twin(site), seconds=0.0) == replace(site.deployment(), seconds=0.0)
        seen.append((twin(site).bytes_received, twin(site).bytes_expected, twin(site).transports))
    assert seen == [((n + 1) * CHUNK_BYTES, len(DATA), (transport,)) for n in range(3)]
    assert f"fetching, 60% of {len(DATA)} B, transport {transport}" in "\n".join(shown(site.agent.status()))


def test_withdrawn_half_way_it_is_given_up_at_once(site):
    bring(site, REF.sha256, 0)
    site.want(2)
    assert (site.deployment().outcome, site.deployment().reason) == ("cancelled", "withdrawn")
    assert not [topic for topic in site.link.subscribed if "/blob/" in topic or "/piece/" in topic]
    said = len(site.link.published)
    site.agent.message(topics.piece("dev-1", REF.sha256), answer(1, [*split(DATA)][1]))
    site.agent.message(topics.chunk(REF.sha256, 1), [*split(DATA)][1])
    site.clock.advance(600.0)
    assert not [topic for topic, _ in site.link.published[said:] if topic == topics.ask("dev-1")]
    assert not [path for path in site.agent.config.state_dir.rglob("blobs/*") if path.is_file()]


def test_the_twin_says_which_patches_the_device_applies(site):
    said = [raw for topic, raw in site.link.published if topic == topics.reported("dev-1")]
    assert codec.decode(said[-1], Reported).patch_format == PATCH_FORMAT


def test_the_devices_own_status_shows_energy_with_its_uncertainty(tmp_path):
    site = Site(tmp_path / "device")
    site.want(1, Assignment("m", "m@1.0.0", "cpu", MANIFEST, "d-1"))
    status = site.agent.status()
    assert status.energy == {}
    energy = EnergyStatus(2142.857, 0.39, "modelled", "1.5 W x busy cores, +-35%")
    (line,) = [line for line in shown(replace(status, energy={"m": energy})) if "an inference" in line]
    assert line.strip() == "2.1 ± 0.8 mJ an inference (modelled: 1.5 W x busy cores, +-35%)"
