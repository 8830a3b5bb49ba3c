"""What a device reports is in its log, and what is in its log has ids: deployments, issues, runners, local orders."""

import itertools
import shlex
import sys
import threading

import pytest

from skerry_agent.cli.run import _log_start
from skerry_agent.cli.standalone import recorded_status
from skerry_agent.config import AgentConfig, BoardSection, BrokerSection, DeviceSection
from skerry_agent.deployment.children import RealProcesses
from skerry_agent.ports.jobs import VerifyMessage
from skerry_agent.ports.runner_protocol import Job
from skerry_agent.supervisor.local import RollbackRequest
from skerry_agent.wire import envelope
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.manifest import Bundle
from skerry_agent.wire.twin import Assignment
from tests.kit.site import Site
from tests.kit.unit import Device, order


@pytest.fixture
def lines(caplog):
    """The records so far, each as (sentence, fields)."""
    caplog.set_level("DEBUG", logger="skerry-agent")
    return lambda: [(record.getMessage(), record.fields) for record in caplog.records if hasattr(record, "fields")]


def moves(lines):
    return [fields["state"] for _, fields in lines() if "->" in fields.get("state", "")]


def test_a_deployment_from_order_to_commit_is_a_line_for_each_state_with_its_ids(tmp_path, lines):
    Device(tmp_path).install("1.0.0", 1)
    states = ["idle", "fetching", "verifying", "staged", "probation", "committed", "idle"]
    assert moves(lines) == [f"{a}->{b}" for a, b in itertools.pairwise(states)]
    steps = [fields for _, fields in lines() if "->" in fields.get("state", "")]
    assert all((f["model"], f["release"], f["deployment"]) == ("m", "m@1.0.0", "d1") for f in steps)
    assert [f["outcome"] for f in steps if f.get("outcome")] == ["succeeded"]


def test_a_rollback_says_why_and_to_what(tmp_path, lines):
    device = Device(tmp_path)
    device.install("1.0.0", 1)
    device.unit.order(order("1.1.0", 2))
    device.pump()
    device.processes.runners[-1].validate()
    device.processes.runners[-1].follow()
    device.processes.runners[-1].listener.exited("crashed", "killed by SIGSEGV: boom")
    (fields,) = (fields for _, fields in lines() if fields.get("outcome") == "rolled_back")
    assert (fields["deployment"], fields["reason"], fields["detail"]) == ("d2", "crashed", "killed by SIGSEGV: boom")
    assert (fields["release"], fields["current"]) == ("m@1.1.0", "m@1.0.0")
    assert fields["state"] == "probation->rolling_back"


def test_every_record_of_the_journal_has_its_line(tmp_path, lines):
    """Whatever happens to a model: a change that is written down is told."""
    device = Device(tmp_path)
    written = []
    write = device.journal.write
    device.journal.write = lambda record: (written.append(record), write(record))  # to see what is written
    device.install("1.0.0", 1)
    device.unit.order(order("1.1.0", 2))
    device.unit.withdraw()
    device.install("1.2.0", 3)
    device.processes.runners[-1].listener.exited("crashed", "exit status 1")
    told = [fields for _, fields in lines() if "state" in fields and "model" in fields]
    assert len(told) == len(written)
    assert [fields["state"].split("->")[-1] for fields in told] == [record.state for record in written]


def test_every_issue_that_is_reported_has_a_line_when_it_comes_and_when_it_is_over(tmp_path, lines):
    site = Site(tmp_path)
    site.want(1)
    site.clock.advance(1.0)
    issues = site.agent.status().issues
    assert issues
    told = [sentence for sentence, _ in lines()]
    assert {f"issue: {issue}" for issue in issues} <= set(told)
    assert len(told) == len(set(told))
    site.agent._keys.issue = None  # as when trust.json is there again
    site.agent._changed()
    site.clock.advance(1.0)
    assert [sentence for sentence, _ in lines()][-1] == f"issue is over: {issues[0]}"


