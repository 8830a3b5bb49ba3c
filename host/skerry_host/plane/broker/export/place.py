"""Where an exported broker has its files, and on which ports it listens; and the systemd units that reload it. Pure."""

from dataclasses import dataclass
from pathlib import Path

LABEL = "rules.label"


@dataclass(frozen=True, slots=True)
class Place:
    """`folder` holds the rules, and the certificates as `skerry broker export` copies them there."""

    folder: Path
    operation: int = 8883
    enrolment: int = 8884

    @property
    def chain(self) -> Path:
        """Whose certificates are taken in operation."""
        return self.folder / "broker-ca.pem"

    @property
    def enrolment_chain(self) -> Path:
        """Whose are taken for enrolment."""
        return self.folder / "enrolment-ca.pem"

    @property
    def server(self) -> Path:
        """The broker's own certificate and key, in one file of mode 0600."""
        return self.folder / "server.pem"


def path_unit(place: Place, name: str) -> str:
    """Starts the service of the same name when the rules have changed."""
    return (
        f"[Unit]\nDescription=Access rules of a Skerry fleet, for {name}\n\n"
        f"[Path]\nPathChanged={place.folder / LABEL}\nUnit=skerry-rules.service\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )


def service_unit(name: str, command: str) -> str:
    """Has the broker read its rules again, as root: the plane need not be."""
    return (
        f"[Unit]\nDescription=Have {name} read the access rules of a Skerry fleet\n\n"
        f"[Service]\nType=oneshot\nExecStart={command}\n"
    )
