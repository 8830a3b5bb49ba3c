"""What a command may say after somebody was denied: never that the broker does it while it does not."""

import pytest

from skerry_agent.wire import codec
from skerry_host.plane.access.keeper import State
from skerry_host.plane.access.serving import state_file
from skerry_host.plane.access.source import access_of
from skerry_host.plane.access.status import brought_in
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import identities
from tests.kit.home import make_home
from tests.kit.identities import fill


@pytest.mark.parametrize(
    ("security", "newest", "said"),
    [
        ("mtls", True, "in force at the broker"),
        ("mtls", False, "not yet in force at the broker"),
        ("plain", True, "denies nobody"),
        ("external", True, "are not Skerry's"),
    ],
)
def test_a_revocation_is_said_to_be_in_force_only_where_the_broker_has_the_newest_rules(
    tmp_path, security, newest, said
):
    home = make_home(tmp_path / "home")
    home.broker.mkdir(exist_ok=True)
    with open_registry(home.registry) as registry:
        with registry.write() as session:
            fill(session)
            before = access_of(session).label
            identities.revoke(session, "new-1", "stolen", 5.0)
            after = access_of(session).label
        state_file(home).write_bytes(codec.encode(State(after, after if newest else before)))
        assert said in brought_in(home, registry, security, patience_s=0.0)
