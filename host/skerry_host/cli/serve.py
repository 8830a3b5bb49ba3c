"""`skerry serve`: runs the host plane on a home."""

import logging
import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import click
import msgspec

from skerry_agent.wire.twin import BaseUrl
from skerry_host.cli.common import emit_json, json_option, registry, warn
from skerry_host.cli.external_broker import ExternalBroker, external_broker_options
from skerry_host.cli.init import for_all_commands, move_to
from skerry_host.home import open_home

if TYPE_CHECKING:
    from skerry_host.home import Home
    from skerry_host.plane.broker.broker import Broker
    from skerry_host.plane.broker.secured import Ports
    from skerry_host.plane.provision import Addresses
    from skerry_host.plane.registry.database import Registry
    from skerry_host.plane.service import Service
    from skerry_host.release.store import Store


PORT = click.IntRange(0, 65535)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line of `skerry serve` says, by the names of its options; `url` is the registry's."""

    external: ExternalBroker
    listen: str | None
    plain: bool
    port: int | None
    enroll_port: int
    old_port: int | None
    http_port: int
    url: str | None
    no_http: bool
    blobs: str | None
    blobs_url: str | None
    retained: int | None
    keep: str | None


@click.command()
@external_broker_options
@click.option(
    "--listen",
    metavar="ADDRESS",
    help="Open the broker started here to devices on other machines, at this address of this machine; auto picks it.",
)
@click.option(
    "--plain",
    is_flag=True,
    help="Start the broker on loopback without TLS and identities, for tests and tinkering.",
)
@click.option(
    "--port",
    type=PORT,
    envvar="SKERRY_TLS_PORT",
    help="Port of the broker started here; 0 picks a free one [$SKERRY_TLS_PORT, else 8883].",
)
@click.option(
    "--enroll-port",
    type=PORT,
    default=8884,
    envvar="SKERRY_ENROLL_PORT",
    help="Port at which boards ask to be enrolled; 0 picks a free one [$SKERRY_ENROLL_PORT, else 8884].",
)
@click.option(
    "--old-port",
    type=PORT,
    envvar="SKERRY_PORT",
    help="Port for devices without an identity, while there are any [$SKERRY_PORT, else that of before, else 1883].",
)
@click.option(
    "--http-port",
    type=PORT,
    default=8090,
    envvar="SKERRY_HTTP_PORT",
    help="Web page port; 0 picks a free one [$SKERRY_HTTP_PORT, else 8090].",
)
@click.option("--registry", "url", metavar="URL", help="Keep the registry there, and remember it in the home.")
@click.option("--no-http", is_flag=True, help="Do not serve the web page.")
@click.option("--blobs", metavar="HOST:PORT", help="Also serve downloads over HTTP at this address; devices prefer it.")
@click.option("--blobs-url", metavar="URL", help="The URL of --blobs as devices see it, if behind a proxy.")
@click.option(
    "--retained",
    type=click.IntRange(min=0),
    metavar="N",
    help="Maximum number of chunks that the broker retains; devices request the rest. 0 retains none [1000].",
)
@click.option(
    "--keep",
    metavar="TIMES",
    help="How long telemetry is kept: reports, then roll-ups of a period [24h,10m=14d,1h=365d].",
)
@json_option
def serve(as_json: bool, **given: Any) -> None:
    """Run the host plane until stopped: broker, telemetry ingest, rollouts, web page."""
    from skerry_host.plane.heartbeat import require_no_other  # noqa: PLC0415 - keeps `--help` quick
    from skerry_host.plane.provision import write_addresses  # noqa: PLC0415
    from skerry_host.plane.registry.records import twins  # noqa: PLC0415
    from skerry_host.plane.registry.telemetry.port import Retention  # noqa: PLC0415
    from skerry_host.plane.service import Delivery, Service, single_instance  # noqa: PLC0415
    from skerry_host.plane.web.server import WebServer, require_free  # noqa: PLC0415
    from skerry_host.release.store import Store  # noqa: PLC0415

    named = {name: given.pop(name) for name in ExternalBroker.__struct_fields__}
    options = Options(external=ExternalBroker(**named), **given)
    _check_plain(options)
    _check_url(options.blobs_url)
    retention = Retention.parse(options.keep) if options.keep else Retention()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    home = open_home()
    with ExitStack() as stack:
        stack.enter_context(single_instance(home))
        url = options.url or for_all_commands()
        if url:
            move_to(home, url)
            _warn_of_password(url)
        opened = stack.enter_context(registry(home, make=True))
        require_no_other(opened)
        chosen = _chosen_broker(home, opened, options)
        if not options.no_http:
            require_free(options.http_port)
        blobs = _serve_blobs(stack, Store(home.store), options.blobs, options.blobs_url)
        running = stack.enter_context(chosen)
        if options.external.broker is None:
            with opened.write() as session:
                twins.none_connected(session, time.time())
        delivery = Delivery(blobs) if options.retained is None else Delivery(blobs, options.retained)
        service = stack.enter_context(Service(home, opened, running, delivery, retention))
        _keep_access(stack, home, opened, running, service)
        counted = home.root / "counted.json"
        web = None if options.no_http else WebServer(opened, service.counters, options.http_port, counted)
        page = stack.enter_context(web).url if web else None
        addresses = _addresses(options, running, page)
        write_addresses(home, addresses)
        _stop_on_signals(service)
        _announce(addresses, blobs, as_json)
        service.run()


