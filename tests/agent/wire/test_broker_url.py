"""The address of a broker: what it means, what is refused, and that no password is in what is said of either."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.wire.broker_url import BrokerUrl, parse, parse_credentials, without_password
from skerry_agent.wire.errors import WireError

GOOD = {
    "mqtt://h": ("mqtt", "h", 1883, None, None),
    "mqtts://h": ("mqtts", "h", 8883, None, None),
    "MQTTS://Broker.Example:99": ("mqtts", "broker.example", 99, None, None),
    "mqtt://my_broker/": ("mqtt", "my_broker", 1883, None, None),
    "mqtt://ann@h": ("mqtt", "h", 1883, "ann", None),
    "mqtt://ann:p%40ss%2Fw%3A%25@h:1": ("mqtt", "h", 1, "ann", "p@ss/w:%"),
    "mqtt://a%6En:p@ss@h": ("mqtt", "h", 1883, "ann", "p@ss"),
    "mqtt://ann:50%off@h": ("mqtt", "h", 1883, "ann", "50%off"),
    "mqtts://[::1]": ("mqtts", "::1", 8883, None, None),
    "mqtt://ann:x@[2001:DB8::1]:99": ("mqtt", "2001:db8::1", 99, "ann", "x"),
    "mqtt://[fe80::1%25eth0]:1883": ("mqtt", "fe80::1%eth0", 1883, None, None),
}


@pytest.mark.parametrize("url", GOOD)
def test_an_address_has_the_same_parts_on_both_sides(url):
    """The plane decoded a password and the device did not: one of them was refused by the broker."""
    found = parse(url)
    assert (found.scheme, found.host, found.port, found.username, found.password) == GOOD[url]


BAD = {
    "": "scheme",
    "h:1883": "scheme",
    "http://h": "scheme",
    "mqtt://": "no host",
    "mqtt://:1883": "no host",
    "mqtt://h:0": "port is 0",
    "mqtt://h:99999": "does not parse",
    "mqtt://h:x": "does not parse",
    "mqtt://[::1": "does not parse",
    "mqtt://::1": "brackets",
    "mqtt://[v1.abc]": "not a name or an address",
    "mqtt://a..b": "not a name or an address",
    "mqtt://h%41": "not a name or an address",
    "mqtt://h h": "a space",
    "mqtt://h\n": "control character",
    "mqtt://\u202eh": "control character",
    "mqtt://h?x": "goes on",
    "mqtt://h/topic": "goes on",
    "mqtt://:hunter2@h": "without a user",
    "mqtt://ann:hunter2/@h": "%2F",
    "mqtt://ann:12/hunter2@h": "%2F",
    "mqtt://ann:hunter2#@h": "%23",
    "mqtt://ann:hunter2": "does not parse",
    "mqtt://ann:%ffhunter2@h": "UTF-8",
    "mqtt://ann:hunter2%00@h": "zero",
    "ann:hunter2@h": "scheme",
    "mqtt://ann:a://hunter2@h": "%2F",
    "mqtt://" + "h" * 3000: "longer",
}


@pytest.mark.parametrize("url", BAD, ids=lambda url: url[:30])
def test_what_is_no_address_is_refused_in_one_line_without_a_password(url):
    with pytest.raises(WireError) as refused:
        parse(url)
    words = str(refused.value)
    assert (refused.value.code, BAD[url] in words, "hunter2" in words, "\n" in words) == (
        "broker_url",
        True,
        False,
        False,
    )
    assert "write mqtt://HOST:1883" in refused.value.hint


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_refused_and_nothing_before_the_last_at_is_shown(text):
    for url in (text, f"mqtt://{text}", f"mqtt://ann:{text}@host"):
        secret = url.rpartition("@")[0].rpartition("://")[2]
        try:
            shown = f"{parse(url)} {parse(url)!r}"
        except WireError as error:
            shown = str(error)
        assert len(secret) < 6 or secret not in shown.replace("broker address", "")
        assert "@" not in without_password(url)


def test_what_may_be_shown_of_an_address_is_without_its_password():
    assert without_password("mqtt://ann:p@ss@h:1") == "mqtt://h:1"
    assert without_password("mqtt://h:1") == "mqtt://h:1"
    assert without_password("ann:hunter2@h") == "h"


def test_an_address_shows_no_password_however_it_is_written():
    found = parse("mqtts://ann:hunter2@[::1]:99")
    assert [str(found), f"{found}", repr(found)] == ["mqtts://[::1]:99"] * 2 + ["BrokerUrl(mqtts://[::1]:99)"]
    assert "hunter2" not in repr([found])
    assert found.place == "[::1]:99"
    assert not BrokerUrl("mqtt", "h", 1).tls


@pytest.mark.parametrize("text", ["ann:pa:ss %41@", "ann:pa:ss %41@\n", "ann:pa:ss %41@\r\n"])
def test_credentials_are_taken_as_they_are(text):
    assert parse_credentials(text) == ("ann", "pa:ss %41@")


@pytest.mark.parametrize(
    "text", ["", "ann", "ann:", ":hunter2", "ann:hunter2\nbob:hunter2\n", "a\0n:hunter2", "a:hunter2\0"]
)
def test_what_holds_no_credentials_is_refused_without_showing_it(text):
    with pytest.raises(WireError) as refused:
        parse_credentials(text)
    assert (refused.value.code, "hunter2" in str(refused.value)) == ("broker_credentials", False)