def test_an_accepted_order_names_generation_and_deployments_and_so_does_what_follows(tmp_path, lines):
    site = Site(tmp_path)
    site.want(7, Assignment("m", "m@1.0.0", "cpu", describe(b"manifest"), "d-7"))
    (accepted,) = (fields for sentence, fields in lines() if sentence == "a desired state was accepted")
    assert accepted == {"generation": 7, "deployments": "d-7"}
    (begun,) = (fields for _, fields in lines() if fields.get("state") == "idle->fetching")
    assert (begun["generation"], begun["deployment"]) == (7, "d-7")


def test_a_local_order_is_in_the_log(tmp_path, lines):
    site = Site(tmp_path)
    site.agent.local(RollbackRequest("nothing"))
    assert [fields["ok"] for sentence, fields in lines() if sentence.startswith("rollback, ordered")] == [False]


def test_the_first_line_names_the_broker_without_its_password(lines):
    url = "mqtts://ann:hunter2-secret@broker.example:8884"
    _log_start(AgentConfig(DeviceSection("dev-1"), BrokerSection(url), BoardSection("test")), "boot")
    ((sentence, fields),) = lines()
    assert fields["broker"] == "mqtts://broker.example:8884"
    assert "hunter2" not in f"{sentence}{fields}"


def test_a_folder_on_the_disk_that_is_no_name_of_a_model_is_no_model(tmp_path):
    """Its name would reach the host's terminals."""
    (tmp_path / "state" / "models" / "\x1b[2J").mkdir(parents=True)
    (tmp_path / "state" / "models" / "\x1b[2J" / "journal.json").write_bytes(b"x")
    site = Site(tmp_path)
    assert site.agent.status().models == recorded_status(site.agent.config).models == {}


class Listener:
    def __init__(self):
        self.ended, self.how = threading.Event(), ("", "")

    def received(self, message):
        """Nothing matters but the end."""

    def exited(self, reason, detail):
        self.how = (reason, detail)
        self.ended.set()


def stand_in(folder, script):
    """An interpreter that does something else: what a broken runtime may do."""
    program = folder / "python3"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program)


@pytest.fixture
def interpreter(tmp_path, monkeypatch):
    return lambda script: monkeypatch.setattr(sys, "executable", stand_in(tmp_path, script))


HOSTILE = "\033[2J\033]0;title\007 it ends\u202e here"


def test_what_a_crashing_runner_said_is_in_the_log_and_clean(tmp_path, interpreter, lines):
    interpreter(f"printf '%s\\n' one two {shlex.quote(HOSTILE)} >&2; exit 9")
    listener, processes = Listener(), RealProcesses(lambda call: call(), tmp_path / "trust.json", tmp_path)
    processes.start_runner(Job("m", "m@1.0.0", "/nowhere", Bundle("cpu", (), (), ()), "litert"), listener)
    assert listener.ended.wait(10)
    reason, detail = listener.how
    assert (reason, detail.startswith("exit status 9: ")) == ("crashed", True)
    assert detail.isprintable()
    told = lines()
    assert [s for s, _ in told][:2] == ["m: the runner says: one", "m: the runner says: two"]
    last = next(fields["last"] for _, fields in told if "last" in fields)
    assert last.startswith("one | two | ")
    assert all(sentence.isprintable() for sentence, _ in told)


def test_what_an_updater_says_is_clean_and_no_traceback(tmp_path, interpreter, lines, capfd):
    answer = '{"type":"refusal","kind":"failed","reason":"disk","detail":"of \\u001b[2J a stick"}'
    interpreter(f"printf '%s\\n' {shlex.quote(HOSTILE)} >&2; cat >/dev/null; echo {shlex.quote(answer)}")
    answers, done = [], threading.Event()
    processes = RealProcesses(lambda call: call(), tmp_path / "trust.json", tmp_path)
    processes.run_updater(VerifyMessage(b"", envelope.DESIRED, "director"), lambda a: answers.append(a) or done.set())
    assert done.wait(10)
    assert answers[0].detail == "of \\x1b[2J a stick"
    assert capfd.readouterr() == ("", "")
    assert all(sentence.isprintable() for sentence, _ in lines())
