"""The access rules of one moment: who may what, and the list of revoked certificates that goes with it. Pure."""

from dataclasses import dataclass

from skerry_host.plane.broker.access import TEXTS, Access

LIST = "revoked.crl.pem"


@dataclass(frozen=True, slots=True)
class Rules:
    """`crl` is PEM, of the same moment as `access`; or of an earlier one, and `flaw` says why."""

    access: Access
    crl: bytes
    flaw: str = ""

    @property
    def label(self) -> str:
        """See `access`."""
        return self.access.label

    def files(self) -> dict[str, bytes]:
        """The content of each file of a mosquitto, by its name."""
        label = self.label
        texts = {name: text(self.access, label).encode() for name, text in TEXTS.items()}
        return {**texts, LIST: self.crl}
