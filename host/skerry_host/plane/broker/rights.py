"""What each kind of client may write and read, as data: every broker's access rules are written out of these tables.

`{name}` stands for the name in the client's certificate. A topic that is in no table is nobody's but the plane's. Says
nothing of who is revoked (`access`), nor how a broker writes it down (`mosquitto_acl`, `export/`).
"""

from dataclasses import dataclass

from skerry_agent.wire import topics

NAME = "{name}"
_STAND_IN = "stand-in"
"""Topics are made of valid names only, so the placeholder comes in afterwards."""
_HASH = "0" * 64
_KEY = "0" * 16

EVERYTHING = f"{topics.ROOT}/#"
BLOBS = f"{topics.ROOT}/blob/+/+"


@dataclass(frozen=True, slots=True)
class Rights:
    """Topic filters that a client may publish to, and those that it is sent messages of."""

    write: tuple[str, ...]
    read: tuple[str, ...]

    def of(self, name: str) -> "Rights":
        """The rights of one client."""
        return Rights(*(tuple(each.replace(NAME, name) for each in some) for some in (self.write, self.read)))


def _named(*made: str) -> tuple[str, ...]:
    return tuple(topic.replace(_STAND_IN, NAME) for topic in made)


DEVICE = Rights(
    write=_named(
        topics.state(_STAND_IN),
        topics.reported(_STAND_IN),
        topics.command_result(_STAND_IN),
        topics.ask(_STAND_IN),
        topics.renew(_STAND_IN),
        topics.results(_STAND_IN, "model").replace("/model", "/+"),
        topics.telemetry(_STAND_IN).replace(f"/{topics.shard(_STAND_IN)}/", "/+/"),
    ),
    read=_named(
        topics.desired(_STAND_IN),
        topics.command(_STAND_IN),
        topics.receipt(_STAND_IN),
        topics.renewal(_STAND_IN),
        topics.piece(_STAND_IN, _HASH).replace(_HASH, "+"),
        BLOBS,
    ),
)
"""A device on the operation listener. Blobs are every device's: models are no secret within a fleet."""

OLD_WAY = DEVICE
"""A device that has no identity, on the old listener: it asks for one on the topic on which others renew theirs."""

ENROLLING = Rights(
    write=(topics.enroll_request("@claim-1", _KEY).replace("@claim-1", NAME).replace(_KEY, "+"),),
    read=(topics.enroll_answer("@claim-1", _KEY).replace("@claim-1", NAME).replace(_KEY, "+"),),
)
"""A claim or a birth certificate on the enrolment listener: nothing but asking."""

PLANE = Rights(write=(EVERYTHING,), read=(EVERYTHING,))


def canary_topic(label: str) -> str:
    """Where the canary may write and read while the access rules of `label` are in force, and at no other time."""
    return f"{topics.ROOT}/canary/{label}"


def canary(label: str) -> Rights:
    """The canary's rights under the access rules of `label`."""
    return Rights((canary_topic(label),), (canary_topic(label),))
