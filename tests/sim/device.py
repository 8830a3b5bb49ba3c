"""One simulated device: what it says and when, on the wire of the agent. Verifies no signature and downloads nothing.

It is born and wills its death, accepts desired states and reports its way through each deployment, answers commands,
sends telemetry that it keeps until a receipt names it, and loses its network, its clock and its patience as the
scenario says. `Ledger` remembers what must arrive.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec.structs import replace

from skerry_agent.wire import codec, topics
from skerry_agent.wire.envelope import Envelope
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.names import split_release
from skerry_agent.wire.report_forms import encode_report
from skerry_agent.wire.sketch import Sketch
from skerry_agent.wire.telemetry import ModelStats, Receipt, Report, Sample
from skerry_agent.wire.twin import (
    Assignment,
    Command,
    CommandResult,
    DeploymentReport,
    Desired,
    DeviceState,
    ModelReport,
    Reported,
    SlotReport,
)
from tests.sim import mqtt
from tests.sim.scenario import Behaviour, draw, draw_outcome

AGENT = "sim 1.0"
KEEPALIVE_S = 60
MODEL_SHA256 = "0" * 64


@dataclass
class Ledger:
    """What all devices did: `acked` maps (device, boot) to the sequences of reports that the broker has taken."""

    counts: Counter[str] = field(default_factory=Counter)
    acked: dict[tuple[str, str], set[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class World:
    """What devices share: a way to connect, the wall clock, chance, and the ledger."""

    connect: Callable[[mqtt.Connection], None]
    clock: Callable[[], float]
    chance: random.Random
    ledger: Ledger


class SimDevice:
    """Start it in a running loop, and stop it."""

    def __init__(self, name: str, board: str, behaviour: Behaviour, world: World) -> None:
        self.id, self.board, self.behaviour = name, board, behaviour
        self.boot = f"{world.chance.getrandbits(128):032x}"
        self.models = _first_models(behaviour.runs)
        self.generation = 0
        self.connected = False
        self._world = world
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._link: mqtt.Connection | None = None
        self._connections = self._said = self._sequence = 0
        self._waiting: dict[int, bytes] = {}
        self._in_flight: dict[int, int] = {}
        self._attempts: dict[str, asyncio.TimerHandle] = {}
        self._timers: set[asyncio.TimerHandle] = set()
        self._away = self._stopped = False
        self._telemetry = topics.telemetry(name)

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Connect, and begin to measure."""
        if not self.behaviour.connects:
            return
        self._connect()
        if self.behaviour.report_s is not None:
            self._after(self._world.chance.random() * self.behaviour.report_s, self._report_due)
        if self.behaviour.away is not None:
            self._after(draw(self.behaviour.away.online_s, self._world.chance), self._leave)

    def stop(self) -> None:
        """End everything; what it had to send stays in the ledger as acknowledged or not."""
        self._stopped = True
        for timer in [*self._timers, *self._attempts.values()]:
            timer.cancel()
        if self._link is not None:
            self._link.write(mqtt.DISCONNECT)
            self._link.cut()

    def hush(self) -> None:
        """Make no more reports; what is in flight may still be acknowledged."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    @property
    def unacked(self) -> int:
        """Reports that the broker has not acknowledged yet."""
        return len(self._in_flight)

    def _leave(self) -> None:
        assert self.behaviour.away is not None
        self._away = True
        if self._link is not None:
            self._link.cut()
        self._after(draw(self.behaviour.away.offline_s, self._world.chance), self._return)

    def _return(self) -> None:
        assert self.behaviour.away is not None
        self._away = False
        self._connect()
        self._after(draw(self.behaviour.away.online_s, self._world.chance), self._leave)

    # -- connection ----------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        if self._stopped or self._away or self._link is not None:
            return
        self._connections += 1
        hello = mqtt.connect(self.id, (topics.state(self.id), self._state(online=False)), KEEPALIVE_S)
        self._link = mqtt.Connection(hello, mqtt.Handlers(self._up, self._lost, self._heard, self._acked))
        self._world.connect(self._link)

    def _up(self) -> None:
        assert self._link is not None
        self.connected = True
        self._world.ledger.counts["connections"] += 1
        self._link.subscribe(topics.desired(self.id), topics.command(self.id), topics.receipt(self.id))
        self._link.publish(topics.state(self.id), self._state(online=True), retain=True)
        self._say()
        for sequence, raw in self._waiting.items():
            self._send(sequence, raw)

    def _lost(self) -> None:
        if self._link is not None:
            self._world.ledger.counts["bytes_sent"] += self._link.sent_bytes
            self._world.ledger.counts["bytes_received"] += self._link.received_bytes
        self.connected, self._link = False, None
        self._in_flight.clear()
        if not self._stopped:
            self._after(0.5 + 2 * self._world.chance.random(), self._connect)

    def ping(self) -> None:
        """Keep the connection alive; call it within `KEEPALIVE_S`."""
        if self._link is not None and self.connected:
            self._link.ping()

    def _state(self, *, online: bool) -> bytes:
        return codec.encode(DeviceState(self.id, self.boot, 2 * self._connections + (not online), online, AGENT))

    def _say(self) -> None:
        """Publish the reported state."""
        self._said += 1
        reported = Reported(
            self.id, self.boot, self._said, self.generation, AGENT, self.board, ("cpu",), dict(self.models)
        )
        if self._link is not None and self.connected:
            self._link.publish(topics.reported(self.id), codec.encode(reported), retain=True)

    def _heard(self, topic: str, payload: bytes) -> None:
        try:
            if topic.endswith("/receipt"):
                self._receipt(codec.decode(payload, Receipt))
            elif topic.endswith("/desired") and payload:
                self._desired(codec.decode(codec.decode(payload, Envelope).payload, Desired))
            elif topic.endswith("/command") and payload:
                self._command(codec.decode(codec.decode(payload, Envelope).payload, Command))
        except WireError:
            self._world.ledger.counts["malformed"] += 1

    # -- telemetry -----------------------------------------------------------------------------------------------------

    def _report_due(self) -> None:
        assert self.behaviour.report_s is not None
        self._after(self.behaviour.report_s, self._report_due)
        self._sequence += 1
        self._waiting[self._sequence] = encode_report(self._report(self.behaviour.report_s))
        if self.connected:
            for _ in range(self.behaviour.repeats):
                self._send(self._sequence, self._waiting[self._sequence])

    def _send(self, sequence: int, raw: bytes) -> None:
        if self._link is not None:
            self._in_flight[self._link.publish(self._telemetry, raw)] = sequence
            self._world.ledger.counts["reports_sent"] += 1
            self._world.ledger.counts["report_bytes"] += len(raw)

    def _acked(self, mid: int) -> None:
        sequence = self._in_flight.pop(mid, None)
        if sequence is not None:
            self._world.ledger.acked.setdefault((self.id, self.boot), set()).add(sequence)

    def _receipt(self, receipt: Receipt) -> None:
        """Forget what is stored; send again what the broker took before something that is stored, and is not."""
        self._world.ledger.counts["receipts"] += 1
        stored = [s for s in self._waiting if receipt.names(self.boot, s)]
        for sequence in stored:
            del self._waiting[sequence]
        flying = set(self._in_flight.values())
        for sequence in [s for s in self._waiting if stored and s < max(stored) and s not in flying]:
            self._world.ledger.counts["reports_repeated"] += 1
            self._send(sequence, self._waiting[sequence])

    def _report(self, duration_s: float) -> Report:
        uptime_s = self._loop.time() - self._started
        stats = tuple(
            self._stats(name, model.current.release, duration_s) for name, model in self.models.items() if model.current
        )
        samples = (
            Sample("power", 2.6, "W", "modelled", "board coefficients"),
            Sample("temperature", 50.0 + self._world.chance.random(), "degC", "measured", "thermal_zone0"),
        )
        return Report(
            self.id, self.boot, self._sequence, self._now() - duration_s, uptime_s, duration_s, stats, samples
        )

    def _stats(self, model: str, release: str, duration_s: float) -> ModelStats:
        count = max(1, round(self.behaviour.inferences_per_s * duration_s))
        middle = 380 + self._world.chance.randrange(6)
        spread = Counter(str(middle + round(self._world.chance.gauss(0, 3))) for _ in range(min(count, 12)))
        latency = Sketch(dict(spread), 0, spread.total() * self.behaviour.latency_us)
        return ModelStats(
            model, release, spread.total(), 0, latency=latency,
            rss_bytes=43_000_000, energy_uj=4200.0, energy_source="modelled", energy_method="board coefficients",
        )  # fmt: skip

    def _now(self) -> float:
        """Its wall clock."""
        clock, uptime_s = self.behaviour.clock, self._loop.time() - self._started
        jumped = clock.jump_after_s is not None and uptime_s > clock.jump_after_s
        return self._world.clock() + clock.error_s + (clock.jump_s if jumped else 0.0)

    # -- desired states and commands -----------------------------------------------------------------------------------

    def _desired(self, desired: Desired) -> None:
        if not self.behaviour.obeys or desired.generation <= self.generation:
            return
        self.generation = desired.generation
        wanted = {assignment.model: assignment for assignment in desired.assignments}
        for name in [name for name in self._attempts if name not in wanted]:
            self._end(name, "cancelled", "withdrawn")
        for assignment in wanted.values():
            self._attempt(assignment)
        self._say()

    def _attempt(self, assignment: Assignment) -> None:
        known = self.models.get(assignment.model, ModelReport("idle", serving=False))
        if known.deployment is not None and known.deployment.id == assignment.deployment:
            return
        if assignment.model in self._attempts:
            self._attempts.pop(assignment.model).cancel()
        begun = DeploymentReport(assignment.deployment, assignment.release, "fetching", attempts=1)
        self.models[assignment.model] = replace(known, state="fetching", deployment=begun)
        self._world.ledger.counts["attempts"] += 1
        if known.current is not None and known.current.manifest_sha256 == assignment.manifest.sha256:
            self._end(assignment.model, "succeeded", "already_current")
            return
        self._next(assignment, self._stages())

    def _stages(self) -> list[tuple[str, float]]:
        """(state, seconds in the state before it), of a whole attempt; it may end in any of them."""
        mine, chance = self.behaviour, self._world.chance
        return [
            ("verifying", draw(mine.download_s, chance)),
            ("staged", draw(mine.verify_s, chance)),
            ("probation", draw(mine.stage_s, chance)),
            ("committed", draw(mine.probation_s, chance)),
        ]

    def _next(self, assignment: Assignment, stages: list[tuple[str, float]]) -> None:
        (state, seconds), *rest = stages
        self._attempts[assignment.model] = self._loop.call_later(seconds, self._enter, assignment, state, rest)

    def _enter(self, assignment: Assignment, state: str, rest: list[tuple[str, float]]) -> None:
        del self._attempts[assignment.model]
        if state == "committed":
            outcome = draw_outcome(self.behaviour.ends, self._world.chance)
            if outcome == "succeeded":
                self._commit(assignment)
            self._end(assignment.model, outcome, "" if outcome == "succeeded" else "golden_mismatch")
            self._say()
            return
        known = self.models[assignment.model]
        size = self.behaviour.download_bytes
        assert known.deployment is not None
        report = replace(
            known.deployment, state=state, transfer="full", bytes_received=size, bytes_expected=size,
            transports=("retained",),
        )  # fmt: skip
        self.models[assignment.model] = replace(known, state=state, deployment=report)
        self._say()
        self._next(assignment, rest)

    def _commit(self, assignment: Assignment) -> None:
        known = self.models[assignment.model]
        slot = SlotReport(assignment.release, assignment.target, assignment.manifest.sha256, MODEL_SHA256)
        self.models[assignment.model] = replace(known, serving=True, current=slot, previous=known.current)

    def _end(self, model: str, outcome: str, reason: str) -> None:
        if model in self._attempts:
            self._attempts.pop(model).cancel()
        known = self.models[model]
        assert known.deployment is not None
        ended = replace(known.deployment, state="idle", outcome=outcome, reason=reason)
        self.models[model] = replace(known, state="idle", deployment=ended)
        self._world.ledger.counts[f"deployments_{outcome}"] += 1

    def _command(self, command: Command) -> None:
        if not self.behaviour.obeys or self._link is None:
            return
        model = self.models.get(command.model or "")
        done = command.kind == "rollback" and model is not None and model.previous is not None
        if done and model is not None and command.model is not None:
            self.models[command.model] = replace(model, current=model.previous, previous=None)
        result = CommandResult(self.id, command.id, done, "" if done else "nothing to roll back to")
        self._link.publish(topics.command_result(self.id), codec.encode(result))
        self._say()

    def _after(self, seconds: float, call: Callable[[], None]) -> None:
        def due() -> None:
            self._timers.discard(timer)
            call()

        timer = self._loop.call_later(seconds, due)
        self._timers.add(timer)


def _first_models(release: str | None) -> dict[str, ModelReport]:
    """What a device runs that has run for long."""
    if release is None:
        return {}
    slot = SlotReport(release, "cpu", MODEL_SHA256, MODEL_SHA256)
    return {split_release(release)[0]: ModelReport("idle", serving=True, current=slot)}
