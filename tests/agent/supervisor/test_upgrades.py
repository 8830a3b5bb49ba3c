"""Orders for the agent itself, between fakes: each ends once, is written down, and is not begun again."""

import pytest

from skerry_agent.launch import files
from skerry_agent.launch.table import Agent, Ended, Ordered, Record, Started, Trial
from skerry_agent.machine.records import State
from skerry_agent.machine.settings import OnTrial, Overlay, SettingsRecord
from skerry_agent.ports.jobs import AgentReady, InstallAgent, PlanAgent, Planned, Refusal
from skerry_agent.state.runtimes import PLACE
from skerry_agent.supervisor.agent_trial import LOOK_S, OVERDUE_S, STEADY_S, TELL_S
from skerry_agent.supervisor.agent_upgrade import MOST_INSTALLS, REST_POLL_S, SETTLED_S, SKIP_POLL_S
from skerry_agent.wire import codec, envelope, topics
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.policies import TransferPolicy
from skerry_agent.wire.twin import Desired, Reported
from skerry_agent.wire.upgrades import AgentOrder
from tests.kit.site import DESIRED, Site, signed

MANIFEST = b"a signed manifest"
FOLDER = f"{describe(MANIFEST).sha256[:16]}-{PLACE.tag}"
READY = AgentReady(FOLDER, "9.1.0")
TRIAL = Trial(Agent(FOLDER, "agent@9.1.0", "9.1.0"), "d1", 60.0, linked=True)


class Upgraded(Site):
    """A site whose agent may be upgraded, and whose updater answers as it is told."""

    def __init__(self, folder, own="", record=None, install=READY):
        (folder / "state").mkdir(parents=True, exist_ok=True)
        if record is not None:
            files.write(files.folder_of(folder / "state"), record)
        self.ended, self.jobs, self.install = [], [], install
        self.agents = files.folder_of(folder / "state")
        super().__init__(folder)
        self.upgrades = self.agent.upgrades
        self.upgrades.own, self.upgrades.enabled = own, lambda: self.ended.append(True)
        self.upgrades.start()
        self.link.retained[topics.chunk(describe(MANIFEST).sha256, 0)] = MANIFEST
        if self.agent.desired is not None:
            self.upgrades.order(self.agent.desired.agent)

    def answer(self, job):
        match job:
            case PlanAgent():
                return Planned("full", ())
            case InstallAgent():
                self.jobs.append(job)
                return self.install() if callable(self.install) else self.install
        return super().answer(job)

    def order(self, generation=1, deployment="d1", **more):
        order = AgentOrder("agent@9.1.0", describe(MANIFEST), deployment, 60.0, **more)
        self.want_agent(generation, order)

    def want_agent(self, generation, order):
        desired = Desired("dev-1", generation, 1.0, agent=order)
        self.agent.message(DESIRED, signed(envelope.DESIRED, desired))
        self.clock.advance(0.1)
        self.link.pump(self.agent.message)
        self.clock.advance(0.1)

    @property
    def record(self):
        return files.read(self.agents)[0]

    @property
    def reported(self):
        self.clock.advance(0.1)
        found = [payload for topic, payload in self.link.published if topic == topics.reported("dev-1")]
        return codec.decode(found[-1], Reported).upgrade

    def outcome(self):
        ended = self.record.ended
        return (ended.outcome, ended.reason) if ended else None


@pytest.fixture
def site(tmp_path):
    return Upgraded(tmp_path / "device")


def test_an_agent_that_is_ready_is_switched_to_and_this_one_ends(site):
    site.order()
    assert (site.record.trial, site.ended) == (TRIAL, [True])
    assert site.record.current == Agent()


