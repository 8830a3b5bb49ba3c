"""`python -m tests.system.record` records what docs/reliability.md shows: the plug pulled during a rollout, the doctor.

Real plane, broker and agent; what is printed is what the commands print. No test: nothing is judged here.
"""

import re
import tempfile
import time
from pathlib import Path

from skerry_host.home import Home
from tests.kit.commands import serving, skerry
from tests.kit.home import make_home
from tests.system.fleet import FIRST, SECOND, Device, await_end, build_releases, provision, start_rollout

SHORT = re.compile(r"\b[0-9a-f]{40,64}\b")


class Recorder:
    """Prints commands and what they say, with the seconds since it began."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._begun = str(folder), time.monotonic()

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self._begun:5.1f} s] {text}", flush=True)

    def show(self, command: str, output: str) -> None:
        short = SHORT.sub(lambda found: f"{found.group()[:12]}…", output.replace(self._folder, "/var/lib/skerry"))
        self.say(f"$ {command}")
        print(short.rstrip(), flush=True)


def agent(device: Device, record: Recorder, *arguments: str) -> None:
    done = device.command(*arguments)
    record.show(f"skerry-agent {' '.join(arguments)}", done.stdout + done.stderr)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="skerry-record-") as name:
        folder = Path(name)
        home = make_home(folder / "home")
        build_releases(home, folder)
        with serving(home, "--port", "0", "--no-http") as plane:
            device = provision(home, "shelf-01", plane.broker, folder / "device")
            device.start()
            try:
                await_end(home, start_rollout(home, FIRST, device.id))
                device.await_serving(FIRST)
                device.kill()
                _pull(home, device)
            finally:
                device.kill()


def _pull(home: Home, device: Device) -> None:
    record = Recorder(device.folder)
    device.start(kill_at_journal_write=2)
    device.await_serving(FIRST)
    agent(device, record, "status")
    rollout = start_rollout(home, SECOND, device.id)
    record.say(f"$ skerry rollout start {SECOND} --device {device.id}")
    device.await_death()
    record.say("killed (-9) just before it journalled that everything is fetched")
    blobs = "  ".join(sorted(path.name for path in (device.state / "blobs").iterdir()))
    record.show("ls state/blobs", blobs)
    agent(device, record, "status")
    record.say("$ skerry-agent run &")
    device.start()
    device.await_serving(SECOND)
    record.say("the new release serves")
    agent(device, record, "status")
    await_end(home, rollout)
    record.show("skerry rollout status", skerry(home, "rollout", "status", rollout).stdout)
    agent(device, record, "doctor")


if __name__ == "__main__":
    main()
