"""Keeps this device's identity: enrols where there is none, connects with the one there is, renews it, comes back.

What serves goes on whatever happens here. An identity replaces the one before once it has connected; where the broker
takes neither, the device asks with its birth certificate. Where its clock cannot be believed, it connects without
looking at dates, and asks for the host's time before anything else.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from random import uniform

from msgspec import Struct

from skerry_agent import log
from skerry_agent.identity.asking import Asking, Way
from skerry_agent.identity.claim import ClaimFiles
from skerry_agent.identity.decisions import (
    ATTEMPTS,
    FINAL,
    OF_OURS,
    OF_TIME,
    is_doubtful,
    pauses,
    renewal_due,
)
from skerry_agent.identity.exchange import Tools
from skerry_agent.identity.gate import TimeGate
from skerry_agent.identity.later import Later
from skerry_agent.identity.ports import Credentials, Events, IdentityState, IdentityStatus, Owner, SecureLink
from skerry_agent.identity.renewal import Renewal
from skerry_agent.state.disk import DiskError
from skerry_agent.state.identity import (
    BIRTH_KEY,
    BIRTH_PEM,
    DEVICE_KEY,
    DEVICE_PEM,
    MOVED,
    IdentityStore,
    StoredIdentity,
)
from skerry_agent.wire import codec, topics
from skerry_agent.wire.enrolment import RenewalAnswer
from skerry_agent.wire.errors import WireError

TURN_S = 10.0
"""How often it is looked whether something is due."""

DAY_S = 86_400.0
RENEW_AGAIN_S = (3600.0, 2.0, DAY_S)
"""Pauses after a renewed certificate that the broker did not take."""
REOPEN_S = (5.0, 2.0, 300.0)


class Setup(Struct, frozen=True):
    """What agent.toml and the board say.

    `enrols`: there is an enrolment listener. `spread_s`: the longest wait of a device that has just enrolled, so that
    the boards of one claim do not connect all at once.
    """

    state: Path
    incarnation: str
    ca_file: Path
    enrols: bool = False
    claim_file: Path = Path("claim.pem")
    key_file: Path = Path("claim.key")
    serial: str = ""
    board: str = ""
    spread_s: float = 30.0


class IdentityKeeper:
    """One device's identity from the start of its agent on; all in the supervisor's thread."""

    def __init__(
        self, setup: Setup, tools: Tools, owner: Owner, spread: Callable[[float, float], float] = uniform
    ) -> None:
        self._setup, self._tools, self._owner, self._spread = setup, tools, owner, spread
        self._clock = tools.clock
        self._store = IdentityStore(setup.state)
        self._claim = ClaimFiles(setup.claim_file, setup.key_file, enrols=setup.enrols)
        self._gate = TimeGate(tools.clock, tools.processes, self._time_known)
        self._current: StoredIdentity | None = None
        self._renewed: StoredIdentity | None = None
        self._used: StoredIdentity | None = None
        self._link: SecureLink | None = None
        self._open = False
        self._check_time = True
        self._time_failed = False
        self._refused = 0
        self._asking: Asking | None = None
        self._renewal: Renewal | None = None
        self._later = Later(tools.clock)
        self._reopen, self._renew_again = pauses(*REOPEN_S), pauses(*RENEW_AGAIN_S)
        self._renew_from = 0.0
        self._issue: str | None = None
        self._unnoted: str | None = None
        self._given_up = ""
        self._shown: tuple[str, ...] = ()

    # -- what is shown -------------------------------------------------------------------------------------------------

    @property
    def status(self) -> IdentityStatus:
        """Who this device is, and how far it is with becoming somebody."""
        asking, used = self._asking, self._used or self._current
        if used is None:
            if asking is None:
                return IdentityStatus("none", detail=self._issue or "")
            return IdentityStatus(asking.state, code=asking.code, detail=asking.detail)
        identity = used.identity
        if asking is None:
            return IdentityStatus("enrolled", identity.device, identity.not_after)
        if asking.way.kind == "claim":
            detail = f"it asks to enrol anew by the claim that lies there: {asking.detail or asking.state}"
            return IdentityStatus("enrolled", identity.device, identity.not_after, asking.code, detail)
        state: IdentityState = "refused" if asking.state == "refused" else "returning"
        return IdentityStatus(state, identity.device, identity.not_after, asking.code, asking.detail)

    @property
    def issues(self) -> tuple[str, ...]:
        """What is wrong with it now, beside what the status says of enrolment."""
        renewal = self._renewal.issue if self._renewal is not None else None
        own = (self._issue, self._unnoted, self._store.issue, self._claim.issue, renewal, self._no_way_back())
        return tuple(filter(None, own))

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Take up where the files stand: with an identity connect, with a claim enrol."""
        self._begin()
        self._show_issues()
        self._clock.after(TURN_S, self._turn)

    def _begin(self) -> None:
        self._current, self._renewed = self._store.current(), self._store.renewed()
        if self._current is None and self._renewed is not None and not self._store.issue:
            self._try_to_adopt(self._renewed)  # it was killed between the two
        if self._current is not None:
            with contextlib.suppress(OSError):  # it only takes room
                self._store.tidy(self._current)
        stored = self._renewed or self._current
        if stored is not None:
            self._operate(stored)
        claim = self._claim.unused(self._current, self._renewed)
        if claim:
            self._ask(self._claim_way(claim))
        elif self._current is None and self._renewed is None:
            self._issue = self._no_way()

    def stop(self) -> None:
        """End what is asked; the operation link is the supervisor's."""
        for part in (self._asking, self._renewal):
            if part is not None:
                part.stop()

    def _turn(self) -> None:
        self._clock.after(TURN_S, self._turn)
        self._look_for_a_claim()
        if self._used is not None:
            self._look_after(self._used)
        self._show_issues()

    def _look_after(self, used: StoredIdentity) -> None:
        """Renew the identity in use when that is due, and connect otherwise where the clock has changed."""
        returns = self._asking is not None and self._asking.way.kind == "birth"
        if self._open and self._renewal is None and not returns and used is self._current:
            if self._clock.wall() >= renewal_due(used.identity) and self._clock.monotonic() >= self._renew_from:
                self._renew(used)
        elif self._link is not None and not self._link.connected and self._check_time == self._doubtful(used):
            self._operate(used)  # the clock has been set meanwhile, or cannot be believed any more

    def _show_issues(self) -> None:
        """Nobody else tells the supervisor of an issue that came between two of its reports, or while it is offline."""
        found = self.issues  # which reads files
        if found != self._shown:
            self._shown = found
            self._owner.identity_changed()

    def _no_way(self) -> str | None:
        if self._claim.issue or self._store.issue or not self._setup.enrols:
            return None
        how = "is empty" if self._setup.claim_file.exists() else "does not exist"
        return f"this device is not enrolled, and {self._setup.claim_file} {how}: put its claim there"

    def _no_way_back(self) -> str | None:
        current = self._current
        if current is None or not self._setup.enrols or current.has_birth:
            return None
        hint = "`skerry device provision` on the host makes it a claim"
        return f"its birth certificate is lost: it cannot come back if its certificate is lost or expires; {hint}"

    # -- enrolment and return ------------------------------------------------------------------------------------------

    def _claim_way(self, claim: str) -> Way:
        s = self._setup
        return Way("claim", s.state, s.incarnation, s.ca_file, s.claim_file, s.key_file, s.serial, s.board, claim=claim)

    def _birth_way(self, stored: StoredIdentity) -> Way:
        s, folder, identity = self._setup, stored.folder, stored.identity
        files = (folder / BIRTH_PEM, folder / BIRTH_KEY)
        known = (identity.device, str(folder), identity.claim)
        return Way("birth", s.state, identity.incarnation, s.ca_file, *files, s.serial, s.board, *known)

    def _look_for_a_claim(self) -> None:
        """One that is put there while the agent runs is as good as one that it has started with."""
        claim, asking = self._claim.unused(self._current, self._renewed), self._asking
        asked = asking.way.claim if asking is not None and asking.way.kind == "claim" else ""
        if claim not in {"", asked, self._given_up}:
            self._issue = None
            self._ask(self._claim_way(claim))

    def _ask(self, way: Way) -> None:
        """Ask in this way, in place of another."""
        if self._asking is not None:
            self._asking.stop()
        self._asking = Asking(way, self._tools, self._enrolled, self._owner.identity_changed)
        self._asking.begin()

    def _enrolled(self, folder: str) -> None:
        """What was asked for has come; a renewal of the identity before is of no use any more."""
        self._asking = None
        if self._renewal is not None:
            self._renewal.stop()
        self._got(folder)

    def _got(self, folder: str) -> None:
        """The updater has made an identity: with none before it is used at once, else it has to connect first."""
        self._renewal = None
        try:
            made = self._renewed = self._store.stored(folder)
        except DiskError as error:
            self._issue = str(error)
            self._later(next(self._reopen), self._begin)
            return
        if self._current is not None:
            self._operate(made)
            return
        self._try_to_adopt(made)
        self._owner.named(made.identity.device, made.identity.incarnation)
        log.info("this device is enrolled", device=made.identity.device)
        self._used = made
        self._later(self._spread(0.0, self._setup.spread_s), lambda: self._operate(made))
        self._owner.identity_changed()

    def _try_to_adopt(self, stored: StoredIdentity) -> None:
        """This one from now on, and its claim is used up. Where the disk refuses, the next start tries it again."""
        self._current, self._renewed, self._unnoted = stored, None, None
        try:
            self._store.adopt(stored)
            self._claim.unused(stored, None)
        except OSError as error:
            self._unnoted = f"the identity in use could not be noted: {error.strerror}; the next start tries again"

    # -- the operation link --------------------------------------------------------------------------------------------

    def _doubtful(self, stored: StoredIdentity) -> bool:
        identity = stored.identity
        wall = self._clock.system_wall()
        return self._time_failed or is_doubtful(wall, identity.not_before, identity.not_after)

    def _operate(self, stored: StoredIdentity) -> None:
        """Connect with an identity, in the place of the connection that there is."""
        self._used, self._open = stored, False
        self._check_time = not self._doubtful(stored)
        identity, folder = stored.identity, stored.folder
        self._owner.named(identity.device, identity.incarnation)
        files, provisional = (folder / DEVICE_PEM, folder / DEVICE_KEY), identity.claim == MOVED
        credentials = Credentials(identity.device, *files, check_time=self._check_time, provisional=provisional)
        self._link = self._tools.connections.operate(credentials, Events(self._up, self._message, self._down))

    def reconnect(self) -> None:
        """Make the operation link anew: what it leads to has changed."""
        if self._used is not None:
            self._operate(self._used)

    def _up(self) -> None:
        """There is a connection. Without a clock, the host's time comes first."""
        if self._check_time:
            self._release()
        else:
            assert self._link is not None
            assert self._used is not None
            self._gate.begin(self._link, self._used.identity.device)

    def _time_known(self, broker_is_valid: bool) -> None:
        """The host's time is known; only now can it be said whether the broker's certificate is one of today."""
        if broker_is_valid:
            self._release()
            return
        self._issue = "the certificate of the broker is not valid now, by the host's own time"
        self._owner.identity_changed()
        if self._link is not None:
            self._link.renew()

    def _release(self) -> None:
        """The connection may be used: this identity works."""
        used = self._used
        assert used is not None
        self._open, self._refused, self._time_failed, self._issue = True, 0, False, None
        if self._asking is not None and self._asking.way.kind == "birth":
            self._asking.stop()
            self._asking = None
        if used is not self._current:
            log.info("the new certificate is in use", device=used.identity.device)
            self._try_to_adopt(used)
        if self._link is not None:
            self._link.subscribe([topics.renewal(used.identity.device)])
        self._tools.connections.release()
        self._owner.link_up()

    def _message(self, topic: str, payload: bytes) -> None:
        used = self._used
        if used is None or topic != topics.renewal(used.identity.device):
            if self._open:
                self._owner.message(topic, payload)
            return
        try:
            answer = codec.decode(payload, RenewalAnswer)
        except WireError as error:
            log.warning("an answer about the certificate was ignored", detail=str(error))
            return
        if self._renewal is not None:
            self._renewal.answered(answer)
        self._gate.answered(answer)

    def _down(self, kind: str, _detail: str) -> None:
        """The connection ended, or none could be made."""
        self._open = False
        self._gate.close()
        used = self._used
        if used is None:
            return
        if kind in OF_TIME and not self._time_failed:
            self._time_failed = True
            self._later(1.0, lambda: self._operate(used))
        if kind not in OF_OURS:
            return
        self._refused += ATTEMPTS if kind in FINAL else 1
        if self._refused >= ATTEMPTS:
            self._refused = 0
            self._try_another(used)

    def _try_another(self, refused: StoredIdentity) -> None:
        """The broker does not take this certificate: the one before, if this one is new; else the birth certificate."""
        current = self._current
        if current is not None and refused is not current:
            log.warning("the renewed certificate is refused; the one before is used", serial=current.identity.serial)
            with contextlib.suppress(OSError):
                self._store.drop_others(current)
            self._renewed, self._renew_from = None, self._clock.monotonic() + next(self._renew_again)
            self._later(1.0, lambda: self._operate(current))
        elif current is not None and current.has_birth and self._setup.enrols and self._may_return():
            self._ask(self._birth_way(current))
        self._owner.identity_changed()

    def _may_return(self) -> bool:
        """Whether no other way is asked, or only by a claim of which nothing comes: that is given up for this run."""
        if self._asking is None:
            return True
        if self._asking.way.kind == "birth" or not self._asking.is_in_vain:
            return False
        self._given_up = self._asking.way.claim
        return True

    def _renew(self, stored: StoredIdentity) -> None:
        self._renewal = Renewal(stored, self._setup.ca_file, self._tools, lambda: self._link, self._got)
        self._renewal.begin()
