"""/metrics: what Prometheus's own tools say of it, what docs/metrics.md promises, what no device may bring about."""

import re
import subprocess
import time
from operator import itemgetter

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from skerry_agent.wire.sketch import Recorder
from skerry_agent.wire.telemetry import ModelStats, Report
from skerry_host.plane.registry.telemetry.totals import FleetTotals
from skerry_host.plane.views.counters import Counters
from skerry_host.plane.views.views import NewestFigures, NewestInterval, NewestModel, SampleView
from skerry_host.plane.web.api.device_metrics import SAMPLES
from skerry_host.plane.web.api.metrics import Figures, exposition
from skerry_host.plane.web.app import application
from tests.host.plane.web.scene import whole_story
from tests.kit.programs import ROOT, require_program

PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
ALERTS = ROOT / "docs" / "alerts.yml"
KNOWN = "fashion@1.0.0"


def stats(release=KNOWN, *, values=(900.0,), **fields):
    recorder = Recorder()
    for value in values:
        recorder.add(value)
    return ModelStats("fashion", release, len(values), fields.pop("errors", 0), latency=recorder.take(), **fields)


def report(*models):
    return Report("dev-1", "boot", 1, 0.0, 0.0, 60.0, models)


def totals(*models):
    counted = FleetTotals()
    counted.add([report(*models)], {KNOWN})
    return counted.snapshot()


def device(*samples, release=KNOWN, name="dev-1", seen=5.0):
    model = NewestModel(
        "fashion", release, 2.5, 900.0, 1000.0, 1100.0, 4000.0, "modelled", energy_relative_uncertainty=0.35
    )
    return NewestFigures(name, "generic-x86", True, seen, NewestInterval(1.0, 60.0, (model,), samples))


def everything():
    """Figures in which every family has a line."""
    samples = [SampleView(name, 1.0, unit, "measured", "") for name, unit in SAMPLES]
    models = totals(stats(energy_uj=5.0, energy_source="measured"))
    counters = Counters({"accepted": 1}, 1, 1, True, {}, 0, 1.0, 2.0, models)
    return Figures([device(*samples)], counters, 0, 0, {("fashion", "succeeded", "none"): 1}, frozenset({KNOWN}))


def families(figures):
    text, _ = exposition(figures)
    return {family.name: family for family in text_string_to_metric_families(text.decode())}


def exported(figures):
    """(name, type, labels) of each family of ours, as docs/metrics.md writes them."""
    for family in families(figures).values():
        if family.name.startswith("skerry_"):
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            yield family.name + ("_total" if family.type == "counter" else ""), family.type, labels


def documented():
    rows = re.findall(r"^\| `(skerry_\w+)` \| (\w+) \|([\w, ]*)\| .+ \|$", PAGE, re.MULTILINE)
    return [(name, kind, set(labels.replace(",", " ").split())) for name, kind, labels in rows]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    made = whole_story(tmp_path_factory.mktemp("scene") / "home")
    yield made
    made.registry.close()


def served(scene, folder=None):
    now = time.time()
    counters = Counters({"accepted": 12}, 4096, 2, True, {}, 0, now, now, scene.ingest.totals.snapshot())
    with TestClient(application(scene.registry, lambda: counters, counted=folder), "http://127.0.0.1") as client:
        return client.get("/metrics").text


