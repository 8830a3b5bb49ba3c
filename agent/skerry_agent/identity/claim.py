"""The files of a claim, as an image brings them: whether one lies there that no identity was made with yet.

Uses none: `asking` does.
"""

import hashlib
from pathlib import Path

from skerry_agent import log
from skerry_agent.state.identity import StoredIdentity, drop_claim


class ClaimFiles:
    """A claim's certificate and key. `issue` says why it cannot be read."""

    def __init__(self, claim_file: Path, key_file: Path, *, enrols: bool) -> None:
        self.claim_file, self.key_file = claim_file, key_file
        self.issue: str | None = None
        self._enrols = enrols
        self._kept = ""

    def unused(self, current: StoredIdentity | None, renewed: StoredIdentity | None) -> str:
        """The sha256 of the claim, empty where there is none, or an identity was made with it.

        One that the identity in use was made with is removed.
        """
        claim = self._sha256() if self._enrols else ""
        if claim not in {"", self._kept} and current is not None and current.identity.claim == claim:
            self._drop(claim)
        known = {each.identity.claim for each in (current, renewed) if each is not None}
        return "" if claim in known else claim

    def _sha256(self) -> str:
        try:
            raw, self.issue = self.claim_file.read_bytes(), None
        except FileNotFoundError:
            return ""
        except OSError as error:
            self.issue = f"{self.claim_file} cannot be read: {error.strerror}"
            return ""
        return hashlib.sha256(raw).hexdigest() if raw.strip() else ""  # a service's credential that is none is blank

    def _drop(self, claim: str) -> None:
        if not drop_claim((self.key_file, self.claim_file)):
            self._kept = claim  # the folder may be read-only: not tried again at every look
            log.warning("the claim is used up and cannot be removed", file=self.claim_file)
