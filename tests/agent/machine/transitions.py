"""What each state of the update machine does with each event, as text: for the tests of the table and the diagram."""

from skerry_agent.machine import events
from skerry_agent.machine.records import Deployment, Record, Slot, Slots, State
from skerry_agent.wire.blobs import describe

OLD = Slot("old", "m@1.0.0", "cpu", "a" * 64, "1" * 64)
OLDER = Slot("older", "m@0.9.0", "cpu", "9" * 64, "2" * 64)
FACTORY = Slot("factory/m", "m@0.1.0", "cpu", "0" * 64, "4" * 64)
NEW = Slot("new", "m@1.1.0", "cpu", "b" * 64, "3" * 64)
ORDER = Deployment("d1", "m@1.1.0", "cpu", describe(b"manifest"))

EVENTS = [
    events.Booted(),
    events.Ordered(Deployment("d2", "m@1.2.0", "cpu", describe(b"other"))),
    events.OrderLapsed(Deployment("d2", "m@1.2.0", "cpu", describe(b"other")), "full"),
    events.Withdrawn(),
    events.Fetched("patch", 10),
    events.FetchFailed("disk_full"),
    events.Verified(NEW),
    events.Rejected("untrusted"),
    events.PatchFailed("wrong_base"),
    events.PatchRefused("not_enough_memory", "1 B are free"),
    events.StageCrashed("updater_died", "killed by SIGKILL"),
    events.StageFailed("disk"),
    events.CandidateReady(),
    events.CandidateFailed("latency_over_budget", "p95"),
    events.CandidateLost("killed", "killed by SIGTERM"),
    events.ProbationPassed(),
    events.Settled(),
    events.CurrentFailed("crashed"),
    events.Serving(),
    events.Healthy(),
    events.RollbackOrdered(),
    events.FactoryFound(FACTORY, "crashed"),
    events.Expired(),
]

# What each pair leads to, from a device that serves OLD with OLDER behind it: (state, outcome of d1 or d2, effects).
# A pair that is not here must be refused.
EXPECTED = {
    "idle Booted": "idle - Serve Collect",
    "idle Ordered": "fetching - Fetch",
    "idle OrderLapsed": "idle timed_out",
    "idle CurrentFailed": "idle - Serve",
    "idle FactoryFound": "idle -",
    "idle Serving": "idle -",
    "idle Healthy": "idle -",
    "idle RollbackOrdered": "rolling_back - Serve",
    "fetching Booted": "fetching - Serve Fetch",
    "fetching Ordered": "fetching - Drop Fetch",
    "fetching OrderLapsed": "fetching -",
    "fetching FactoryFound": "fetching -",
    "fetching Withdrawn": "idle cancelled Drop Collect",
    "fetching Fetched": "verifying - Stage",
    "fetching FetchFailed": "idle failed Drop Collect",
    "fetching Rejected": "idle rejected Drop Collect",
    "fetching CurrentFailed": "fetching - Serve",
    "fetching Serving": "fetching -",
    "fetching Healthy": "fetching -",
    "fetching RollbackOrdered": "rolling_back cancelled Drop Serve",
    "fetching Expired": "idle timed_out Drop Collect",
    "verifying Booted": "verifying - Serve Stage",
    "verifying Ordered": "fetching - Drop Fetch",
    "verifying OrderLapsed": "verifying -",
    "verifying FactoryFound": "verifying -",
    "verifying Withdrawn": "idle cancelled Drop Collect",
    "verifying Verified": "staged - StartCandidate",
    "verifying Rejected": "idle rejected Drop Collect",
    "verifying PatchFailed": "fetching - Fetch",
    "verifying PatchRefused": "fetching - Fetch",
    "verifying StageCrashed": "verifying - Stage",
    "verifying StageFailed": "idle failed Drop Collect",
    "verifying CurrentFailed": "verifying - Serve",
    "verifying Serving": "verifying -",
    "verifying Healthy": "verifying -",
    "verifying RollbackOrdered": "rolling_back cancelled Drop Serve",
    "verifying Expired": "idle timed_out Drop Collect",
    "staged Booted": "staged - Serve StartCandidate",
    "staged Ordered": "fetching - Drop Serve Fetch",
    "staged OrderLapsed": "staged -",
    "staged FactoryFound": "staged -",
    "staged Withdrawn": "idle cancelled Drop Serve Collect",
    "staged CandidateReady": "probation - Admit",
    "staged CandidateFailed": "idle failed Drop Serve Collect",
    "staged CandidateLost": "staged - Drop Serve StartCandidate",
    "staged CurrentFailed": "staged - Serve",
    "staged Serving": "staged -",
    "staged Healthy": "staged -",
    "staged RollbackOrdered": "rolling_back cancelled Drop Serve",
    "probation Booted": "staged - Serve StartCandidate",
    "probation Ordered": "fetching - Drop Serve Fetch",
    "probation OrderLapsed": "probation -",
    "probation FactoryFound": "probation -",
    "probation Withdrawn": "idle cancelled Drop Serve Collect",
    "probation ProbationPassed": "committed succeeded Retire Collect",
    "probation CandidateFailed": "rolling_back rolled_back Drop Serve",
    "probation CandidateLost": "staged - Drop Serve StartCandidate",
    "probation CurrentFailed": "probation -",
    "probation Serving": "probation -",
    "probation Healthy": "probation -",
    "probation RollbackOrdered": "rolling_back rolled_back Drop Serve",
    "committed Booted": "idle - Serve Collect",
    "committed Settled": "idle -",
    "rolling_back Booted": "rolling_back - Serve",
    "rolling_back OrderLapsed": "rolling_back timed_out",
    "rolling_back FactoryFound": "rolling_back -",
    "rolling_back Ordered": "fetching - Fetch",
    "rolling_back Serving": "idle - Collect",
    "rolling_back CurrentFailed": "rolling_back - Serve",
    "rolling_back Healthy": "rolling_back -",
    "rolling_back RollbackOrdered": "rolling_back -",
}


def record_in(state: State) -> Record:
    candidate = NEW if state in {State.STAGED, State.PROBATION} else None
    return Record(state, Slots(OLD, OLDER, candidate), None if state is State.IDLE else ORDER)
