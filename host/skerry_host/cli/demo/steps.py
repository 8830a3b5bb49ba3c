"""The steps of the demo. Every step is a command that a user could type; the processes are real."""

import contextlib
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skerry_host.cli.common import micros, size, styled, table
from skerry_host.cli.demo.client import Client
from skerry_host.cli.demo.fleet import Agent, DemoError, Host
from skerry_host.cli.demo.outcome import Outcome, Quality, deployment_outcomes, device_outcome
from skerry_host.cli.terminal import Terminal, joined
from skerry_host.home import open_home
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.views.labels import label
from skerry_host.plane.views.words import energy

BOARD = "generic-x86"
DEVICES = ("shelf-01", "shelf-02", "dock-01")
FIRST, SECOND, BAD = "1.0.0", "1.1.0", "1.2.0"
WATCH_S = 6.0
TELEMETRY_S = 1.0
REPLAY_HZ = 50.0


@dataclass(slots=True)
class Demo:
    """Where the demo runs and what it prints to."""

    folder: Path
    recipe: Path
    out: Terminal
    stay: bool
    started: float = field(default_factory=time.monotonic)

    def print_line(self, text: str) -> None:
        """Print one line, with the seconds since the start."""
        self.out.print(joined(styled(f"{time.monotonic() - self.started:6.1f} s", "dim"), f"  {text}"))


def run_demo(demo: Demo) -> Outcome:
    """Run the whole demo. Raises `DemoError` where it cannot go on; leaves no process behind."""
    host = Host(demo.folder / "home")
    host.run("init")
    with contextlib.ExitStack() as stack:
        slow_build = host.begin("model", "build", *_build_arguments(demo, BAD))
        stack.callback(_end, slow_build)
        quality = _build_and_release(demo, host, FIRST)
        addresses = stack.enter_context(host.serving(demo.folder / "serve.log"))
        demo.print_line(f"host plane: broker {addresses['broker']}, web page {addresses['page']}")
        demo.print_line(who_gets_in(addresses["broker"]))
        agents = [_provision(demo, host, device) for device in DEVICES]
        for agent in agents:
            stack.enter_context(agent.running())
        host.run("group", "create", "everyone", "--where", f"board={BOARD}")
        for agent in agents:
            agent.status(connected=True)
        demo.print_line(f"{len(agents)} agents run, each a supervisor that starts an updater and a runner")
        _roll_out(demo, host, FIRST)
        clients = [stack.enter_context(Client(agent.status()["http"]["fashion"], "fashion")) for agent in agents]
        demo.print_line("from now on a client sends inference requests to each device over HTTP, and counts failures")
        quality = _build_and_release(demo, host, SECOND)
        _roll_out(demo, host, SECOND)
        _wait_for_build(demo, slow_build)
        _release(demo, host, BAD)
        demo.print_line(f"fashion@{BAD} has passed every gate of the build; only a device can tell that it is too slow")
        _roll_out(demo, host, BAD)
        time.sleep(WATCH_S)
        outcome = _gather(demo, host, agents, clients, quality)
        _show(demo, outcome)
        if demo.stay:
            _stay(demo, addresses["page"])
    return outcome


def who_gets_in(broker: str) -> str:
    """By what the broker knows its devices, and whose keys those are."""
    if broker.startswith("mqtts://"):
        return "mutual TLS: each device makes its own key and enrols; all keys are development keys, of this demo only"
    return "without TLS, since there is no mosquitto here: whoever is on this machine may call the broker"


def _build_arguments(demo: Demo, version: str) -> list[str]:
    return [str(demo.recipe), "--board", BOARD, "--version", version, "--out", str(demo.folder / f"build-{version}")]


def _build_and_release(demo: Demo, host: Host, version: str) -> Quality:
    host.run("model", "build", *_build_arguments(demo, version))
    released = _release(demo, host, version)
    quality = Quality(
        metric=released["metric"],
        float_value=released["float"],
        int8_value=released["int8"],
        samples=released["samples"],
        float_bytes=released["float_bytes"],
        int8_bytes=released["int8_bytes"],
    )
    demo.print_line(
        f"fashion@{version}: {size(quality.float_bytes)} float, {size(quality.int8_bytes)} int8; {quality.metric} "
        f"{quality.float_value:.2%} float, {quality.int8_value:.2%} int8 on {quality.samples} held-out samples; signed"
    )
    return quality