def test_without_a_resident_supervisor_nothing_is_begun(site):
    """Such as that of `skerry-agent install`, which ends by itself."""
    site.upgrades.enabled = None
    site.order()
    assert (site.jobs, site.record) == ([], Record())


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Refusal("rejected", "bad_signature", "x"), ("rejected", "bad_signature")),
        (Refusal("failed", "agent_crashed", "SIGILL at import"), ("failed", "agent_crashed")),
    ],
)
def test_what_the_updater_refuses_is_written_down_and_not_begun_again(site, tmp_path, answer, outcome):
    site.install = answer
    site.order()
    assert (site.outcome(), site.ended) == (outcome, [])
    assert (site.reported.outcome, site.reported.reason, site.reported.deployment) == (*outcome, "d1")
    assert [issue for issue in site.agent.status().issues if issue.startswith(f"{outcome[1]}: agent: agent@9.1.0")]
    again = Upgraded(tmp_path / "device")
    again.order(2)
    assert again.jobs == []
    again.order(3, "d2")
    assert len(again.jobs) == 1
    assert not [issue for issue in again.agent.status().issues if "agent@" in issue]


def test_an_updater_that_is_ended_is_started_again_and_not_for_ever(site):
    site.install = Refusal("crashed", "updater_died", "killed by SIGKILL")
    site.order()
    site.clock.advance(60.0)
    assert (len(site.jobs), site.outcome()) == (MOST_INSTALLS, ("failed", "agent_install"))


def test_an_installation_that_takes_the_board_down_is_not_tried_at_every_start(site, tmp_path):
    """A weak supply: the count is on the disk before the work is begun."""

    def cut():
        raise KeyboardInterrupt

    cuts = 0
    for _start in range(MOST_INSTALLS + 2):
        try:
            board = Upgraded(tmp_path / "device", install=cut)
            board.order()
            board.link.pump(board.agent.message)
        except KeyboardInterrupt:
            cuts += 1
    assert (cuts, board.outcome()) == (MOST_INSTALLS, ("failed", "agent_install"))


def test_a_withdrawn_order_is_given_up_at_once(site):
    del site.link.retained[topics.chunk(describe(MANIFEST).sha256, 0)]
    site.order()
    assert site.reported.state == "fetching"
    site.want_agent(2, None)
    assert (site.reported, site.record.ended) == (None, None)
    assert not [topic for topic in site.link.subscribed if "/blob/" in topic]


def test_an_order_that_takes_too_long_has_timed_out(site):
    del site.link.retained[topics.chunk(describe(MANIFEST).sha256, 0)]
    site.order(policy=TransferPolicy(deadline_s=30.0))
    site.clock.advance(31.0)
    assert site.outcome() == ("timed_out", "deadline")


def test_nothing_is_switched_while_a_model_is_on_trial(site):
    site.agent._unit("m").record = site.agent._unit("m").record.__class__(State.PROBATION)
    site.order()
    assert (site.ended, site.reported.state) == ([], "waiting")
    site.agent._unit("m").record = site.agent._unit("m").record.__class__(State.IDLE)
    site.clock.advance(2 * REST_POLL_S)
    assert site.ended == [True]


def test_nothing_is_switched_while_settings_are_on_trial(site):
    class Keeper:
        record = SettingsRecord(trial=OnTrial(Overlay("s1"), 60.0))
        issue = None

        def __getattr__(self, _name):
            return lambda *_: None

    site.agent.settings = Keeper()
    site.order()
    assert site.ended == []
    Keeper.record = SettingsRecord()
    site.clock.advance(2 * REST_POLL_S)
    assert site.ended == [True]


def test_nothing_is_switched_while_a_connection_that_there_was_is_away(site):
    """The new agent would be blamed for a broker that is being restarted."""
    site.agent.link_up()
    site.install = lambda: (setattr(site.link, "connected", False), READY)[1]
    site.order()
    site.clock.advance(10.0)
    assert (site.ended, site.record.trial) == ([], None)
    site.link.connected = True
    site.clock.advance(2 * REST_POLL_S)
    assert (site.ended, site.record.trial.linked) == ([True], True)


def test_what_cannot_be_written_down_is_not_switched_to(site):
    site.agents.mkdir()
    (site.agents / ".record.json.tmp").mkdir()  # root may write anywhere; this stops it
    site.order()
    site.clock.advance(5.0)
    assert (site.ended, site.record.trial) == ([], None)
    assert any("cannot be written down" in issue for issue in site.agent.status().issues)
    (site.agents / ".record.json.tmp").rmdir()
    site.clock.advance(5.0)
    assert site.ended == [True]


