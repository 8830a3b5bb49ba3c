"""Decides what a board that asks for an identity gets. Pure: what the registry knows and the time are arguments.

Whether the asker holds the keys that it asks for was shown before this, by the signature of its CSR. What a board says
of itself decides one thing only: by its hardware serial it is found to be one that a record of its own claim waits for.
Everything here may be asked again: a key that has an identity is given the same one, and counts no second time.
"""

from dataclasses import dataclass

MAX_WAITING = 500
"""So many boards wait by one claim; a further one is refused, and those that wait stay."""

RETURNS_WITHIN_S = 3600.0
MOST_RETURNS = 10
"""So many certificates a device is given in that time: each return has all brokers read their rules again, and revokes
the certificates of before, so whoever has a birth key could fill the revocation list."""

REFUSED: dict[str, str] = {
    "claim_unknown": "this claim is not in the host's registry: ask for another",
    "claim_closed": "this claim was closed: ask for another",
    "claim_expired": "this claim has expired: ask for another",
    "claim_used_up": "as many boards as this claim is for have enrolled by it: ask for another",
    "denied": "the fleet's operator has denied this board",
    "revoked": "this device was revoked: the operator must provision it again",
    "no_identity": "this device has no identity: the operator must provision it",
    "no_proof": "the request is not signed by this device's birth key: the operator must provision it again",
    "key_revoked": "this key was this device's, and has been replaced since: make a new one",
    "too_many_returns": f"{MOST_RETURNS} certificates were given to this device within an hour: ask again later",
    "key_in_use": "this key has an identity with another state folder or birth key: remove the state folder",
    "too_many_waiting": "too many boards wait by this claim: the operator must approve or deny some",
}
"""Why a request is refused: code to what is to be done."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What the asker has shown that it holds, and the state folder that it has."""

    key_sha256: str
    birth_key_sha256: str | None
    incarnation: str


@dataclass(frozen=True, slots=True)
class ClaimFacts:
    """A claim as the registry has it. `device`: it is for the board of that record only."""

    expires: float
    count: int
    used: int
    closed: bool = False
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Holder:
    """A record, with the keys of the board that is enrolled as it, if one is; `denied`: revoked, or retired."""

    device: str
    keys: Keys | None = None
    denied: bool = False


@dataclass(frozen=True, slots=True)
class ByHand:
    """What a person has decided of a board that waits."""

    approved: bool = False
    replace: bool = False
    denied: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """A request by a claim, with all that bears on it.

    `owner` is whose key it is already. `record` is the one that the board would become: that of the claim, that which
    a person chose, or that with the board's serial. `waiting` boards wait by this claim beside this one.
    """

    keys: Keys
    claim: ClaimFacts | None
    owner: Holder | None = None
    record: Holder | None = None
    by_hand: ByHand = ByHand()
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Enrol:
    """The board becomes this device, and counts one of its claim."""

    device: str


@dataclass(frozen=True, slots=True)
class Again:
    """The board is this device already: it is given its certificates once more."""

    device: str


@dataclass(frozen=True, slots=True)
class Wait:
    """A person must decide."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """A code of `REFUSED`."""

    code: str

    @property
    def detail(self) -> str:
        """What is to be done."""
        return REFUSED[self.code]


Decision = Enrol | Again | Wait | Refuse


def decide(asked: Asked, now: float) -> Decision:
    """What a board gets that asks by a claim."""
    claim = asked.claim
    if claim is None or claim.closed or now >= claim.expires:
        return Refuse("claim_unknown" if claim is None else "claim_closed" if claim.closed else "claim_expired")
    if asked.owner is not None:
        return _again(asked.owner, asked.keys)
    if asked.by_hand.denied or claim.used >= claim.count:
        return Refuse("denied" if asked.by_hand.denied else "claim_used_up")
    if asked.record is not None and _may_have(asked.record, asked):
        return Enrol(asked.record.device)
    return Refuse("too_many_waiting") if asked.waiting >= MAX_WAITING else Wait()


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of a device's certificates: whether the key is one that was replaced, how many it got of late."""

    key_revoked: bool = False
    lately: int = 0


def decide_return(
    device: Holder | None, owner: Holder | None, keys: Keys, *, proven: bool, past: Past = Past()
) -> Decision:
    """What a device gets that comes back by its birth certificate, because its own has expired or is lost.

    `proven`: its birth key has signed the request. A broker's word for who asks is not enough: its rules may be loose.
    Then a request of long ago may come again, too: so a key that was replaced is not taken once more.
    """
    if device is None or device.keys is None:
        return Refuse("no_identity")
    if device.denied or not proven:
        return Refuse("revoked" if device.denied else "no_proof")
    if owner is not None:
        return _again(owner, keys) if owner.device == device.device else Refuse("key_in_use")
    if past.key_revoked:
        return Refuse("key_revoked")
    return Refuse("too_many_returns") if past.lately >= MOST_RETURNS else Enrol(device.device)


def _again(owner: Holder, keys: Keys) -> Decision:
    """A request holds no proof of the birth key and the state folder beside the key: these must be those of before."""
    known = owner.keys
    if owner.denied:
        return Refuse("revoked")
    if known is None or known.incarnation != keys.incarnation:
        return Refuse("key_in_use")
    if keys.birth_key_sha256 is not None and keys.birth_key_sha256 != known.birth_key_sha256:
        return Refuse("key_in_use")
    return Again(owner.device)


def _may_have(record: Holder, asked: Asked) -> bool:
    """Whether the board may become this record now.

    A record that has a board, or was revoked, is had only by a claim that was made for it, or by a person's word.
    """
    if record.keys is None and not record.denied:
        return True
    own_claim = asked.claim is not None and asked.claim.device == record.device
    return own_claim or (asked.by_hand.approved and asked.by_hand.replace)
