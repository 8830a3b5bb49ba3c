"""One deployment's transfer, from the order to complete files: manifest, plan, blobs, under the rollout's policy.

Knows the policy: hours, byte budget, whether the full artifact may be fetched where no patch fits.
Decides nothing about the deployment: it reports `Fetched`, `FetchFailed` or `Rejected` to the update machine, once,
unless it is stopped before. `preparation` enforces the deadline.
"""

import contextlib
import shutil
import time
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from skerry_agent import log
from skerry_agent.deployment.context import DeviceContext
from skerry_agent.fetch.fetcher import Fetcher, Limits
from skerry_agent.fetch.over_mqtt import Mqtt
from skerry_agent.fetch.transports import sources
from skerry_agent.machine import events
from skerry_agent.machine.events import Event
from skerry_agent.machine.records import Deployment, Slot
from skerry_agent.ports.clock import PLAUSIBLE_WALL_S
from skerry_agent.ports.jobs import Answer, PlanJob, Planned, Refusal, RuntimeOrder, UpdaterJob
from skerry_agent.state.blobs import RESERVE_BYTES
from skerry_agent.state.disk import make_folder, os_error_text
from skerry_agent.wire.admission import DeviceFacts
from skerry_agent.wire.blobs import BlobRef
from skerry_agent.wire.hours import Hours, is_open
from skerry_agent.wire.targets import TARGETS, TargetName

HOURS_POLL_S = 30.0


