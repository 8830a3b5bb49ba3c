"""What agent.toml says of who may use an inference API: what is an error, what is an issue, and what is loopback."""

import pytest

from skerry_agent.ports.api_access import OPEN, AccessSettings, is_loopback

ALL = {"tls_cert": "c", "tls_key": "k", "token_file": "t"}


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "localhost", "LOCALHOST.", "::1", "[::1]", "::ffff:127.0.0.1"]
)
def test_what_only_this_machine_reaches(host):
    assert is_loopback(host)
    assert AccessSettings(host).issue() is None


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "192.168.1.5", "edge", "localhost.evil.example", "127.0.0.1.evil", "", "1270.0.0.1", "::2"],
)
def test_what_others_reach(host):
    assert not is_loopback(host)


CASES = {
    "a file from before": ({}, 0, True, False),
    "said to be insecure": ({"insecure": True}, 0, True, True),
    "insecure in part": ({"insecure": True, "tls_cert": "c", "tls_key": "k"}, 0, True, True),
    "said not to be": ({"insecure": False}, 1, True, True),
    "a token in clear": ({"token_file": "t"}, 1, True, True),
    "TLS for anybody": ({"tls_cert": "c", "tls_key": "k"}, 1, True, True),
    "half of a certificate": ({"tls_cert": "c", "token_file": "t"}, 2, True, True),
    "all": (ALL, 0, False, True),
}


@pytest.mark.parametrize("name", CASES)
def test_an_api_for_other_machines_has_tls_and_a_token_or_says_that_it_has_not(name):
    said, errors, issue, checked = CASES[name]
    settings = AccessSettings("0.0.0.0", **said)
    assert len([*settings.errors()]) == errors
    assert bool(settings.issue()) == issue
    if not errors:
        assert settings.check_host is (checked or name == "all")


def test_the_error_says_what_to_do():
    (error,) = AccessSettings("edge", insecure=False).errors()
    assert error == f"{OPEN}: give tls_cert, tls_key and token_file, or say insecure = true"
