"""What a newer agent has left on the disk, with fields that this one does not know, this one goes on from."""

import hashlib
import json

from skerry_agent.state.disk import write_sealed
from tests.kit.messages import OPEN_MAPS
from tests.lab.agents import WAYS, Board, Running
from tests.lab.ledger import Ledger

LATER = {"x": [1, {"y": None}]}


def enriched(value, key=""):
    """With a field of later in every object; a map has names for keys, and no fields."""
    if isinstance(value, dict):
        more = {} if key in OPEN_MAPS else {"of_later": LATER}
        return {name: enriched(each, name) for name, each in value.items()} | more
    return [enriched(each) for each in value] if isinstance(value, list) else value


def sealed_records(state):
    """Every record below a folder: a checksum, and JSON."""
    for path in sorted(state.rglob("*")):
        if path.is_file():
            digest, _, body = path.read_bytes().partition(b"\n")
            if hashlib.sha256(body).hexdigest().encode() == digest and body.startswith(b"{"):
                yield path, json.loads(body)


def test_an_older_agent_that_comes_back_serves_from_the_newer_one_s_state(tmp_path):
    board = Board(tmp_path, WAYS[0])
    board.desire("9.1.0", "d1")
    board.play()
    assert board.current == "9.1.0"
    changed = []
    for path, record in sealed_records(board.state):
        if path.name != "ports.json":  # a plain map by model, in which every key is a name
            write_sealed(path, json.dumps(enriched(record)).encode())
            changed.append(path.name)
    assert {"journal.json", "desired.json", "record.json", "bundle.json", "order.json"} <= set(changed)
    older = Running(board.state, board.publisher, Ledger(), "")
    older.queue.settle(5.0)
    assert (older.serving, older.supervisor._issues()) == (True, ())
    older.go()
    assert older.serving
    assert older.supervisor.upgrades.report().outcome == "succeeded"
