"""Settings as a person writes them: KEY=VALUE is read by what the key takes, and all that is wrong is said at once."""

import pytest

from skerry_host.fleet.settings import Change, SettingsError, merged, parse_change, require_known

WHO = "device lab-1 does not know"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("telemetry_interval_s=30", 30),
        ("telemetry_interval_s=2.5", 2.5),
        ("metered=true", True),
        ("metered=off", False),
        ("log_level=debug", "debug"),
        ("hours=22:00-05:30", "22:00-05:30"),
        ("time_zone=Europe/Berlin", "Europe/Berlin"),
        ("broker_url=mqtts://host:8883", "mqtts://host:8883"),
        ("models.fashion.camera=/dev/video1", "/dev/video1"),
        ("models.fashion.camera=0", "0"),
        ("models.fashion.http=127.0.0.1:8001", "127.0.0.1:8001"),
        ("models.fashion.results_file=true", "true"),
        (
            'models.fashion.sources=[{"type":"camera","path":"/dev/video1"}]',
            [{"type": "camera", "path": "/dev/video1"}],
        ),
        ("models.fashion.camera=rtsp://cam/a=b", "rtsp://cam/a=b"),
    ],
)
def test_a_value_is_read_by_what_its_key_takes(text, value):
    key = text.partition("=")[0]
    found = parse_change([text], WHO).values[key]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("texts", "code", "words"),
    [
        (["telemetry_intervall_s=30"], "unknown_setting", "did you mean telemetry_interval_s?"),
        (["models.fashion.camra=x"], "unknown_setting", "did you mean models.fashion.camera?"),
        (["state_dir=/tmp"], "unknown_setting", "can only be set on the device"),
        (["telemetry_interval_s=often"], "bad_value", '"often" is not seconds from 1 to 86400'),
        (["telemetry_interval_s=1e999"], "bad_value", "telemetry_interval_s"),
        (["metered=2", "hang_s=never"], "bad_value", "; hang_s"),
        (["metered=true", "metered=false"], "bad_value", "given twice"),
        (["telemetry_interval_s"], "settings", "write KEY=VALUE"),
        (["=3"], "unknown_setting", "''"),
        (["broker_url=mqtts://user:hunter2@h"], "bad_value", "credentials_file"),
    ],
)
def test_what_cannot_be_set_is_a_line_that_says_what_to_do(texts, code, words):
    with pytest.raises(SettingsError) as raised:
        parse_change(texts, WHO, ["fashion"])
    assert (raised.value.code, raised.value.exit_code) == (code, 2)
    assert words in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_the_words_of_a_change_have_no_password():
    change = Change({"models.m.camera": "rtsp://admin:hunter2@cam/1"}, ("metered",))
    assert change.words == "models.m.camera=rtsp://...@cam/1, metered unset"


def test_a_key_to_unset_must_be_one():
    with pytest.raises(SettingsError, match="did you mean metered"):
        require_known(["meterd"], WHO)


def test_all_that_is_set_has_a_limit():
    before = {f"models.m{n}.http": "auto" for n in range(64)}
    with pytest.raises(SettingsError, match="at most 64"):
        merged(before, Change({"metered": True}))
    assert merged(before, Change({"metered": True}, ("models.m0.http",)))["metered"] is True
