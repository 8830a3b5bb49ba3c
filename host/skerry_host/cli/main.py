"""`skerry`: runs a command and turns every error into one line and an exit code. Imports only that command."""

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from skerry_agent.wire.errors import SkerryError
from skerry_host.text import clean

COMMANDS = {
    "demo": ("skerry_host.cli.demo:demo", "Run everything once on this machine, from build to rollback."),
    "init": ("skerry_host.cli.init:init", "Create a home: release store, signing keys, registry."),
    "serve": ("skerry_host.cli.serve:serve", "Run the host plane: broker, telemetry ingest, rollouts, web page."),
    "broker": ("skerry_host.cli.broker:broker", "Show who may use the broker, and write rules for one elsewhere."),
    "doctor": ("skerry_host.cli.doctor:doctor", "Check that this machine has what the host needs."),
    "model": ("skerry_host.cli.model:model", "Quantize, evaluate, inspect and profile models."),
    "edgetpu": ("skerry_host.cli.edgetpu:edgetpu", "Check, compile and inspect models for the Edge TPU."),
    "release": ("skerry_host.cli.release:release", "Create, list, compare and export signed releases."),
    "runtime": ("skerry_host.cli.runtime:runtime", "Create, list and show runtimes that devices install."),
    "delta": ("skerry_host.cli.delta:delta", "Create, apply and measure patches (delta updates)."),
    "device": ("skerry_host.cli.device:device", "Provision, list and show devices."),
    "group": ("skerry_host.cli.group:group", "Create, list and show groups of devices."),
    "rollout": ("skerry_host.cli.rollout:rollout", "Roll out releases to devices: plan, start, watch, abort."),
    "event": ("skerry_host.cli.event:event", "List what happened, and when."),
    "rollback": ("skerry_host.cli.rollback:rollback", "Roll devices back to their previous release."),
    "backup": (
        "skerry_host.cli.backup:backup",
        "Back up the home, its keys and the registry, also while it is served.",
    ),
    "restore": ("skerry_host.cli.backup:restore", "Make a home of a backup, or list what one holds."),
    "monitor": ("skerry_host.cli.monitor:monitor", "Show the fleet live."),
    "keys": ("skerry_host.cli.keys:keys", "List keys and certificates, take the root key away, renew CAs."),
    "completion": ("skerry_host.cli.completion:completion", "Print what a shell needs to complete commands and names."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used; their one-line help is known without."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the workflow, not of the alphabet."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        if "_SKERRY_COMPLETE" in os.environ:
            from skerry_host.cli.completion import teach  # noqa: PLC0415 - for a shell that completes a command only

            return teach(cmd_name, command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--home", type=click.Path(path_type=Path), help="The home folder [$SKERRY_HOME, else ./.skerry].")
@click.option(
    "--registry",
    metavar="URL",
    help="For this command, use this registry [$SKERRY_REGISTRY, else what `skerry init --registry` chose].",
)
@click.version_option(package_name="skerry-host", prog_name="skerry")
def cli(home: Path | None, registry: str | None) -> None:
    """Deploy neural networks to fleets of small devices: quantize, release, roll out, monitor, roll back."""
    if home is not None:
        os.environ["SKERRY_HOME"] = str(home.absolute())
    if registry is not None:
        from skerry_host.plane.registry.place import VARIABLE, checked  # noqa: PLC0415 - keeps `--help` quick

        os.environ[VARIABLE] = checked(registry)


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit code. An error is a line for people and, with `--json`, data for programs."""
    try:
        result = cli.main(args=list(arguments), prog_name="skerry", standalone_mode=False)
    except BrokenPipeError:  # the other end of the pipe is closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except click.exceptions.NoArgsIsHelpError as error:  # a group without a command shows its help
        sys.stdout.write(f"{error.format_message()}\n")
        return 2
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last place where a traceback can be kept away
        found = _understood(error)
        if "--json" in arguments:
            _print_facts(found)
        return _fail(found)
    return result if isinstance(result, int) else 0


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def _understood(error: BaseException) -> SkerryError:
    """Any exception as an error with a line, a code and an exit code; one that nobody foresaw names its log."""
    if isinstance(error, SkerryError):
        return error
    if isinstance(error, click.ClickException):
        return _usage(error)
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return SkerryError("interrupted", code="interrupted")
    if isinstance(error, OSError):
        return SkerryError(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", code="system")
    if isinstance(error, ModuleNotFoundError) and not (error.name or "skerry").startswith("skerry"):
        line = f"the Python package {error.name} is not installed here, but required"
        return SkerryError(line, hint="pip install skerry-host", code="missing_package")
    from skerry_host.failure_log import unexpected  # noqa: PLC0415 - for the rare case only

    return unexpected(error, "this command")


def _usage(error: click.ClickException) -> SkerryError:
    """The user's mistake on the command line."""
    usage = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "skerry"
    told = SkerryError(error.format_message().rstrip("."), hint=f"see `{usage} --help`", code="usage")
    told.exit_code = 2
    return told


def _print_facts(error: SkerryError) -> None:
    from skerry_host.cli.common import emit_json  # noqa: PLC0415 - keeps `--help` quick

    emit_json({"error": error.facts()})


def _fail(error: SkerryError) -> int:
    """A line for each thing that is wrong: some errors are several that were found in one round.

    Behind a refused build a line for each setting that was tried.
    """
    for part in getattr(error, "parts", (error,)):
        sys.stderr.write(f"error: {clean(str(part))}\n")
    for line in getattr(error, "search", ()):
        sys.stderr.write(f"search: {clean(line)}\n")
    return error.exit_code
