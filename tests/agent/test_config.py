"""agent.toml: what cannot work is refused in one line that names the key, before anything starts."""

import os
import re
import socket
import tomllib
from pathlib import Path
from typing import NamedTuple, get_args

import pytest
from msgspec import structs

from skerry_agent.cli.run import link_of
from skerry_agent.config import (
    AgentSection,
    BoardSection,
    BrokerSection,
    ConfigError,
    DeviceSection,
    EnrolmentSection,
    ModelSection,
    PowerSection,
    load,
)
from skerry_agent.ports.runner_protocol import CameraSource, DirectorySource, InputSourceSpec, ReplaySource
from skerry_agent.wire.settings import parse_listen
from tests.kit.waiting import eventually

TEMPLATE = Path(__file__).parents[2] / "firmware_configs" / "agent.toml"
GOOD = """[device]
id = "dev-1"
[broker]
url = "mqtt://10.0.0.1"
[board]
name = "test"
[agent]
[models.fashion]
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "agent.toml"


@pytest.mark.parametrize(
    ("after", "line", "names"),
    [
        ("[models.fashion]", 'http = "localhost"', "models.fashion.http: 'localhost'"),
        ("[models.fashion]", 'http = "127.0.0.1:99999"', "models.fashion.http"),
        ("[models.fashion]", 'http = "::1:80"', "models.fashion.http"),
        ("[models.fashion]", 'http = ":80"', "models.fashion.http"),
        ("[models.fashion]", 'http = "http://h:80"', "models.fashion.http"),
        ("[models.fashion]", f'unix = "/{"s" * 107}"', "models.fashion.unix"),
        ("[models.fashion]", 'unix_mode = "rw"', "models.fashion.unix_mode"),
        ("[models.fashion]", 'http = "0.0.0.0:80"\ninsecure = false', "give tls_cert, tls_key and token_file"),
        ("[models.fashion]", 'http = "edge:80"\ntoken_file = "t"', "models.fashion: other machines can use"),
        ("[models.fashion]", 'http = "[::]:80"\ntls_cert = "c"\ntls_key = "k"', "without TLS, or without a token"),
        ("[models.fashion]", 'tls_cert = "c"', "tls_cert and tls_key belong together"),
        ("[models.fashion]", '[models."../x"]', "models"),
        ("[agent]", "hang_s = 0.05", "agent.hang_s: 0.05 s must be more than twice beat_s"),
        ("[agent]", "hang_s = 2", "agent.hang_s"),
        ("[agent]", "beat_s = 15.0", "agent.hang_s"),
        ("[agent]", "outbox_days = inf", "agent.outbox_days"),
        ("[agent]", "beat_s = nan", "agent.beat_s"),
        ("[agent]", "hang_s = 2\n[models.other]\nhttp = 'x'", "models.other.http"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(path, after, line, names):
    path.write_text(GOOD.replace(after, f"{after}\n{line}", 1))
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert names in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("url", ["mqtt://[abc", "mqtt://h:99999", "mqtt://a..b", "mqtt://", "http://h", "h:1883"])
def test_a_broker_that_cannot_be_is_refused(path, url):
    path.write_text(GOOD.replace("mqtt://10.0.0.1", url))
    with pytest.raises(ConfigError, match=r"broker\.url: broker address .* refused"):
        load(path)


def test_what_is_wrong_with_a_broker_does_not_tell_its_password(path):
    path.write_text(GOOD.replace("mqtt://10.0.0.1", "mqtt://me:secret@[abc"))
    with pytest.raises(ConfigError, match=r"broker\.url") as refused:
        load(path)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_an_authority_that_cannot_be_used_costs_the_link_and_not_the_models(path, content):
    authority = path.with_name("ca.pem")
    if content is not None:
        authority.write_text(content)
    path.write_text(
        GOOD.replace("mqtt://10.0.0.1", "mqtts://10.0.0.1").replace("[board]", f'ca_file = "{authority}"\n[board]')
    )
    link = link_of(load(path), lambda _connection: ("topic", b""))
    link.start(lambda call: call(), lambda: None, lambda *_: None, lambda _token: None)
    eventually(lambda: link.problem, "it says why")
    link.stop()
    assert link.problem.kind == "unusable_authority"
    assert str(authority) in link.why_offline


@pytest.mark.parametrize("line", ["outbox_days = 1e308", "telemetry_interval_s = 1e-300", "hang_s = 2.1"])
def test_figures_without_measure_do_no_harm(path, line):
    path.write_text(GOOD.replace("[agent]", f"[agent]\n{line}"))
    assert load(path).agent.outbox_reports > 0


@pytest.mark.parametrize(
    "line", ["[agent]\nmeterd = true", "[models.fashion]\nmeterd = true", "[agend]\nmeterd = true"]
)
def test_an_unknown_key_is_reported_and_ignored(path, line):
    section = line.partition("\n")[0]
    path.write_text(GOOD.replace(section, line) if section in GOOD else GOOD + line)
    config = load(path)
    assert "unknown keys, ignored: " in config.issue
    assert section.strip("[]") in config.issue
    assert config.device.id == "dev-1"


def test_sources_are_looked_through_too(path):
    source = '[[models.fashion.sources]]\ntype = "replay"\npath = "x.npz"\n'
    path.write_text(GOOD + source)
    assert load(path).issue is None
    path.write_text(GOOD + source + "rate = 1\n")
    assert "models.fashion.sources.rate" in load(path).issue


def test_the_template_with_an_id_has_no_unknown_key(path):
    path.write_text(TEMPLATE.read_text().replace("# id = ", "id = ", 1))
    assert load(path).issue is None


ENROLS = """[enrolment]
url = "mqtts://10.0.0.1:8884"
[broker]
url = "mqtts://10.0.0.1"
ca_file = "fleet-ca.pem"
[board]
name = "test"
"""


def test_a_device_that_enrols_needs_no_id_and_any_other_does(path):
    path.write_text(ENROLS)
    config = load(path)
    assert (config.device.id, config.beside(config.enrolment.claim_file)) == (None, path.parent / "claim.pem")
    path.write_text(GOOD.replace('id = "dev-1"', ""))
    with pytest.raises(ConfigError, match=r"device.id: missing"):
        load(path)


@pytest.mark.parametrize(
    ("given", "instead", "names"),
    [
        ("mqtts://10.0.0.1:8884", "mqtt://10.0.0.1:8884", "enrolment.url: a device that enrols needs mqtts://"),
        ("mqtts://10.0.0.1:8884", "10.0.0.1", "enrolment.url"),
        ('"mqtts://10.0.0.1"', '"mqtt://10.0.0.1"', "broker.url: a device that enrols needs mqtts://"),
        ('ca_file = "fleet-ca.pem"', "", "broker.ca_file: missing"),
        ("[board]", "[enrolment.more]\n[board]", None),
        ('url = "mqtts://10.0.0.1:8884"', "spread_s = 9999.0", "enrolment"),
    ],
)
def test_what_cannot_enrol_is_refused_at_the_start(path, given, instead, names):
    path.write_text(ENROLS.replace(given, instead, 1))
    if names is None:
        assert "unknown keys" in load(path).issue
        return
    with pytest.raises(ConfigError, match=names):
        load(path)


SECTIONS = {
    "device": DeviceSection,
    "broker": BrokerSection,
    "enrolment": EnrolmentSection,
    "agent": AgentSection,
    "board": BoardSection,
    "board.power": PowerSection,
    "models.fashion": ModelSection,
    "replay": ReplaySource,
    "directory": DirectorySource,
    "camera": CameraSource,
}
_HEADER = re.compile(r"(?:# )?\[+([a-z.]+)\]+(?: +#.*)?")
_KEY = re.compile(r"(# )?([a-z0-9_]+) = (.*?)(?: +# (.*))?")


class Shown(NamedTuple):
    """A key of the template: its value, whether it is commented out, and what is said of it."""

    value: object
    is_comment: bool
    words: str


def template():
    """What each section of the template shows, sources by their type; lines that are commented out count, too."""
    shown, section = {name: {} for name in SECTIONS}, ""
    for line in TEMPLATE.read_text().splitlines():
        if header := _HEADER.fullmatch(line):
            section = header[1]
        elif key := _KEY.fullmatch(line):
            value = tomllib.loads(f"v = {key[3]}")["v"]
            if key[2] == "type":
                section = value
            else:
                shown[section][key[2]] = Shown(value, bool(key[1]), key[4] or "")
    return shown


@pytest.mark.parametrize("section", SECTIONS)
def test_the_template_shows_every_key_with_the_default_that_the_code_has(section):
    shown, kind = template()[section], SECTIONS[section]
    fields = {
        field.name: field for field in structs.fields(kind) if field.name not in {"power", "sources", "calibrated"}
    }
    assert set(shown) == set(fields)
    for name, (value, is_comment, words) in shown.items():
        field = fields[name]
        needed = field.required or (section, name) == ("device", "id")  # the template has no section [enrolment]
        assert needed == words.startswith("needed"), name
        if field.default is None and not needed:
            assert "left out" in words, name
            assert is_comment, f"{name}: to copy the template would set it"
        elif not needed:
            assert value == (list(field.default) if isinstance(field.default, tuple) else field.default), name


def test_every_kind_of_source_is_in_the_template_and_in_the_documents_with_all_its_keys():
    text = (TEMPLATE.parents[1] / "docs" / "inputs.md").read_text("utf-8")
    for kind in get_args(InputSourceSpec):
        tag = kind.__struct_config__.tag
        assert tag in SECTIONS
        _, _, example = text.partition(f'type = "{tag}"')
        assert example
        for field in structs.fields(kind):
            assert f"{field.name} = " in example.partition("[[")[0], f"{tag}.{field.name}"


def test_every_output_of_a_model_is_in_the_documents():
    docs = TEMPLATE.parents[1] / "docs"
    text = "".join((docs / name).read_text("utf-8") for name in ("inputs.md", "inference.md", "applications.md"))
    named = [field.name for field in structs.fields(ModelSection)]
    assert [name for name in named if f"{name} = " not in text and f"`{name}`" not in text] == ["memory_limit_bytes"]


@pytest.mark.parametrize(
    ("address", "where"),
    [("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:80", ("::1", 80)), ("localhost:8000", ("localhost", 8000))],
)
def test_where_to_listen(address, where):
    assert parse_listen(address) == where


def test_a_runner_has_no_more_threads_than_cores_that_it_may_use():
    """In a cpuset: a board of four cores, of which a container has one."""
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(usable)})
    try:
        assert BoardSection("raspberry-pi-4", threads=4).usable_threads == 1
    finally:
        os.sched_setaffinity(0, usable)
    assert BoardSection("raspberry-pi-4", threads=1).usable_threads == 1


def test_paths_are_relative_to_the_file_and_not_to_the_current_folder(path):
    """As the template says; a camera's URL is no path."""
    sources = "".join(
        f'[[models.fashion.sources]]\ntype = "{kind}"\npath = "{where}"\n'
        for kind, where in (("replay", "x.npz"), ("directory", "/in"), ("camera", "rtsp://camera/1"))
    )
    path.write_text(GOOD + 'results_file = "out/r.jsonl"\n' + sources)
    config = load(path)
    assert config.results_file("fashion") == str(path.parent / "out" / "r.jsonl")
    assert [source.path for source in config.sources("fashion")] == [
        str(path.parent / "x.npz"),
        "/in",
        "rtsp://camera/1",
    ]


