"""`skerry-agent`: run, status, rollback, install, selftest, doctor, power. Parses arguments, calls, prints.

The only place that turns errors into exit codes: 0, 1 for a failure, 2 for a usage error.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from skerry_agent import __version__
from skerry_agent.cli.status_lines import progress, shown
from skerry_agent.config import AgentConfig
from skerry_agent.launch.start import relaunch
from skerry_agent.overlay import load
from skerry_agent.state.disk import os_error_text
from skerry_agent.supervisor.local import (
    Done,
    InstallRequest,
    LocalError,
    Request,
    RollbackRequest,
    Status,
    StatusRequest,
    ask,
)
from skerry_agent.wire import codec
from skerry_agent.wire.errors import SkerryError
from skerry_agent.wire.plain_text import cleaned

if TYPE_CHECKING:
    from skerry_agent.cli.selftest import DeviceCheck
    from skerry_agent.supervisor.report import LocalStatus
    from skerry_agent.wire.twin import DeploymentReport

POLL_S = 0.2
MOST_LINE_CHARS = 2000
INSTALL_S = 4000.0
"""Above the deadline of an install, so that even what hangs ends in a reported state."""


def main(arguments: list[str] | None = None) -> None:
    """Run a command; exit 0, or 1 for a failure, or 2 for the user's mistake."""
    os.umask(0o077)
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        status = run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # nobody reads on, for instance `| head`; nor shall the interpreter try, as it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except SkerryError as error:
        print(f"error: {_plain(str(error))}", file=sys.stderr)
        status = error.exit_code
    except OSError as error:
        print(f"error: {_plain(os_error_text(error))}", file=sys.stderr)
        status = 1
    sys.exit(status)


