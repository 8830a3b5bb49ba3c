"""Performs one job: sends it to its module, and turns every expected failure into an answer.

Each kind of job imports only what it needs: to verify a message takes neither numpy nor the decoder of patches, and
whoever reaches the broker can have messages verified.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Optional

from skerry_agent.ports.interfaces import Trust
from skerry_agent.ports.jobs import (
    AcceptIdentity,
    Answer,
    FactoryJob,
    InstallAgent,
    MakeRequest,
    PlanAgent,
    PlanJob,
    Refusal,
    StageJob,
    UpdaterJob,
    VerifyMessage,
    VerifyMessages,
)
from skerry_agent.trust.key_file import TrustError
from skerry_agent.updater.errors import RefusedError
from skerry_agent.wire.errors import WireError

if TYPE_CHECKING:
    from skerry_agent.updater.room import Room

# ruff: noqa: PLC0415 - what a kind of job needs is imported when there is such a job


def _verify(job: VerifyMessage, trust: Trust, _room: "Room | None") -> Answer:
    from skerry_agent.updater.verify import verify

    return verify(job, trust)


def _verify_all(job: VerifyMessages, trust: Trust, _room: "Room | None") -> Answer:
    from skerry_agent.updater.verify import verify_all

    return verify_all(job, trust)


def _plan(job: PlanJob, trust: Trust, room: "Room | None") -> Answer:
    from skerry_agent.updater.plan import plan
    from skerry_agent.updater.room import Room

    return plan(job, trust, room or Room())


def _stage(job: StageJob, trust: Trust, room: "Room | None") -> Answer:
    from skerry_agent.updater.bundle import stage
    from skerry_agent.updater.room import Room

    return stage(job, trust, room or Room())


def _find_factory(job: FactoryJob, trust: Trust, _room: "Room | None") -> Answer:
    from skerry_agent.updater.factory import find_factory

    return find_factory(job, trust)


def _make_request(job: MakeRequest, _trust: Trust, _room: "Room | None") -> Answer:
    from skerry_agent.updater.identity import make_request

    return make_request(job)


def _accept_identity(job: AcceptIdentity, _trust: Trust, _room: "Room | None") -> Answer:
    from skerry_agent.updater.identity import accept_identity

    return accept_identity(job)


def _plan_agent(job: PlanAgent, trust: Trust, _room: "Room | None") -> Answer:
    from skerry_agent.updater.agent import plan_agent

    return plan_agent(job, trust)


def _install_agent(job: InstallAgent, trust: Trust, room: "Room | None") -> Answer:
    from skerry_agent.updater.agent import install_agent
    from skerry_agent.updater.room import Room

    return install_agent(job, trust, room or Room())


_PERFORMERS: dict[type, Callable[..., Answer]] = {
    VerifyMessage: _verify,
    VerifyMessages: _verify_all,
    PlanJob: _plan,
    StageJob: _stage,
    FactoryJob: _find_factory,
    MakeRequest: _make_request,
    AcceptIdentity: _accept_identity,
    PlanAgent: _plan_agent,
    InstallAgent: _install_agent,
}


def perform(job: UpdaterJob, trust: Trust, room: Optional["Room"] = None) -> Answer:
    """Do one job. Every expected failure is an answer, not an exception. `room`: what is free, else of this board."""
    try:
        return _PERFORMERS[type(job)](job, trust, room)
    except RefusedError as refused:
        return refused.refusal
    except (TrustError, WireError) as error:
        return Refusal("rejected", error.code, str(error))
    except OSError as error:
        from skerry_agent.state.disk import os_error_text

        return Refusal("failed", "disk", os_error_text(error))
