"""Simulated devices against a broker. `python -m tests.sim --devices 50 --broker mqtt://127.0.0.1:1883 --home HOME`.

Without a scenario file all devices report every --report-s seconds and obey. `--print-scenario` prints what would run,
as a file to begin from. The last line on standard output is what the devices did, as JSON.
"""

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

import msgspec
from msgspec.structs import replace

from skerry_host.home import open_home
from skerry_host.plane.registry.database import open_registry
from tests.sim.enrol import enrol
from tests.sim.fleet import Fleet, write_ledger
from tests.sim.scenario import Behaviour, Group, Scenario, load


def main() -> int:
    """Run the scenario that the arguments name; 2 when it cannot be read."""
    given = _arguments()
    try:
        scenario = _scenario(given)
    except (OSError, msgspec.MsgspecError) as error:
        print(f"error: the scenario {given.scenario} cannot be used: {error}", file=sys.stderr)
        return 2
    if given.print_scenario:
        print(msgspec.json.format(msgspec.json.encode(scenario), indent=2).decode())
        return 0
    if given.home:
        with open_registry(open_home(given.home).registry) as registry:
            enrol(registry, scenario)
    print(json.dumps(asyncio.run(_run(scenario, given))))
    return 0


async def _run(scenario: Scenario, given: argparse.Namespace) -> dict[str, object]:
    fleet, stopped = Fleet(scenario, given.broker), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    ledger = await fleet.run(stopped.is_set)
    if given.ledger:
        write_ledger(ledger, given.ledger)
    return fleet.summary()


def _scenario(given: argparse.Namespace) -> Scenario:
    if given.scenario:
        return load(given.scenario)
    behaviour = Behaviour(report_s=given.report_s)
    made = Scenario((Group("sim", given.devices, behaviour),), seconds=given.seconds)
    return replace(made, connect_per_s=given.connect_per_s)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--broker", default="mqtt://127.0.0.1:1883", help="where the plane's broker is")
    parser.add_argument("--home", type=Path, help="enrol the devices in this home first")
    parser.add_argument("--scenario", type=Path, help="a JSON or TOML file with groups of devices")
    parser.add_argument("--devices", type=int, default=50, help="how many, without a scenario [50]")
    parser.add_argument("--report-s", type=float, default=10.0, help="seconds between reports, without one [10]")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long, without one [60]")
    parser.add_argument("--connect-per-s", type=float, default=500.0, help="connections a second, without one [500]")
    parser.add_argument("--ledger", type=Path, help="write what the broker acknowledged to this file")
    parser.add_argument("--print-scenario", action="store_true", help="print the scenario and end")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