class _Parser(argparse.ArgumentParser):
    """One whose usage errors are a line like every other error, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        """Exit 2."""
        self.exit(2, f"error: {' '.join(message.split())}; see `{self.prog} --help`\n")


def _plain(line: str) -> str:
    """A line for a terminal: what it quotes may come from a stick, a model or another process."""
    return cleaned(line, MOST_LINE_CHARS)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="skerry-agent", description="Skerry's on-device agent.")
    parser.add_argument("--version", action="version", version=f"skerry-agent, version {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("--config", type=Path, default=Path("agent.toml"), help="default: ./agent.toml")
        sub.add_argument("--json", action="store_true", help="print JSON")
        sub.set_defaults(run=run)
        return sub

    command("run", _run, "Run the agent until it is told to stop.")
    command("status", _status, "Show the agent's status, or that of its journals, with exit 1, if no agent runs.")
    rollback = command("rollback", _rollback, "Go back to the previous release of a model, without a network.")
    rollback.add_argument("--factory", action="store_true", help="go back to the factory release")
    rollback.add_argument("model", nargs="?", help="required if the device has several models")
    install = command("install", _install, "Install a release from a folder or USB stick, without a network.")
    install.add_argument("folder", type=Path, help="written by `skerry release export`")
    install.add_argument(
        "--factory", action="store_true", help="keep it as the factory release; change nothing that serves"
    )
    test = command("selftest", _selftest, "Run the current models on their golden inputs, in a separate process.")
    test.add_argument("--beside", action="store_true", help="leave out accelerators that the running agent holds")
    command("doctor", _doctor, "Check this device and show what is wrong.")
    _power_options(command("power", _power, "Calibrate this board's power model with a wattmeter (docs/power.md)."))
    return parser


def _power_options(parser: argparse.ArgumentParser) -> None:
    """What `power` takes."""
    parser.add_argument("action", choices=["calibrate", "load", "show", "reset"])
    parser.add_argument("--idle-w", help="what the meter shows at idle; without both, you are asked")
    parser.add_argument("--load-w", help="what it shows while --cores are busy")
    parser.add_argument("--csv", type=Path, help="a log of the meter, `time,watts`, with idle and load in it")
    parser.add_argument("--cores", help="how many cores are busy under load [all that may be used]")
    parser.add_argument("--seconds", default="10", help="how long idle and load last [10]")
    parser.add_argument("--meter-step-w", default="0.1", help="the last digit of the meter, in watts [0.1]")
    parser.add_argument("--meter-accuracy", default="0.02", help="relative: 0.02 is 2 %% [0.02]")


def _run(options: argparse.Namespace) -> int:
    from skerry_agent.cli.run import ENDED, ENDED_FOR_ANOTHER, run  # noqa: PLC0415
    from skerry_agent.cli.standalone import single_instance  # noqa: PLC0415 - the other commands need neither this nor paho

    config = load(options.config)
    with single_instance(config):
        ended = run(config)
    if ended == ENDED_FOR_ANOTHER:
        relaunch(sys.argv[1:])
    return ENDED


# -- status ------------------------------------------------------------------------------------------------------------


def _status(options: argparse.Namespace) -> int:
    config = load(options.config)
    try:
        status = _ask_status(config)
    except LocalError as error:
        from skerry_agent.cli.standalone import recorded_status  # noqa: PLC0415

        status = recorded_status(config)
        print(f"error: {_plain(str(error))}", file=sys.stderr)
    print(codec.encode(status).decode() if options.json else "\n".join(map(_plain, shown(status))))
    return 0 if status.running else 1


def _ask_status(config: AgentConfig) -> "LocalStatus":
    reply = ask(config.state_dir, StatusRequest())
    if not isinstance(reply, Status):
        raise SkerryError(reply.detail)
    return reply.status


# -- local orders -----------------------------------------------------------------------------------------------------


def _rollback(options: argparse.Namespace) -> int:
    """Done when the device is at rest again; a failure where that is not on the release that it should go back to."""
    config = load(options.config)
    limit_s = 30.0 + 2 * config.agent.start_timeout_s  # the older release may have to give the place back
    latest: list[LocalStatus] = []

    def settled(status: "LocalStatus") -> bool:
        latest[:] = [status]
        busy = any(factory.busy for factory in status.factory.values())
        models = [model for name, model in status.models.items() if options.model in {None, name}]
        return not busy and all(m.state == "idle" and (m.serving or not m.current) for m in models)

    reply = _order(config, RollbackRequest(options.model, options.factory), settled, limit_s)
    ends = time.monotonic() + limit_s
    while not latest or not settled(latest[0]):
        if time.monotonic() > ends:
            raise SkerryError(f"{reply.detail}: not done within {limit_s:.0f} s")
        time.sleep(POLL_S)
        latest[:] = [_ask_status(config)]
    current = latest[0].models[reply.model].current
    if (current.release if current else "") != reply.release:
        raise SkerryError(f"{reply.model} did not roll back to {reply.release}: {'; '.join(latest[0].issues)}")
    print(codec.encode(reply).decode() if options.json else _plain(reply.detail))
    return 0


def _install(options: argparse.Namespace) -> int:
    from skerry_agent.state.install import deployment_of, read_export  # noqa: PLC0415

    config, folder = load(options.config), options.folder.absolute()
    if options.factory:
        return _install_factory(config, folder, options)
    export = read_export(folder)
    deployment_of(
        export, config.board.targets, None, 0.0
    )  # what cannot be is the user's mistake, before anybody is asked
    model = export.release.model
    latest: list[DeploymentReport] = []

    def watch(status: "LocalStatus") -> bool:
        deployment = status.models[model].deployment
        assert deployment is not None
        if not options.json and (not latest or progress(latest[0]) != progress(deployment)):
            print(_plain(progress(deployment)), flush=True)
        latest[:] = [deployment]
        return deployment.outcome is not None and status.models[model].state == "idle"

    _order(config, InstallRequest(str(folder)), watch, INSTALL_S)
    while not latest or latest[0].outcome is None:
        watch(_ask_status(config))
        time.sleep(POLL_S)
    if options.json:
        print(codec.encode(latest[0]).decode())
    return 0 if latest[0].outcome == "succeeded" else 1


def _install_factory(config: AgentConfig, folder: Path, options: argparse.Namespace) -> int:
    from skerry_agent.cli.factory_install import install_factory  # noqa: PLC0415 - it needs cryptography
    from skerry_agent.trust.verification import KeyTrust  # noqa: PLC0415

    release = install_factory(config, KeyTrust.from_file(config.trust_file, config.state_dir), folder)
    done = Done(ok=True, detail=f"{release} is now the factory release")
    print(codec.encode(done).decode() if options.json else done.detail)
    return 0


def _order(config: AgentConfig, request: Request, watch: Callable[["LocalStatus"], bool], limit_s: float) -> Done:
    """Hand a request to the running agent; where none runs, to one that ends when `watch` says that it is done."""
    try:
        reply = ask(config.state_dir, request)
    except LocalError:
        from skerry_agent.cli.standalone import carry_out  # noqa: PLC0415

        reply = carry_out(config, request, watch, limit_s)
    if not isinstance(reply, Done) or not reply.ok:
        raise SkerryError(reply.detail if isinstance(reply, Done) else "the agent did not answer")
    return reply


# -- checks ------------------------------------------------------------------------------------------------------------


def _selftest(options: argparse.Namespace) -> int:
    from skerry_agent.cli.selftest import selftest  # noqa: PLC0415 - it starts a runner, the other commands do not

    return _checked(selftest(load(options.config), beside=options.beside), options)


def _doctor(options: argparse.Namespace) -> int:
    from skerry_agent.cli.doctor import doctor  # noqa: PLC0415

    return _checked(doctor(load(options.config)), options)


def _power(options: argparse.Namespace) -> int:
    from skerry_agent.cli.power import power  # noqa: PLC0415 - the other commands need no meters

    return power(load(options.config), options)


def _checked(checks: "list[DeviceCheck]", options: argparse.Namespace) -> int:
    if options.json:
        print(codec.encode(checks).decode())
    else:
        for check in checks:
            print(_plain(f"{'ok  ' if check.ok else 'FAIL'} {check.check}: {check.detail}"))
    return 0 if all(check.ok for check in checks) else 1


if __name__ == "__main__":
    main()
