"""The table of settings: what each key takes, by the same rules on both ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.wire import codec, settings
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.hours import is_open, parse_hours
from skerry_agent.wire.settings import SETTINGS, SettingsOrder

GOOD = {
    "telemetry_interval_s": [1, 30, 0.5 + 1, 86400],
    "live_interval_s": [10],
    "log_level": ["debug", "error"],
    "metered": [True, False],
    "hours": ["22:00-05:30", "0:00-23:59", "always"],
    "time_zone": ["Europe/Berlin", "UTC", "America/Argentina/Buenos_Aires", "Etc/GMT+5"],
    "hang_s": [10],
    "start_timeout_s": [60],
    "patch_stall_s": [60],
    "outbox_bytes": [1 << 20],
    "outbox_days": [0.5],
    "broker_url": ["mqtt://h", "mqtts://h.example:8883", "mqtts://[::1]:8883"],
    "models.fashion.http": ["auto", "127.0.0.1:8000", "[::1]:0"],
    "models.fashion.sources": [[], [{"type": "camera", "path": "/dev/video1"}], [{"type": "replay", "path": "x.npz"}]],
    "models.fashion.camera": ["/dev/video1", "rtsp://cam/stream"],
    "models.fashion.memory_limit_bytes": [64 << 20],
    "models.fashion.api_values": ["raw"],
    "models.fashion.results_file": ["out/results.jsonl"],
    "models.fashion.results_file_bytes": [1 << 20],
    "models.fashion.results_files": [0],
    "models.fashion.results_mqtt": [True],
    "models.fashion.results_mqtt_rate_hz": [1.5],
}
BAD = {
    "telemetry_interval_s": [0, -1, 0.5, 86401, "30", True, None, [30], {"s": 30}],
    "log_level": ["loud", "", 3],
    "metered": [1, "true", None],
    "hours": ["", "22-5", "24:00-05:00", "05:00-05:00", "22:00-05:30\n", 22],
    "time_zone": ["", "../../etc/shadow", "/etc/localtime", "Europe//Berlin", "Europe/Berlin\n", "a" * 80],
    "hang_s": [0],
    "outbox_bytes": [0, 1.5, 2**63, True],
    "outbox_days": [0],
    "broker_url": ["h:8883", "http://h", "mqtts://user:secret@h", "mqtts://user@h", "mqtts://", "mqtts://h:0", ""],
    "models.fashion.http": ["", "8000", "127.0.0.1:99999", "http://h:80", "::1:80"],
    "models.fashion.sources": ["x", [{"type": "laser"}], [{"path": "x"}], [{"type": "replay", "path": "x"}] * 9],
    "models.fashion.camera": ["", " /dev/video0", "/dev/video0\n", "a" * 600, 0, "rtsp://admin:secret@cam/stream"],
    "models.fashion.memory_limit_bytes": [0, 1, -1, "64M"],
    "models.fashion.results_files": [-1, 1001],
    "models.fashion.results_mqtt_rate_hz": [0, 21],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in GOOD.items() for value in values])
def test_what_a_key_takes(key, value):
    assert settings.issue_of(key, value) == ""


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in BAD.items() for value in values])
def test_what_it_does_not_is_named_in_one_line(key, value):
    issue = settings.issue_of(key, value)
    assert issue.startswith(f"{key}: ")
    assert issue.isprintable()
    assert "secret" not in issue


def test_every_key_of_the_table_is_tried_here():
    assert set(GOOD) == set(settings.keys_for(["fashion"]))


@pytest.mark.parametrize("key", ["", "telemetry", "agent.telemetry_interval_s", "models.fashion", "models..http"])
def test_what_is_no_key(key):
    assert settings.find(key) is None


@pytest.mark.parametrize(
    "key", ["state_dir", "trust", "models.m.token_file", "models.m.tls_key", "models.m.insecure", "board.name"]
)
def test_what_must_not_be_set_from_afar_is_no_key(key):
    """Who a board believes, its secrets, who may use its API without them, and what its hardware is."""
    assert settings.find(key) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
        max_leaves=8,
    ),
    st.sampled_from(sorted(GOOD)),
)
def test_no_value_is_an_error_of_the_check(value, key):
    assert isinstance(settings.issue_of(key, value), str)


@pytest.mark.parametrize("value", ["half \udc80", [{"type": "camera", "path": "\udc80"}]])
@pytest.mark.parametrize("key", ["models.m.camera", "models.m.sources", "log_level"])
def test_half_a_character_is_an_issue_in_one_line_also_of_all_together(key, value):
    """As a shell gives it, of an argument that is no UTF-8."""
    found = settings.issues_of({key: value})
    assert len(found) == 1
    assert found[0].encode()


def test_all_together_have_a_limit():
    values = {f"models.m{n}.camera": "/dev/" + "v" * 400 for n in range(60)}
    assert "at most" in settings.issues_of(values)[0]
    with pytest.raises(WireError):
        codec.decode(
            codec.encode({"id": "x", "values": {f"models.m{n}.http": "auto" for n in range(99)}}), SettingsOrder
        )


@pytest.mark.parametrize(
    ("key", "kept"),
    [("metered", True), ("models.fashion.http", True), ("models.fashion_2.http", False), ("metered_2", False)],
)
def test_a_board_keeps_a_key_or_all_below_one(key, kept):
    assert settings.is_kept(key, ("metered", "models.fashion")) is kept


def test_passwords_in_addresses_are_not_shown():
    value = [{"type": "camera", "path": "rtsp://admin:hunter2@10.0.0.9/stream"}]
    assert "hunter2" not in settings.shown(value)
    assert "hunter2" not in settings.shown(value[0]["path"])


@given(st.integers(0, 1439), st.integers(0, 1439), st.integers(0, 1439))
def test_a_window_is_open_for_as_many_minutes_as_it_is_long(begin, end, minute):
    if begin == end:
        return
    text = "{:02}:{:02}-{:02}:{:02}".format(*divmod(begin, 60), *divmod(end, 60))
    hours = parse_hours(text)
    assert hours == (begin, end)
    assert is_open(hours, begin)
    assert not is_open(hours, end)
    assert sum(is_open(hours, each) for each in range(1440)) == (end - begin) % 1440
    assert is_open(hours, minute) is ((minute - begin) % 1440 < (end - begin) % 1440)


def test_the_page_lists_every_setting(request):
    """With what it takes, word for word."""
    page = (request.config.rootpath / "docs" / "settings.md").read_text(encoding="utf-8")
    for setting in SETTINGS:
        key = setting.key.replace("*", "MODEL")
        line = next((each for each in page.splitlines() if each.startswith(f"| `{key}` |")), "")
        assert setting.form in line.replace("\\|", "|"), key
        assert setting.taken in line, key