@pytest.mark.parametrize("insecure", ["", "insecure = true"])
def test_an_api_that_is_open_to_other_machines_serves_on_after_an_update(path, insecure):
    """A fleet must not be put out of service by it: the devices say it as an issue instead."""
    path.write_text(f'{GOOD}http = "0.0.0.0:8000"\n{insecure}\n')
    config = load(path)
    access = config.api_access("fashion")
    assert config.model("fashion").access.issue()
    assert (access.addresses, access.check_host) == (True, bool(insecure))
    assert socket.gethostname() in access.names


def test_files_of_an_api_are_beside_the_configuration(path):
    said = 'tls_cert = "api.pem"\ntls_key = "/etc/api.key"\ntoken_file = "api.token"\nhttp_names = ["cam.example"]\n'
    path.write_text(f'{GOOD}http = "edge-7:8000"\n{said}')
    config = load(path)
    access = config.api_access("fashion")
    assert (access.tls_cert, access.tls_key) == (str(path.parent / "api.pem"), "/etc/api.key")
    assert access.token_file == str(path.parent / "api.token")
    assert {"cam.example", "edge-7"} <= {*access.names}
    assert config.model("fashion").access.issue() is None
    assert not config.api_access("other").addresses


@pytest.mark.parametrize(
    ("targets", "known", "issue"),
    [
        ('["npu", "cpu"]', ("cpu",), "unknown targets, ignored: npu"),
        ('["edgetpu", "cpu"]', ("edgetpu", "cpu"), None),
    ],
)
def test_a_target_that_only_a_newer_agent_knows_is_reported_and_does_not_stop_the_board(path, targets, known, issue):
    path.write_text(GOOD.replace("[board]", f"[board]\ntargets = {targets}"))
    config = load(path)
    assert config.board.targets == known
    assert (issue or "") in (config.issue or "")


def test_a_board_without_any_target_that_is_known_is_refused(path):
    path.write_text(GOOD.replace("[board]", '[board]\ntargets = ["npu"]'))
    with pytest.raises(ConfigError, match=r"board\.targets"):
        load(path)