class Transfer:
    """Fetches what a deployment needs. `have` maps sha256 to files that are on the device already."""

    def __init__(
        self, context: DeviceContext, deployment: Deployment, have: dict[str, str], handle: Callable[[Event], None]
    ) -> None:
        self.waiting = ""
        self._context, self._deployment, self._have, self._handle = context, deployment, have, handle
        self._mqtt = Mqtt(context.link, context.device, asked=deployment.asked)
        self._force_full = deployment.transfer == "full"
        self._before = deployment.bytes_received
        self._spent = deployment.bytes_received
        self._transports = dict.fromkeys(deployment.transports)
        self._fetcher: Fetcher | None = None
        self._plan: Planned | None = None
        self._main = 0
        self._work: Callable[[], None] = self._fetch_manifest
        self._stopped = False
        self._cancel_updater: Callable[[], None] = _nothing
        self._cancel_look: Callable[[], None] = _nothing

    @property
    def received(self) -> int:
        """Bytes of artifacts and patches that are here."""
        return self._before + self._main + (self._fetcher.received if self._plan and self._fetcher else 0)

    @property
    def expected(self) -> int:
        """Bytes of artifacts and patches that the deployment takes, as far as it is known."""
        if self._plan is None or self._fetcher is None:
            return self._before + self._main
        to_come = 0 if self._main else sum(ref.size for ref in self._plan.spare)
        return self._before + self._main + self._fetcher.expected + to_come

    @property
    def transports(self) -> tuple[str, ...]:
        """How pieces have come so far: retained, asked, http, folder."""
        now = self._fetcher.transports if self._fetcher else {}
        return tuple(self._transports | now)

    def start(self) -> None:
        """Begin, or wait for the hour."""
        self._go()
        self._look_again()

    def stop(self) -> None:
        """Give up; what was written stays for the next attempt."""
        self._stopped = True
        self._cancel_look()
        self._pause()
        self._cancel_updater()

    def link_up(self) -> None:
        """The link is back: subscribe again to what is awaited."""
        if self._fetcher is not None:
            self._mqtt.link_up()
            self._fetcher.resume()

    def message(self, topic: str, payload: bytes) -> None:
        """Take a message of the broker."""
        self._mqtt.message(topic, payload)

    # -- hours ---------------------------------------------------------------------------------------------------------

    @property
    def _hours(self) -> Hours | None:
        """Those of the rollout, else the device's own. What comes from a folder waits for neither."""
        said = self._deployment.policy.hours
        if said is not None or self._deployment.folder is not None:
            return said
        return self._context.config.agent.window

    def _go(self) -> None:
        self.waiting = self._waits_for()
        if self.waiting:
            self._log(f"the download is {self.waiting}")
        else:
            self._work()

    def _waits_for(self) -> str:
        """When it may go on, in words; empty where that is now."""
        hours = self._hours
        if hours is None or within_hours(hours, self._context.clock.wall()):
            return ""
        return "waiting until {:02}:{:02}".format(*divmod(hours[0], 60))

    def _look_again(self) -> None:
        """The window may open, close, or be another one."""
        self._cancel_look = self._context.clock.after(HOURS_POLL_S, self._watch_hours).cancel

    def _watch_hours(self) -> None:
        if self._stopped:
            return
        self._look_again()
        if self._waits_for() != self.waiting:
            self._pause()
            self._go()

    def _pause(self) -> None:
        if self._fetcher is not None:
            self._spent += self._fetcher.transferred
            self._transports |= self._fetcher.transports
            self._fetcher.stop()
            self._fetcher = None

    # -- manifest, plan, blobs -----------------------------------------------------------------------------------------

    def _fetch_manifest(self) -> None:
        runtime = self._deployment.runtime
        installed = runtime is None or self._context.runtimes.manifest(runtime.sha256) is not None
        refs = [self._deployment.manifest] if runtime is None or installed else [self._deployment.manifest, runtime]
        self._get(refs, None, self._ask_plan)

    def _facts(self) -> DeviceFacts | None:
        """What this device is; not its disk, of which the plan knows better what is needed and what is there."""
        facts = self._context.facts()
        return replace(facts, disk_free_bytes=None) if facts is not None else None

    def _ask_plan(self) -> None:
        """The updater decides; until it has answered there is nothing to pause."""
        self._pause()
        self._work = _nothing
        self._cancel_updater = self._context.processes.run_updater(self._plan_job(), self._planned)

    def _plan_job(self) -> UpdaterJob:
        deployment = self._deployment
        return PlanJob(
            release=deployment.release,
            target=deployment.target,
            manifest_file=str(self._context.blobs.path(deployment.manifest.sha256)),
            have=self._have,
            policy=deployment.policy,
            metered=self._context.config.agent.metered,
            force_full=self._force_full,
            spent=self._spent,
            runtime=runtime_order(self._context, deployment),
            facts=self._facts(),
            spare=spare_target(self._context, deployment) or "",
        )

    def _planned(self, answer: Answer) -> None:
        self._cancel_updater = _nothing
        match answer:
            case _ if self._stopped:
                pass
            case Planned():
                self._plan = answer
                size = sum(ref.size for ref in (*answer.wanted, *answer.spare))
                self._log("the download is planned", transfer=answer.transfer, size=size)
                self._work = self._fetch_blobs
                self._go()
            case Refusal(kind="rejected"):
                self._end(events.Rejected(answer.reason, answer.detail))
            case Refusal():
                self._end(events.FetchFailed(answer.reason, answer.detail))

    def _fetch_blobs(self) -> None:
        plan, self._main = self._plan, 0
        assert plan is not None
        try:
            lacking = self._lacking_bytes(plan)
        except OSError as error:
            self._end(events.FetchFailed("disk", os_error_text(error)))
            return
        if lacking > 0:
            detail = f"{plan.bundle_bytes} B for the bundle and its downloads do not fit: {lacking} B more are needed"
            self._end(events.FetchFailed("disk_full", detail))
            return
        # A full artifact may take all the time that the deadline leaves; a patch may not hold it up.
        silence_s = self._context.config.agent.patch_stall_s if plan.transfer == "patch" else None
        self._get(plan.wanted, silence_s, self._complete)

    def _lacking_bytes(self, plan: Planned) -> int:
        """How much more room it takes: blobs that are not there, the bundle made of them, and the reserve."""
        blobs = self._context.blobs
        coming = sum(ref.size for ref in plan.wanted if not blobs.has(ref))
        make_folder(blobs.folder)
        return coming + plan.bundle_bytes + RESERVE_BYTES - shutil.disk_usage(blobs.folder).free

    def _complete(self) -> None:
        """What serves is here; what is kept beside it follows, and is done without if it does not come."""
        plan = self._plan
        assert plan is not None
        if plan.spare and not self._main and self._has_room_for_spare(plan):
            self._main = self.received - self._before
            self._get(plan.spare, self._context.config.agent.patch_stall_s, self._all_here, self._without_spare)
        else:
            self._all_here()

    def _all_here(self) -> None:
        assert self._plan is not None
        self._end(events.Fetched(self._plan.transfer, self.received, self.transports))

    def _without_spare(self, reason: str, detail: str) -> None:
        self._log("nothing is kept beside the bundle", reason=reason, detail=detail)
        self._all_here()

    def _has_room_for_spare(self, plan: Planned) -> bool:
        coming = replace(plan, wanted=plan.spare, bundle_bytes=plan.bundle_bytes + plan.spare_bytes)
        with contextlib.suppress(OSError):
            return self._lacking_bytes(coming) <= 0
        return False

    def _get(
        self,
        refs: Sequence[BlobRef],
        silence_s: float | None,
        done: Callable[[], None],
        failed: Callable[[str, str], None] | None = None,
    ) -> None:
        self._pause()
        budget = self._deployment.policy.byte_budget
        limits = Limits(None if budget is None else budget - self._spent, silence_s)
        failed = failed or self._failed
        self._fetcher = Fetcher(self._context.clock, self._context.blobs, refs, limits, done, failed)
        self._fetcher.start(sources(self._context.post, self._deployment, self._mqtt))

    def _failed(self, reason: str, detail: str) -> None:
        """A stalled patch gives way to the full artifact where the policy allows; other failures end the deployment."""
        if reason == "stalled" and self._full_allowed():
            self._log("the full file is downloaded instead of a patch", reason=reason, detail=detail)
            self._force_full, self._plan = True, None
            self._work = self._ask_plan
            self._go()
        else:
            self._end(events.FetchFailed(reason, detail))

    def _end(self, event: Event) -> None:
        """It is over, however it went: no window matters any more."""
        self._cancel_look()
        self._handle(event)

    def _log(self, sentence: str, **fields: object) -> None:
        deployment = self._deployment
        log.info(sentence, release=deployment.release, deployment=deployment.id, **fields)

    def _full_allowed(self) -> bool:
        rule = self._deployment.policy.full_fallback
        return rule == "always" or (rule == "unmetered" and not self._context.config.agent.metered)


