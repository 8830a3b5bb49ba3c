"""agent.toml: what cannot work is refused in one line that names the key, before anything starts."""

import os
from pathlib import Path

import pytest

from skerry_agent.cli.run import link_of
from skerry_agent.config import AgentSection, BoardSection, ConfigError, load, parse_listen

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
    with pytest.raises(ConfigError, match="broker url"):
        load(path)


def test_what_is_wrong_with_a_broker_does_not_tell_its_password(path):
    path.write_text(GOOD.replace("mqtt://10.0.0.1", "mqtt://me:secret@[abc"))
    with pytest.raises(ConfigError, match="broker url") as refused:
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
    link, config = link_of(load(path), lambda _connection: ("topic", b""))
    assert link is None
    assert f"broker.ca_file {authority} cannot be used" in config.issue


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


def test_the_template_has_no_unknown_key():
    assert load(TEMPLATE).issue is None


def test_the_template_shows_the_defaults():
    assert load(TEMPLATE).agent == AgentSection()


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