def _release(demo: Demo, host: Host, version: str) -> dict[str, Any]:
    released: dict[str, Any] = host.run(
        "release", "create", str(demo.folder / f"build-{version}"), "--version", version
    )
    return released


def _provision(demo: Demo, host: Host, device: str) -> Agent:
    """Enrol a device, and let it replay the held-out samples as if they came from a camera."""
    folder = demo.folder / device
    host.run("device", "provision", device, "--board", BOARD, "--config-only", "--out", str(folder))
    agent = Agent(device, folder)
    text = agent.config.read_text(encoding="utf-8")
    text = text.replace("telemetry_interval_s = 60.0", f"telemetry_interval_s = {TELEMETRY_S}")
    source = f'type = "replay"\npath = "{demo.recipe / "evaluation.npz"}"\nrate_hz = {REPLAY_HZ}\n'
    agent.config.write_text(f"{text}\n[models.fashion]\n[[models.fashion.sources]]\n{source}", encoding="utf-8")
    return agent


def _roll_out(demo: Demo, host: Host, version: str) -> None:
    release = f"fashion@{version}"
    rollout = host.run("rollout", "start", release, "--group", "everyone", "--wait", may_fail=True)
    if rollout is None:
        raise DemoError(f"the rollout of {release} did not start")
    for deployment in sorted(rollout["deployments"], key=lambda d: str(d["device"])):
        reason = label(deployment["reason"])
        why = f": {deployment['detail'] or reason}" if reason else ""
        demo.print_line(
            f"{release} on {deployment['device']}: {label(deployment['outcome'])}{why} "
            f"({deployment['transfer']}, {size(deployment['bytes_received'])}, {deployment['seconds']:.1f} s)"
        )


def _wait_for_build(demo: Demo, build: "subprocess.Popen[str]") -> None:
    if build.poll() is None:
        demo.print_line(f"waiting for the build of fashion@{BAD}, started at the beginning: its model is slow")
    _, errors = build.communicate()
    if build.returncode:
        raise DemoError(f"the build of {BAD} failed: {errors.strip().splitlines()[-1] if errors.strip() else ''}")


def _end(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:
        process.kill()
        process.wait()


def _gather(demo: Demo, host: Host, agents: list[Agent], clients: list[Client], quality: Quality) -> Outcome:
    with open_registry(open_home(host.home).registry) as registry:
        deployments = deployment_outcomes(registry)
        devices = [device_outcome(registry, agent.device, _release_on(agent)) for agent in agents]
    return Outcome(
        build=quality,
        devices=devices,
        deployments=deployments,
        answered_requests=sum(client.answered for client in clients),
        lost_requests=sum(client.lost for client in clients),
        seconds=round(time.monotonic() - demo.started, 1),
        good=f"fashion@{SECOND}",
        bad=f"fashion@{BAD}",
    )


def _release_on(agent: Agent) -> str | None:
    """What the device itself says that it runs."""
    current = agent.status()["models"]["fashion"]["current"]
    return str(current["release"]) if current else None


def _show(demo: Demo, outcome: Outcome) -> None:
    moved = table("release", "device", "outcome", "transfer", ">bytes", ">of full", ">seconds", "reason")
    for d in outcome.deployments:
        share = f"{d.bytes / d.full_bytes:.1%}" if d.full_bytes else "-"
        colour = "green" if d.outcome == "succeeded" else "yellow"
        result, reason = styled(label(d.outcome or "running"), colour), label(d.reason)
        moved.add_row(d.release, d.device, result, d.transfer, size(d.bytes), share, f"{d.seconds:.1f}", reason)
    now = table("device", "release", ">inferences", ">p50", ">p95", ">p99", ">energy/inference", "source")
    for device in outcome.devices:
        quantiles = [micros(device.latency_us[name]) for name in ("p50", "p95", "p99")]
        used = energy(device.energy_uj, device.energy_relative_uncertainty)
        row = (device.id, device.release or "-", str(device.inferences), *quantiles, used, device.power_source)
        now.add_row(*row)
    demo.out.print(moved, now)
    verdict = styled("ok", "green") if outcome.ok else styled("not ok", "red")
    requests = f"{outcome.answered_requests} client requests answered, {outcome.lost_requests} lost"
    demo.out.print(joined(verdict, f": {requests}, {outcome.seconds:.0f} s"))


def _stay(demo: Demo, page: str) -> None:
    demo.out.print(f"the fleet keeps running, web page {page}; stop it with Ctrl-C")
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)