def spare_target(context: DeviceContext, deployment: Deployment) -> TargetName | None:
    """What is kept beside a bundle for an accelerator, where this board runs it."""
    fallback = TARGETS[deployment.target].fallback
    return fallback if fallback in context.config.board.targets else None


def runtime_order(context: DeviceContext, deployment: Deployment, served: Sequence[Slot] = ()) -> RuntimeOrder | None:
    """The runtime of a deployment, for the updater; its manifest is where one of it was installed, else a blob.

    A runtime with which a slot has served needs no probe.
    """
    runtime = deployment.runtime
    if runtime is None:
        return None
    installed = context.runtimes.manifest(runtime.sha256)
    return RuntimeOrder(
        manifest=runtime,
        manifest_file=str(installed or context.blobs.path(runtime.sha256)),
        folder=str(context.runtimes.root),
        engine=context.config.engine_for(deployment.target),
        proven=tuple(slot.runtime.folder for slot in served if slot.runtime is not None),
    )


def within_hours(hours: Hours, wall: float) -> bool:
    """Whether a daily window, in minutes after midnight of the device's time zone, is open; always before 2023."""
    if wall < PLAUSIBLE_WALL_S:
        return True
    local = time.localtime(wall)
    return is_open(hours, 60 * local.tm_hour + local.tm_min)


def _nothing() -> None:
    """There is nothing to do."""
