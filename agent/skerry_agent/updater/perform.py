"""Does one job of any kind, and turns every expected failure into an answer."""

from collections.abc import Callable
from typing import Final

from skerry_agent.ports.interfaces import Trust
from skerry_agent.ports.jobs import (
    AcceptIdentity,
    Answer,
    FactoryJob,
    MakeRequest,
    PlanJob,
    Refusal,
    StageJob,
    UpdaterJob,
    VerifyMessage,
)
from skerry_agent.state.disk import os_error_text
from skerry_agent.trust.key_file import TrustError
from skerry_agent.updater.bundle import stage
from skerry_agent.updater.errors import RefusedError
from skerry_agent.updater.factory import find_factory
from skerry_agent.updater.plan import plan
from skerry_agent.updater.room import Room
from skerry_agent.updater.verify import verify
from skerry_agent.wire.errors import WireError

_PERFORMERS: dict[type, Callable[..., Answer]] = {
    VerifyMessage: lambda job, trust, _room: verify(job, trust),
    PlanJob: plan,
    StageJob: stage,
    FactoryJob: lambda job, trust, _room: find_factory(job, trust),
    MakeRequest: lambda job, _trust, _room: _make_request(job),
    AcceptIdentity: lambda job, _trust, _room: _accept_identity(job),
}
HERE: Final = Room()


def _make_request(job: MakeRequest) -> Answer:
    from skerry_agent.updater.identity import make_request  # noqa: PLC0415 - x509 is 16 MB that no other job needs

    return make_request(job)


def _accept_identity(job: AcceptIdentity) -> Answer:
    from skerry_agent.updater.identity import accept_identity  # noqa: PLC0415 - as above

    return accept_identity(job)


def perform(job: UpdaterJob, trust: Trust, room: Room = HERE) -> Answer:
    """Do one job. Every expected failure is an answer, not an exception."""
    try:
        return _PERFORMERS[type(job)](job, trust, room)
    except RefusedError as refused:
        return refused.refusal
    except (TrustError, WireError) as error:
        return Refusal("rejected", error.code, str(error))
    except OSError as error:
        return Refusal("failed", "disk", os_error_text(error))