def promtool(*arguments, text=None):
    command = [require_program("promtool", "prometheus"), *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def test_errors_of_inputs_are_counted_apart_from_those_of_models():
    counters = Counters({}, 1, 1, True, {}, 0, 1.0, 2.0, totals(stats(errors=2, input_errors=3)))
    found = families(Figures([], counters))
    assert [found[name].samples[0].value for name in ("skerry_inference_errors", "skerry_input_errors")] == [2, 3]


def test_promtool_finds_nothing_to_say(scene):
    for text in (served(scene), exposition(everything())[0].decode()):
        checked = promtool("check", "metrics", text=text)
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_promtool_accepts_the_alerts_and_they_are_of_metrics_that_there_are():
    checked = promtool("check", "rules", str(ALERTS))
    assert checked.returncode == 0, checked.stderr
    names = {re.sub(r"_(bucket|count|sum)$", "", name) for name in re.findall(r"skerry_\w+", ALERTS.read_text())}
    assert names <= {name for name, _, _ in exported(everything())}


FIRING = """
rule_files: [{alerts}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {{ series: 'skerry_rollbacks_total{{model="fashion"}}', values: '0x5 1x20' }}
      - {{ series: 'skerry_devices{{state="online"}}', values: '9x40' }}
      - {{ series: 'skerry_devices{{state="offline"}}', values: '0x5 1x40' }}
      - {{ series: 'skerry_devices{{state="never_seen"}}', values: '0x40' }}
      - {{ series: 'skerry_plane_last_tick_timestamp_seconds', values: '0+60x10 600x40' }}
    alert_rule_test:
      - {{ eval_time: 4m, alertname: SkerryRolledBack }}
      - eval_time: 8m
        alertname: SkerryRolledBack
        exp_alerts:
          - exp_labels: {{ model: fashion }}
            exp_annotations: {{ summary: "Within 15 minutes devices rolled back a release of fashion." }}
      - {{ eval_time: 4m, alertname: SkerryDevicesOffline }}
      - eval_time: 25m
        alertname: SkerryDevicesOffline
        exp_alerts: [{{ exp_annotations: {{ summary: "10% of the devices are offline." }} }}]
      - {{ eval_time: 10m, alertname: SkerryPlaneStuck }}
      - eval_time: 20m
        alertname: SkerryPlaneStuck
        exp_alerts:
          - exp_annotations: {{ summary: "The plane answers but has not worked through its rollouts for 10m 0s." }}
"""


def test_the_alerts_fire_when_they_should(tmp_path):
    """A first rollback, a tenth of the fleet offline, a plane that stands still; and not before."""
    (tmp_path / "firing.yml").write_text(FIRING.format(alerts=ALERTS))
    checked = promtool("test", "rules", str(tmp_path / "firing.yml"))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_page_lists_every_metric_with_its_type_and_labels_and_no_other():
    assert sorted(documented(), key=itemgetter(0)) == sorted(exported(everything()), key=itemgetter(0))


def test_every_measurement_of_the_agent_has_a_family():
    sources = "".join(path.read_text() for path in (ROOT / "agent/skerry_agent/meters").glob("*.py"))
    made = re.findall(r'Sample\(\s*"(\w+)",[^"]*"([\w%]+)"', sources)
    assert made
    assert set(made) <= set(SAMPLES)


def test_what_is_not_of_now_is_left_out(scene):
    """door-cam is offline: its last latency is not exported, as Prometheus would take it for that of now."""
    scene.now = time.time()
    scene.measure(1)
    found = {family.name: family for family in text_string_to_metric_families(served(scene))}
    online = {s.labels["device"]: s.value for s in found["skerry_device_online"].samples}
    assert online == {"shelf-01": 1, "shelf-02": 1, "door-cam": 0, "dock-07": 1}
    for name in ("skerry_device_latency_p95_seconds", "skerry_device_power_watts"):
        assert [s.labels["device"] for s in found[name].samples] == ["dock-07", "shelf-01", "shelf-02"]
    states = {s.labels["state"]: s.value for s in found["skerry_devices"].samples}
    assert states == {"online": 3, "offline": 1, "never_seen": 0}
    back = [(s.labels, s.value) for s in found["skerry_rollbacks"].samples if s.name.endswith("_total")]
    assert back == [({"model": "fashion"}, 4.0)]


def test_a_rollback_that_is_the_first_is_an_increase():
    """Prometheus sees no increase where a line begins: a model that was rolled out has one from the beginning."""
    counter = families(Figures([], Counters({}, 0, 0, True), releases=frozenset({KNOWN})))["skerry_rollbacks"]
    assert [(s.labels, s.value) for s in counter.samples] == [({"model": "fashion"}, 0.0)]


def test_figures_are_in_base_units():
    found = families(everything())
    assert found["skerry_device_latency_p95_seconds"].samples[0].value == pytest.approx(0.001)
    assert found["skerry_device_energy_per_inference_joules"].samples[0].value == pytest.approx(0.004)


def test_a_devices_word_alone_makes_no_line_and_no_label():
    strange = [f"evil@1.0.{n}" for n in range(200)]
    models = totals(*(stats(release) for release in strange))
    sample = SampleView('a"b\\c\nd', 1.0, "W", "measured", "")
    devices = [device(sample, release=release, name=f"dev-{n}") for n, release in enumerate(strange)]
    text, _ = exposition(Figures(devices, Counters({}, 0, 0, True, models=models), releases=frozenset({KNOWN})))
    assert b"evil" not in text
    assert b'a\\"b' not in text
    counted = families(Figures([], Counters({}, 0, 0, True, models=models)))["skerry_inferences"].samples
    assert [(s.labels, s.value) for s in counted] == [({"model": "other", "release": "other"}, 200.0)]


def test_labels_are_escaped():
    odd = 'a"b\\c\nd'
    found = families(Figures([device(name=odd, seen=None)], Counters({}, 0, 0, True)))
    assert found["skerry_device_online"].samples[0].labels["device"] == odd
    assert "skerry_device_last_seen_timestamp_seconds" not in found


def test_a_histogram_holds_every_inference_once_in_its_bucket():
    values = (0.0, 400.0, 499.0, 900.0, 4_900.0, 90_000.0, 9e9)
    (model,) = totals(stats(values=values), stats(values=values)).values()
    assert sum(model.buckets) == 2 * len(values)
    assert model.buckets[:4] == [6, 2, 0, 2]
    assert model.buckets[-1] == 2
    assert model.latency_s == pytest.approx(2 * sum(values) * 1e-6)
    (family,) = [f for name, f in families(everything()).items() if name == "skerry_inference_duration_seconds"]
    counts = [s.value for s in family.samples if s.name.endswith("_bucket")]
    assert counts == sorted(counts)
    assert counts[-1] == 1


def test_a_scrape_of_5000_devices_is_cheap():
    """A bound far above what it takes (0.1 s on an idle machine); benchmarks/plane.py has the figure."""
    samples = [SampleView(name, 1.0, unit, "measured", "") for name, unit in [*SAMPLES][:6]]
    figures = Figures([device(*samples, name=f"dev-{n}") for n in range(5000)], everything().counters)
    exposition(figures)
    began = time.process_time()
    exposition(figures)
    assert time.process_time() - began < 1.0
