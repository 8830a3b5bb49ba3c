"""`skerry-agent`: run, status, rollback, selftest. Parses, calls, prints; only here errors become exit codes."""

import argparse
import fcntl
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

from skerry_agent.config import AgentConfig, load
from skerry_agent.local import Done, RollbackRequest, StatusRequest, ask
from skerry_agent.wire import codec
from skerry_agent.wire.errors import SkerryError


def main(arguments: list[str] | None = None) -> None:
    """Run a command; exit 0, or 1 for a failure, or 2 for the user's mistake."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        status = run(options)
    except SkerryError as error:
        print(f"error: {error}", file=sys.stderr)
        status = error.exit_code
    except OSError as error:
        print(f"error: {error.strerror or error}: {error.filename or ''}".rstrip(": "), file=sys.stderr)
        status = 1
    sys.exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="skerry-agent", description="Skerry's on-device agent.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("--config", type=Path, default=Path("agent.toml"), help="default: ./agent.toml")
        sub.add_argument("--json", action="store_true", help="print JSON")
        sub.set_defaults(run=run)
        return sub

    command("run", _run, "Run the agent until it is told to stop.")
    command("status", _status, "Show what the running agent does.")
    rollback = command("rollback", _rollback, "Go back to the previous release of a model, without a network.")
    rollback.add_argument("model", nargs="?", help="needed where the device has several models")
    command("selftest", _selftest, "Prove the current model on its golden inputs in a process of its own.")
    return parser


def _run(options: argparse.Namespace) -> int:
    from skerry_agent.run import run  # noqa: PLC0415 - the other commands need no paho

    config = load(options.config)
    with _only_one(config):
        return run(config)


def _only_one(config: AgentConfig) -> IO[str]:
    """Hold the state folder's lock: two supervisors on one journal would destroy it."""
    config.state_dir.mkdir(parents=True, exist_ok=True)
    lock = (config.state_dir / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise SkerryError(f"another agent runs on {config.state_dir}", hint="stop it first") from None
    return lock


def _status(options: argparse.Namespace) -> int:
    config = load(options.config)
    reply = ask(config.state_dir, StatusRequest())
    if isinstance(reply, Done):
        raise SkerryError(reply.detail)
    status = reply.status
    if options.json:
        print(codec.encode(status).decode())
        return 0
    print(f"device {status.device}: {'connected' if status.connected else 'offline'}")
    for name, model in sorted(status.models.items()):
        current = model.current.release if model.current else "no release"
        serving = f"serving on {status.http[name]}" if model.serving and name in status.http else "not serving"
        print(f"  {name}: {current}, {model.state}, {serving}")
        if model.deployment is not None:
            print(f"    last deployment {model.deployment.release}: {model.deployment.outcome or 'under way'}", end="")
            print(f" ({model.deployment.reason})" if model.deployment.reason else "")
    for issue in status.issues:
        print(f"  issue: {issue}")
    return 0


def _rollback(options: argparse.Namespace) -> int:
    config = load(options.config)
    reply = ask(config.state_dir, RollbackRequest(options.model))
    if not isinstance(reply, Done) or not reply.ok:
        raise SkerryError(reply.detail if isinstance(reply, Done) else "the agent gave no answer")
    print(codec.encode(reply).decode() if options.json else reply.detail)
    return 0


def _selftest(options: argparse.Namespace) -> int:
    from skerry_agent.selftest import selftest  # noqa: PLC0415 - it starts a runner, the other commands do not

    results = selftest(load(options.config))
    if options.json:
        print(codec.encode(results).decode())
    else:
        for result in results:
            print(f"{'ok  ' if result.ok else 'FAIL'} {result.check}: {result.detail}")
    return 0 if all(result.ok for result in results) else 1


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.umask(0o077)
    main()
