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
    """Run one command; returns the exit code. An error is one line for people and, with `--json`, data for programs."""
    try:
        result = cli.main(args=list(arguments), prog_name="skerry", standalone_mode=False)
    except SkerryError as error:
        if "--json" in arguments:
            _print_facts(error)
        return _fail(str(error), error.exit_code)
    except click.ClickException as error:
        return _refused(error)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted", 1)
    except BrokenPipeError:  # the other end of the pipe is closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, ModuleNotFoundError) as error:
        return _fail(_words(error), 1)
    return result if isinstance(result, int) else 0


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def _refused(error: click.ClickException) -> int:
    """The user's mistake as a line; a group without a command, which click takes for one too, shows its help."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        sys.stdout.write(f"{error.format_message()}\n")
        return 2
    usage = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "skerry"
    return _fail(f"{error.format_message().rstrip('.')}; see `{usage} --help`", 2)


def _print_facts(error: SkerryError) -> None:
    from skerry_host.cli.common import emit_json  # noqa: PLC0415 - keeps `--help` quick

    emit_json({"error": error.facts()})


def _words(error: OSError | ModuleNotFoundError) -> str:
    """A one-line message for an error of the environment; a missing module of Skerry's own is a bug and is raised."""
    if isinstance(error, OSError):
        return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
    if (error.name or "skerry").startswith("skerry"):
        raise error
    return f"the Python package {error.name} is not installed here, but required; pip install skerry-host"


def _fail(line: str, code: int) -> int:
    sys.stderr.write(f"error: {clean(line)}\n")
    return code