def _chosen_broker(home: "Home", opened: "Registry", options: Options) -> "Broker":
    """The broker of --broker, else one that is started here: with identities, unless it is to be a plain one."""
    from skerry_host.cli.serve_ports import OLD_PORT  # noqa: PLC0415 - keeps `--help` quick
    from skerry_host.plane.access.serving import secured_broker  # noqa: PLC0415
    from skerry_host.plane.broker.broker import External, choose, find_mosquitto  # noqa: PLC0415
    from skerry_host.plane.broker.listening import opening  # noqa: PLC0415
    from skerry_host.plane.errors import BrokerError  # noqa: PLC0415

    ways = options.external.connections()
    if ways:
        return External(*ways)
    if options.plain:
        given = (options.port, options.old_port)
        return choose(home.broker, None, next((port for port in given if port is not None), OLD_PORT))
    program = find_mosquitto()
    if program is None:
        hint = "install mosquitto, give another broker with --broker, or tinker on this machine with --plain"
        raise BrokerError("no mosquitto is here, which knows devices by their certificates", hint=hint)
    address = opening(home.broker, options.listen) if options.listen else None
    return secured_broker(home, opened, program, _ports(home, opened, options), address)


def _ports(home: "Home", opened: "Registry", options: Options) -> "Ports":
    from skerry_host.cli.serve_ports import Asked, called_port, ports  # noqa: PLC0415 - keeps `--help` quick
    from skerry_host.plane.provision import addresses_of  # noqa: PLC0415
    from skerry_host.plane.registry.records import identities  # noqa: PLC0415

    with opened.read() as session:
        waiting = len(identities.old_way(session))
    asked = Asked(options.port, options.enroll_port, options.old_port)
    chosen, warning = ports(asked, called_port(addresses_of(home)), waiting)
    if warning:
        warn([warning])
    return chosen


def _keep_access(stack: ExitStack, home: "Home", opened: "Registry", broker: "Broker", service: "Service") -> None:
    """From now on the broker's access rules follow the registry."""
    from skerry_host.plane.access.keeper import running  # noqa: PLC0415 - keeps `--help` quick
    from skerry_host.plane.access.serving import keeper_of  # noqa: PLC0415

    keeper = keeper_of(home, opened, broker)
    if keeper:
        stack.enter_context(running(keeper, service.guarded))


def _addresses(options: Options, broker: "Broker", page: str | None) -> "Addresses":
    from skerry_agent.wire.broker_url import without_password  # noqa: PLC0415 - keeps `--help` quick
    from skerry_host.plane.broker.secured import Secured  # noqa: PLC0415
    from skerry_host.plane.provision import Addresses  # noqa: PLC0415

    security: Literal["mtls", "plain", "external"]
    security = "external" if options.external.broker else "plain" if options.plain else "mtls"
    asks = broker.connection.username is not None
    old_port = broker.old.port if isinstance(broker, Secured) else None
    return Addresses(without_password(broker.devices_url), page, broker.enrolment_url, security, asks, old_port)


def _serve_blobs(stack: ExitStack, store: "Store", blobs: str | None, blobs_url: str | None) -> str | None:
    """Serve blobs over HTTP if requested; returns the URL that devices are given."""
    from skerry_host.plane.delivery.over_http import PATH, blob_application  # noqa: PLC0415
    from skerry_host.plane.web.server import Server  # noqa: PLC0415

    if blobs is None:
        return blobs_url
    host, _, port = blobs.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise click.BadParameter(f"{blobs!r} is not an address; write HOST:PORT", param_hint="--blobs")
    if host == "0.0.0.0" and blobs_url is None:  # noqa: S104 - it is what this refuses
        raise click.UsageError("--blobs 0.0.0.0 needs --blobs-url: devices must be told an address that they can reach")
    served = stack.enter_context(Server(blob_application(store), host, int(port))).url + PATH
    return blobs_url or served


def _warn_of_password(registry_url: str) -> None:
    """Of one that stands on the command line as long as this runs."""
    from skerry_host.plane.registry.place import FILE, VARIABLE, has_password  # noqa: PLC0415

    if has_password(registry_url):
        instead = f"the home remembers it ({FILE}), so leave --registry out from now on, or set ${VARIABLE}"
        warn([f"other users of this machine see the password in --registry (ps, /proc): {instead}"])


def _check_plain(options: Options) -> None:
    """Without TLS nothing is opened to other machines."""
    if options.external.broker and options.listen:
        raise click.UsageError("--listen is for the broker that is started here: give it or --broker")
    if options.plain and options.listen:
        raise click.UsageError("--plain is for this machine only: leave it out to --listen to others, with TLS")
    if options.plain and options.external.broker:
        raise click.UsageError("--plain is for the broker that is started here: give it or --broker")


def _check_url(url: str | None) -> None:
    """Refuse a URL that devices would refuse."""
    try:
        msgspec.convert(url, BaseUrl | None)
        urlsplit(url or "")  # brackets that hold no address
    except (msgspec.ValidationError, ValueError):
        hint = "write http://HOST[:PORT][/PATH], or https://"
        raise click.BadParameter(f"{url!r} is not a usable URL; {hint}", param_hint="--blobs-url") from None


def _stop_on_signals(service: "Service") -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: service.stop())


def _announce(addresses: "Addresses", blobs: str | None, as_json: bool) -> None:
    """Print the addresses at once: whoever started this process waits for the line."""
    from skerry_host.cli.lines import write_line  # noqa: PLC0415

    if as_json:
        emit_json(msgspec.to_builtins(addresses) | ({"blobs": blobs} if blobs else {}))
        return
    enrolment = f", enrolment {addresses.enrolment}" if addresses.enrolment else ""
    page = f", page {addresses.page}" if addresses.page else ""
    write_line(f"serving: broker {addresses.broker}{enrolment}{page}; stop with Ctrl-C")
