"""What supervisor and runner say to each other is pinned: either may be of a release that was installed since.

A supervisor starts runners from the files of its package, which an upgrade replaces while it runs on.
"""

from pathlib import Path

from skerry_agent.ports.runner_protocol import FromRunner, ToRunner
from skerry_agent.wire import codec

LINES = (Path(__file__).parent / "golden" / "runner_protocol.v1.jsonl").read_bytes().splitlines()
FROM_RUNNER = {"loaded", "proved", "refused", "accepting", "drained", "beat", "result"}


def kind(line):
    return FromRunner if codec.decode(line, dict)["type"] in FROM_RUNNER else ToRunner


def test_every_message_is_pinned():
    assert {codec.decode(line, dict)["type"] for line in LINES} == FROM_RUNNER | {"accept", "drain", "stop"}


def test_the_messages_of_an_earlier_release_keep_their_bytes():
    assert [codec.encode(codec.decode(line, kind(line))) for line in LINES] == LINES