def test_the_agent_that_runs_is_not_installed_again(tmp_path):
    site = Upgraded(tmp_path / "device", FOLDER, Record(1, TRIAL.agent))
    site.order()
    assert (site.jobs, site.outcome()) == ([], ("succeeded", ""))
    assert site.reported.runs == "agent@9.1.0"


# -- the trial ---------------------------------------------------------------------------------------------------------


def on_trial(tmp_path, **changes):
    site = Upgraded(tmp_path / "device", FOLDER, Record(1, trial=TRIAL._replace(**changes)))
    site.agent.link_up()
    site.clock.advance(0.2)
    return site


def acknowledged(site):
    site.agent._changed()
    site.clock.advance(0.1)
    site.agent.acked(site.upgrades.work._trial._sent[-1])


def test_an_agent_that_has_all_that_the_one_before_had_commits(tmp_path):
    site = on_trial(tmp_path)
    acknowledged(site)
    site.clock.advance(STEADY_S + 3 * LOOK_S)
    assert (site.record.current.version, site.record.trial, site.outcome()) == ("9.1.0", None, ("succeeded", ""))
    assert site.reported.outcome == "succeeded"


def test_it_does_not_commit_before_the_broker_has_taken_a_report(tmp_path):
    site = on_trial(tmp_path)
    site.clock.advance(30.0)
    assert site.record.trial.waiting == "the broker has not taken a report"
    assert site.reported.state == "trial"


def test_one_that_nobody_watches_any_more_gives_up_by_itself_after_its_deadline(tmp_path):
    """The watcher may have been killed: an agent without a link would stay for good, and nobody could reach it."""
    site = on_trial(tmp_path)
    site.clock.advance(TRIAL.deadline_s + OVERDUE_S - 2 * LOOK_S)
    assert site.ended == []
    site.clock.advance(4 * LOOK_S)
    assert (site.ended, site.outcome()) == ([True], ("rolled_back", "agent_not_healthy"))
    assert "the broker has not taken a report" in site.record.ended.detail
    assert site.record.current == Agent()


def test_an_order_that_came_while_a_trial_could_not_be_given_up_is_begun_then(tmp_path):
    """A disk that was full as the candidate was to start: the agent before it runs, and takes the next order later."""
    state = tmp_path / "device" / "state"
    state.mkdir(parents=True)
    files.write(files.folder_of(state), Record(1, trial=TRIAL))
    (files.folder_of(state) / ".record.json.tmp").mkdir()  # root may write anywhere; this stops it
    site = Upgraded(tmp_path / "device")
    site.order(2, "d2")
    assert (site.jobs, site.record.trial) == ([], TRIAL)
    (site.agents / ".record.json.tmp").rmdir()
    site.clock.advance(SKIP_POLL_S + 1.0)
    site.link.pump(site.agent.message)
    site.clock.advance(1.0)
    assert (len(site.jobs), site.record.trial.deployment, site.ended) == (1, "d2", [True])


def test_a_slow_link_confirms_a_report_when_others_are_on_their_way(tmp_path):
    site = on_trial(tmp_path)
    site.agent._changed()
    site.clock.advance(0.1)
    first = site.upgrades.work._trial._sent[-1]
    site.clock.advance(5.0)  # a report each second
    assert site.upgrades.work._trial._sent[-1] > first
    site.agent.acked(first)
    site.clock.advance(STEADY_S + 3 * LOOK_S)
    assert site.outcome() == ("succeeded", "")


def test_it_does_not_commit_without_the_connection_that_there_was(tmp_path):
    site = on_trial(tmp_path)
    acknowledged(site)
    site.link.connected, site.link.why_offline = False, "nothing accepts connections"
    site.clock.advance(30.0)
    assert site.record.trial.waiting == "no connection to the broker: nothing accepts connections"


