"""A model that the host takes off a device ends, leaves nothing behind, and stays away until it is ordered anew."""

import pytest

from skerry_agent.machine.records import Record, Slots
from skerry_agent.state.journal import Journal
from skerry_agent.state.slots import write_bundle
from skerry_agent.supervisor.local import InstallRequest
from skerry_agent.wire import codec, envelope, topics
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.manifest import Provenance, Quality, Release
from skerry_agent.wire.twin import Assignment, Desired, Reported
from tests.kit.site import BUNDLE, DESIRED, SLOT, Site, signed

RELEASE = Release(
    1, "m", "2.0.0", 2, (BUNDLE,), Quality("top1", 1, 1.0, 1.0, (0.0, 1.0), (0.0, 1.0), {}, 1, 1),
    Provenance("0" * 64, "1" * 64, {}, ""),
)  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """A device that holds a release of a model, and one of another."""
    state = tmp_path / "device" / "state"
    for bundle in ("held", "other"):
        (state / "bundles" / bundle).mkdir(parents=True)
        write_bundle(state / "bundles" / bundle, BUNDLE)
    keep(state, "m", "held")
    keep(state, "n", "other")
    return tmp_path / "device"


def keep(state, model, bundle):
    path = state / "models" / model / "journal.json"
    path.parent.mkdir(parents=True)
    Journal(path).write(Record(slots=Slots(SLOT.__class__(bundle, f"{model}@1.0.0", "cpu", "a" * 64, "b" * 64))))


def remove(site, generation, *models, assignments=()):
    desired = Desired("dev-1", generation, 1.0, assignments, removed=models)
    site.agent.message(DESIRED, signed(envelope.DESIRED, desired))
    site.clock.advance(1.0)


def reported(site):
    raw = [payload for topic, payload in site.link.published if topic == topics.reported("dev-1")][-1]
    return codec.decode(raw, Reported)


def on_disk(folder):
    state = folder / "state"
    return {path.name for path in (state / "models").iterdir()}, {path.name for path in (state / "bundles").iterdir()}


def test_a_removed_model_is_gone_from_twin_and_disk_and_the_other_stays(folder):
    site = Site(folder)
    remove(site, 7, "m")
    assert (set(reported(site).models), reported(site).generation) == ({"n"}, 7)
    assert on_disk(folder) == ({"n"}, {"other"})
    assert set(site.agent.status().http) == {"n"}, "its port is free"


def test_it_stays_away_after_a_restart_also_when_its_files_came_back(folder):
    """A crash may come between the order, which is on the disk, and the removal of the files."""
    remove(Site(folder), 7, "m")
    keep(folder / "state", "m", "held")
    again = Site(folder)
    again.clock.advance(1.0)
    assert set(again.agent.status().models) == {"n"}
    assert on_disk(folder)[0] == {"n"}


def test_it_comes_back_when_it_is_ordered_anew(folder):
    site = Site(folder)
    remove(site, 7, "m")
    ordered = Assignment("m", "m@1.1.0", "cpu", describe(b"manifest"), "d-1")
    site.want(8, ordered)
    assert site.deployment("m").id == "d-1"


def test_what_is_ordered_and_removed_at_once_is_ordered(folder):
    site = Site(folder)
    remove(site, 7, "m", assignments=(Assignment("m", "m@1.1.0", "cpu", describe(b"manifest"), "d-1"),))
    assert site.deployment("m").id == "d-1"


def test_a_model_that_is_not_there_is_removed_without_a_word(folder):
    site = Site(folder)
    remove(site, 7, "never-there")
    assert set(reported(site).models) == {"m", "n"}
    assert not any("never-there" in issue for issue in reported(site).issues)


def test_a_stick_does_not_bring_it_back(folder, tmp_path):
    """It would be gone again with the next start."""
    site = Site(folder)
    remove(site, 7, "m")
    stick = tmp_path / "stick"
    stick.mkdir()
    (stick / "release.json").write_bytes(signed(envelope.RELEASE, RELEASE))
    done = site.agent.local(InstallRequest(str(stick)))
    assert (done.ok, "the host has taken m off this device" in done.detail) == (False, True)


def test_a_deployment_under_way_ends_with_it(folder):
    site = Site(folder)
    site.want(7, Assignment("m", "m@1.1.0", "cpu", describe(b"manifest"), "d-1"))
    remove(site, 8, "m")
    assert set(reported(site).models) == {"n"}
    assert not any(topic.startswith("skerry/v1/blob/") for topic in site.link.subscribed)
