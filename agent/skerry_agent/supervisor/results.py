"""Sends results of models to the broker, where agent.toml asks for it: never more than a few that are not acknowledged.

What the link does not take is dropped and counted: results are no telemetry, and wait nowhere. How often there is one
is bounded where it comes from, in the runner.
"""

from msgspec import Struct
from msgspec.structs import replace

from skerry_agent.ports.interfaces import Link
from skerry_agent.ports.runner_protocol import Result
from skerry_agent.wire import topics

MOST_UNACKED = 4


class ResultsSent(Struct, frozen=True):
    """Of one model since the agent started: messages and their payloads, and results that were not sent."""

    sent: int = 0
    bytes_sent: int = 0
    left_out: int = 0


class ResultSender:
    """The results of all models of a device. `counts` is by model."""

    def __init__(self, link: Link, device: str) -> None:
        self._link, self.device = link, device
        self._unacked: set[int] = set()
        self.counts: dict[str, ResultsSent] = {}

    def put(self, model: str, result: Result) -> None:
        """Send one result, or count it as left out."""
        counts = self.counts.get(model, ResultsSent())
        counts = replace(counts, left_out=counts.left_out + result.left_out)
        payload = bytes(result.line)
        token = self._link.publish(topics.results(self.device, model), payload) if self._may_send() else None
        if token is None:
            self.counts[model] = replace(counts, left_out=counts.left_out + 1)
            return
        self._unacked.add(token)
        self.counts[model] = replace(counts, sent=counts.sent + 1, bytes_sent=counts.bytes_sent + len(payload))

    def acked(self, token: int) -> None:
        """The broker has taken a message, of whomever."""
        self._unacked.discard(token)

    def link_up(self) -> None:
        """A new connection: what the one before has not acknowledged is lost."""
        self._unacked.clear()

    def _may_send(self) -> bool:
        return self._link.connected and len(self._unacked) < MOST_UNACKED