def test_where_there_was_no_connection_none_is_needed(tmp_path):
    site = Upgraded(tmp_path / "device", FOLDER, Record(1, trial=TRIAL._replace(linked=False)))
    site.link.connected = False
    site.clock.advance(STEADY_S + 3 * LOOK_S)
    assert site.outcome() == ("succeeded", "")


def test_it_does_not_commit_while_a_model_that_served_does_not_serve(tmp_path):
    site = on_trial(tmp_path, serving=("m",))
    site.agent._unit("m")
    acknowledged(site)
    site.clock.advance(30.0)
    assert site.record.trial.waiting == "m is not served"


def test_a_model_that_was_taken_off_meanwhile_is_not_waited_for(tmp_path):
    site = on_trial(tmp_path, serving=("gone",))
    acknowledged(site)
    site.clock.advance(STEADY_S + 3 * LOOK_S)
    assert site.outcome() == ("succeeded", "")


def test_what_it_waits_for_does_not_wear_out_the_disk(tmp_path):
    site = on_trial(tmp_path)
    before = site.record.sequence
    for turn in range(60):
        site.link.connected = bool(turn % 2)
        site.clock.advance(1.0)
    assert site.record.sequence - before <= 60.0 / TELL_S + 1


def test_a_commit_that_the_disk_refuses_is_tried_again(tmp_path):
    site = on_trial(tmp_path, linked=False)
    blocked = site.agents / ".record.json.tmp"
    blocked.mkdir()
    site.clock.advance(20.0)
    assert site.record.trial is not None
    blocked.rmdir()
    site.clock.advance(3.0)
    assert site.outcome() == ("succeeded", "")


@pytest.mark.parametrize("wanted", [None, AgentOrder("agent@9.2.0", describe(b"another"), "d2", 60.0)])
def test_an_agent_on_trial_that_is_wanted_no_more_gives_way_at_once(tmp_path, wanted):
    """An aborted rollout leaves the devices what they had."""
    site = on_trial(tmp_path)
    site.want_agent(1, AgentOrder("agent@9.1.0", describe(MANIFEST), "d1", 60.0))
    assert site.ended == []
    site.want_agent(2, wanted)
    assert (site.ended, site.outcome(), site.record.current) == ([True], ("cancelled", "withdrawn"), Agent())


def test_another_agent_than_the_candidate_gives_its_trial_up(tmp_path):
    """Its start could not be counted, or a person runs this one by hand."""
    site = Upgraded(tmp_path / "device", "", Record(1, trial=TRIAL))
    assert site.outcome() == ("rolled_back", "agent_not_started")


def test_a_committed_agent_that_stays_up_counts_its_starts_anew(tmp_path):
    site = Upgraded(tmp_path / "device", FOLDER, Record(1, TRIAL.agent, starts=4))
    site.clock.advance(SETTLED_S + 1.0)
    assert site.record.starts == 0


def test_only_the_agents_that_are_named_are_kept(tmp_path):
    agents = files.folder_of(tmp_path / "device" / "state")
    for name in (FOLDER, "before", "older", ".half-made.tmp"):
        (agents / name / "skerry_agent").mkdir(parents=True)
    site = Upgraded(tmp_path / "device", FOLDER, Record(1, TRIAL.agent, Agent("before"), ended=Ended("d1")))
    site.clock.advance(1.0)
    assert sorted(path.name for path in agents.iterdir() if path.is_dir()) == sorted([FOLDER, "before"])


def test_a_damaged_record_removes_nothing(tmp_path):
    agents = files.folder_of(tmp_path / "device" / "state")
    (agents / "old" / "skerry_agent").mkdir(parents=True)
    for name in files.COPIES:
        (agents / name).write_bytes(b"damaged")
    site = Upgraded(tmp_path / "device")
    site.clock.advance(1.0)
    assert (agents / "old").exists()
    assert any("is not used" in issue for issue in site.agent.status().issues)


def test_the_launcher_and_the_supervisor_read_the_same_record(site):
    site.order()
    step = files.change(site.agents, Started(frozenset({FOLDER})))
    assert step.run == TRIAL.agent
    with pytest.raises(Exception, match="Ordered while trial"):
        files.change(site.agents, Ordered(TRIAL))
