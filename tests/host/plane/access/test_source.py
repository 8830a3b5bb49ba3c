"""Rules out of a registry and an authority on disk."""

import time

from skerry_host.plane.access.source import RuleSource
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import identities
from tests.kit.callers import enrolled
from tests.kit.home import make_home


def test_a_device_is_denied_though_no_revocation_list_can_be_signed(tmp_path):
    """A key with the wrong mode, or a CA that has expired, must not keep a stolen device connected."""
    home, now = make_home(tmp_path / "home"), time.time()
    with open_registry(home.registry) as registry:
        enrolled(home, registry, "edge-17", now)
        source = RuleSource(registry, home.identity)
        before = source.rules(now)
        (home.identity / "issuing" / "1.key").chmod(0o644)
        with registry.write() as session:
            identities.revoke(session, "edge-17", "stolen", now)
        after = source.rules(now)
        assert "edge-17" in after.access.revoked
        assert after.crl == before.crl
        assert "can be read by others" in after.flaw
        (home.identity / "issuing" / "1.key").chmod(0o600)
        mended = source.rules(now)
        assert (mended.flaw, mended.crl != before.crl) == ("", True)
