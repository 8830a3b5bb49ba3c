"""Rules for a mosquitto that runs as a service: one process for operation, another for enrolment. Pure.

Two processes, because client ids are one space within a process: `mosquitto_conf` says why.
"""

from skerry_host.plane.broker.export.place import LABEL, Place, path_unit, service_unit
from skerry_host.plane.broker.mosquitto_conf import Listening, TlsFiles, enrolment_conf, operation_conf
from skerry_host.plane.broker.rules import LIST, Rules

ANYWHERE = "0.0.0.0"  # noqa: S104 - the broker is there for devices elsewhere; whoever comes needs a certificate


def setup(place: Place) -> dict[str, str]:
    """What is written once: two configurations, and units."""
    operation = Listening(place.folder, place.operation, (ANYWHERE,))
    enrolment = Listening(place.folder, place.enrolment, (ANYWHERE,))
    return {
        "mosquitto.conf": operation_conf(operation, _tls(place, enrolment=False), None),
        "enrolment.conf": enrolment_conf(enrolment, _tls(place, enrolment=True), None),
        "skerry-mosquitto.service": _broker_unit(place, "mosquitto.conf", "operation"),
        "skerry-enrolment.service": _broker_unit(place, "enrolment.conf", "enrolment"),
        "skerry-rules.path": path_unit(place, "mosquitto"),
        "skerry-rules.service": service_unit("mosquitto", RELOAD),
    }


RELOAD = "/usr/bin/systemctl reload skerry-mosquitto.service skerry-enrolment.service"


def rules(rules: Rules, _place: Place) -> dict[str, bytes]:
    """What changes with who is revoked; the old way in is not exported."""
    files = rules.files()
    return {name: files[name] for name in ("operation.acl", "enrolment.acl", LIST)} | {LABEL: rules.label.encode()}


def _tls(place: Place, *, enrolment: bool) -> TlsFiles:
    chain = place.enrolment_chain if enrolment else place.chain
    return TlsFiles(chain, place.folder / LIST, place.server, place.server)


def _broker_unit(place: Place, conf: str, what: str) -> str:
    return (
        f"[Unit]\nDescription=MQTT broker of a Skerry fleet, {what}\nAfter=network.target\n\n"
        "[Service]\nType=notify\nNotifyAccess=main\nUser=mosquitto\n"
        f"ExecStart=/usr/sbin/mosquitto -c {place.folder / conf}\nExecReload=/bin/kill -HUP $MAINPID\n"
        "Restart=on-failure\nLimitNOFILE=65536\nNoNewPrivileges=yes\nProtectSystem=strict\nProtectHome=yes\n"
        f"PrivateTmp=yes\nReadWritePaths={place.folder}\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )
