"""Files that TLS is made of: who may read a secret. What goes wrong with a broker is in tests/net/test_tls.py."""

import pytest

from skerry_agent.tls import is_too_open

ROOT, USER = 0, 1000


@pytest.mark.parametrize(
    ("mode", "owner", "too_open"),
    [
        (0o600, USER, False),
        (0o400, USER, False),
        (0o640, USER, True),
        (0o644, USER, True),
        (0o602, USER, True),
        (0o640, ROOT, False),
        (0o440, ROOT, False),  # a credential of systemd's, by its access list
        (0o660, ROOT, True),
        (0o604, ROOT, True),
    ],
)
def test_a_secret_is_its_owners_and_roots_may_be_a_groups(mode, owner, too_open):
    assert is_too_open(mode, owner) is too_open
