"""A rollout told again from its journal: the same decisions, byte for byte."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys

import attrs
import pytest

from cli_session import documented, legion_says

import legion

from legion import planner
from legion.exceptions import JournalError, LegionError, PlanError, StateError
from legion.stages import Status
from legion.stages.evidence import visitors
from legion.testing import ManualClock


RULES = {
    "plan": "told",
    "candidate": "2.0.0",
    "baseline": "1.0.0",
    "unit": "user",
    "check_interval": "1m",
    "rollback": {"to": "v1", "within": "1m"},
    "criteria": {
        "error_rate": {"warning": "50%", "alert": "60%", "critical": "90%"},
        "safety_gate_bypasses": "off",
    },
    "triggers": {
        "within 1m": [
            {"metric": "error_rate", "versus": "baseline", "worse_by": "100%"},
            {"metric": "latency_p95", "versus": "baseline", "worse_by": "100%"},
        ]
    },
    "stages": [
        {
            "name": "dark",
            "traffic": "0%",
            "mirror": "100%",
            "dwell": "3m",
            "validate": [
                {"metric": "error_rate", "below": "20%"},
                {"rehearsal": "rollback", "within": "1m"},
            ],
        },
        {
            "name": "canary",
            "traffic": "50%",
            "dwell": "4m",
            "features": {"tone": {"enabled": True}, "wit": {"enabled": True}},
            "validate": [
                {"metric": "error_rate", "versus": "baseline", "margin": "100%"}
            ],
        },
        {
            "name": "everyone",
            "traffic": "100%",
            "dwell": "2m",
            "features": {"tone": {"enabled": True}, "wit": {"enabled": True}},
        },
    ],
}
FAST = {arm: [0.1 + i / 1e4 for i in range(400)] for arm in ("control", "candidate")}


@attrs.define
class Wheel:
    """A host on a real file, its traffic written into its telemetry by hand."""

    folder: object
    rules: dict = attrs.field(factory=lambda: RULES)
    policy: legion.Policy | None = None
    clock: ManualClock = attrs.field(factory=lambda: ManualClock(1e9))
    plugins: tuple = ()
    host: legion.Host = attrs.field(init=False)
    unit: int = 0

    def __attrs_post_init__(self):
        self.open()

    def open(self):
        self.host = legion.Host.open(
            legion.Plan.from_dict(self.rules),
            state=self.folder,
            clock=self.clock,
            plugins=legion.Plugins(*self.plugins),
            policy=self.policy,
        )

    def restart(self):
        self.host.close()
        self.open()

    def traffic(self, *, bad=0.05, n=400):
        """Serve *n* users of each arm there is, each once: (control, candidate) fail."""
        telemetry, exposure = self.host.telemetry, self.host.engine.exposure
        for arm in legion.Arm:
            share = exposure.share or exposure.mirror
            if arm is legion.Arm.CONTROL:
                share = 1 - exposure.share
            rate = bad if arm is legion.Arm.CANDIDATE else 0.05
            for i in range(round(n * share)):
                unit = self.unit + i + (n if arm is legion.Arm.CANDIDATE else 0)
                kept = {"exposure": exposure.digest}
                telemetry.begin(arm, unit, **kept)
                took_s = FAST[arm.value][149 * i % 400]  # However few, spread evenly.
                telemetry.latency(arm, unit, took_s, tools_s=0.0, **kept)
                telemetry.end(arm, unit, failed=i * rate % 1 < rate, **kept)
        self.unit += 2 * n

    def turn(self, **traffic):
        self.clock.advance(60)
        if self.host.engine.state.stage:
            self.traffic(**traffic)
        return self.host.tick().decision

    def climb(self, stage, *, turns=30, **traffic):
        for _ in range(turns):
            if self.host.engine.state.stage == stage:
                return self
            self.turn(**traffic)
        raise AssertionError(self.host.engine.state)

    def finish(self, *, turns=30, **traffic):
        for _ in range(turns):
            self.turn(**traffic)
            if self.host.engine.state.status.over:
                break
        self.host.close()
        return self.host.engine.state.status


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    assert Wheel(folder).finish() is Status.COMPLETE
    return folder


@pytest.fixture
def complete(finished, tmp_path):
    """A rollout that is complete, in a folder of the test's own."""
    return shutil.copytree(finished, tmp_path / "complete")


@pytest.fixture(scope="module")
def gone_back(tmp_path_factory):
    """A rollout that went back from the canary, to be told and left as it is."""
    folder = tmp_path_factory.mktemp("gone_back")
    wheel = Wheel(folder).climb("canary")
    assert wheel.finish(bad=0.4) is Status.ROLLED_BACK
    return folder


def same(folder, **keywords):
    """Tell the rollout again; every look has a decision, and it is the same one."""
    found = planner.replay(folder, **keywords)
    assert found.difference is None
    assert not found.taken
    return found


def decisions(folder):
    with legion.Journal(folder / "legion.db") as journal:
        return journal.records("decision")


def test_a_rollout_that_completes_comes_out_the_same(complete):
    """Every decision up to the last, the rehearsal's too, and every verdict."""
    found = same(complete)

    assert found.same == len(decisions(complete)) == found.looks + 1
    assert found.verdicts == found.looks * len(legion.Plugins().criteria) - (
        found.looks  # One is off.
    )
    assert not found.apart


def test_a_rollout_that_goes_back_comes_out_the_same(gone_back):
    """The decision to go back, with the evidence it rests on."""
    found = same(gone_back)

    assert decisions(gone_back)[-1].body["code"] == "trigger:error_rate"
    assert found.same == found.looks + 1


def test_restarts_change_no_decision(tmp_path):
    """What is read back from the state file decides as what was in memory would."""
    wheel = Wheel(tmp_path)
    for _ in range(10):
        wheel.turn()
        wheel.turn()
        wheel.restart()
    assert wheel.finish() is Status.COMPLETE
    found = same(tmp_path)

    assert found.same == found.looks + 1
    assert not found.apart


def test_visits_that_are_left_out_are_told_the_same_after_a_restart(
    tmp_path, monkeypatch
):
    """How many is part of what was learned, and not of the process that counts them."""
    monkeypatch.setattr(visitors, "MOST", 600)
    wheel = Wheel(tmp_path).climb("canary")
    for restart in (False, True, False):
        wheel.turn()
        if restart:
            wheel.restart()
    wheel.host.close()
    found = wheel.host.engine.state.findings

    assert any(one.evidence.get("visits_left_out") for one in found.values())
    assert same(tmp_path).same == len(decisions(tmp_path))


def test_what_people_do_is_followed_and_not_counted(tmp_path):
    """Pause, resume, a promotion, a feature switched off, and a rollback by hand."""
    wheel = Wheel(tmp_path).climb("canary")
    wheel.host.engine.pause("lunch")
    wheel.turn()
    wheel.host.engine.resume()
    wheel.host.engine.deactivate(["wit"], reason="not funny")
    for _ in range(3):
        wheel.turn()
    wheel.restart()
    wheel.traffic()
    assert wheel.host.promote().decision.to == "everyone"
    wheel.turn()
    wheel.host.engine.rollback("by order")
    assert wheel.turn().code == "rolled_back"
    wheel.host.close()
    found = same(tmp_path)

    assert found.same == found.looks + 1
    assert [(one.why, one.n) for one in found.apart] == [
        ("by hand, or to finish what was begun", 3)
    ]


def test_what_another_process_took_back_comes_out_the_same(tmp_path):
    """A decision lists its rules in one order, whoever wrote the state it rests on."""
    wheel = Wheel(tmp_path).climb("canary")
    before = wheel.turn()
    with Wheel(tmp_path).host as other:
        other.engine.rollback("by another process")
    told = wheel.turn()
    wheel.host.close()

    assert told.code == "rolled_back"
    assert [one.rule for one in told.findings] == [one.rule for one in before.findings]
    assert same(tmp_path).ok


def test_what_the_gate_did_not_allow_comes_out_the_same(tmp_path):
    """A question and its answer, hours later, are taken from the journal."""
    wheel = Wheel(tmp_path, policy=legion.Policy(strict=True))
    codes = []
    for _ in range(40):
        codes.append(wheel.turn().code)
        if codes[-3:] == ["asked"] * 3:
            ask = wheel.host.gate.asks()[0].id
            wheel.host.gate.answer(ask, approve=True, by="ops@example.org")
    wheel.host.close()
    found = same(tmp_path)

    assert codes.count("asked") == 6
    assert found.same == found.looks + 1
    assert not found.apart


class Timid:
    """A chooser that keeps to a stage below the canary once users are in it."""

    @legion.hookimpl
    def legion_choose_stage(self, plan, stage, report):
        return "dark" if report.stage == "canary" else None


def test_what_a_plugin_chose_is_followed_and_not_counted(tmp_path):
    """Nobody can tell what a plugin would have said: its choice is taken as it was."""
    wheel = Wheel(tmp_path, plugins=(Timid(),)).climb("canary")
    wheel.turn()
    assert wheel.host.engine.state.stage == "dark"
    wheel.turn()
    wheel.host.close()
    found = same(tmp_path)

    assert [(one.why, one.n) for one in found.apart] == [("chosen by a plugin", 1)]
    assert found.same == len(decisions(tmp_path)) - 1


def test_criteria_that_are_not_here_are_named(tmp_path):
    """A rollout judged by a criterion of one's own needs it; without, nothing counts."""

    @legion.criterion(unit="share", warning=0.1, critical=0.9)
    def rude(window):
        return window.share("error_rate")

    Wheel(tmp_path, plugins=(rude,)).finish()
    without = planner.replay(tmp_path)

    assert without.same == 1  # The rehearsal, which no criterion is asked about.
    assert without.apart[0].why == "criteria that are not here: rude"
    assert same(tmp_path, plugins=legion.Plugins(rude)).ok


KILLED = """
import os, signal, sys
sys.path.insert(0, "tests")
from pathlib import Path
from test_replay import Wheel
wheel = Wheel(Path(sys.argv[1])).climb("canary")
wheel.turn()
engine = wheel.host.engine
engine.commit = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
wheel.turn()
"""


def test_a_kill_between_learning_and_deciding_loses_neither(tmp_path):
    """The observation is in the journal exactly if the state has learned it."""
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False)
    assert done.returncode == -signal.SIGKILL
    wheel = Wheel(tmp_path, clock=ManualClock(1e9 + 3600), unit=10**6)
    assert wheel.host.engine.state.turn == 2
    wheel.finish()
    found = same(tmp_path)

    assert found.same == found.looks  # The rehearsal, and one look without an end.
    assert [(one.why, one.n) for one in found.apart] == [
        ("a look on which nothing was decided any more", 1)
    ]


def test_a_tampered_journal_is_refused(complete):
    """One changed byte of one observation, and nothing is told at all."""
    with sqlite3.connect(complete / "legion.db") as connection:
        connection.execute(
            "UPDATE journal_entry SET data = replace(data, '400', '401')"
            " WHERE kind = 'observation' AND seq = (SELECT max(seq) FROM journal_entry"
            " WHERE kind = 'observation')"
        )

    with pytest.raises(JournalError, match="not the ones that were hashed"):
        planner.replay(complete)
    assert legion_says("replay", "--state", complete).code == 3


def test_a_decision_that_does_not_come_out_is_shown(tmp_path):
    """A journal that is sound but holds another decision: the fields that differ."""
    wheel = Wheel(tmp_path)
    wheel.climb("canary")
    report = wheel.host.tick().report
    decision = wheel.host.engine.decide(report)
    wheel.host.journal.append(attrs.evolve(decision, reason="because"), durable=False)
    wheel.host.close()
    with legion.Journal(tmp_path / "legion.db") as journal:
        *_, true, false = journal.records("decision")
        assert true.body["report"] == false.body["report"]

    # The first decision on the look is the one that was compared.
    found = planner.replay(tmp_path)
    assert found.difference is None
    assert [one.n for one in found.apart] == [1]


def test_other_code_that_decides_otherwise_is_found(complete, monkeypatch):
    """Where legion itself decides otherwise than it did, the first difference is told."""
    from legion.stages import decide

    monkeypatch.setattr(decide, "_hours", lambda seconds: f"{seconds:g} seconds")
    said = legion_says("replay", "--state", complete)

    assert said.code == 1
    assert "reason: recorded 'observed 2 min of 3 min in dark" in said.out
    assert "replayed 'observed 120 seconds of 180 seconds in dark" in said.out


def otherwise(folder, **changes):
    found = planner.replay(folder, changes=changes)
    assert found.ok
    return found.otherwise


def test_a_shorter_dwell_goes_on_earlier(complete):
    """Entered at minute 1, the dark stage is proven: after 2 minutes instead of 3."""
    other = otherwise(complete, **{"stages.dark.dwell": "2m"})

    assert (other.end, other.stage, other.at_s) == ("advance", "dark", 1e9 + 180)
    assert [(one.recorded, one.other) for one in other.partings] == [
        ("hold (dwell)", "advance (advance)")
    ]


def test_a_longer_dwell_stays(complete):
    """Users went on after 3 minutes; from there nothing is known of who stays."""
    other = otherwise(complete, **{"stages.dark.dwell": "1h"})

    assert (other.end, other.stage, other.at_s) == ("stay", "dark", 1e9 + 240)


def test_a_person_who_promotes_skips_the_time_of_the_other_plan_too(tmp_path):
    """Its evidence is asked for, and its dwell is not."""
    wheel = Wheel(tmp_path).climb("canary")
    for _ in range(3):
        wheel.turn()
    wheel.traffic()
    assert wheel.host.promote().decision.to == "everyone"
    wheel.finish()
    other = otherwise(tmp_path, **{"stages.canary.dwell": "1h"})

    assert (other.end, other.stage, other.partings) == ("recorded", "everyone", ())


@pytest.mark.parametrize("chosen", ["dark", ""])
def test_what_a_plugin_chose_parts_no_plans(tmp_path, chosen):
    """It would have chosen so under either; both go on from there, or end with it."""

    class Choice(Timid):
        @legion.hookimpl
        def legion_choose_stage(self, plan, stage, report):
            return chosen if report.stage == "canary" else None

    wheel = Wheel(tmp_path, plugins=(Choice(),)).climb("canary")
    for _ in range(3):
        wheel.turn()
    wheel.host.close()
    other = otherwise(tmp_path, false_rollback="2%")

    assert not other.partings
    assert other.end == "recorded"
    assert other.stage == (chosen or "canary")
    assert ("was taken back" in other.reason) is (chosen == "")


def test_a_plan_that_risks_more_goes_back_earlier(tmp_path):
    """By hand: it goes back at the first look whose recorded E reaches its 1 / alpha."""
    rules = {**RULES, "false_rollback": "0.01%"}
    wheel = Wheel(tmp_path, rules=rules).climb("canary")
    assert wheel.finish(bad=0.2) is Status.ROLLED_BACK
    parts = len(wheel.host.engine.state.weights)
    looks = [one.body for one in decisions(tmp_path) if one.body["stage"] == "canary"]
    e = {
        look["at_s"]: finding["bad"] / parts
        for look in looks
        for finding in look["findings"]
        if finding["evidence"]["path"].startswith("trigger: error_rate")
    }
    other = otherwise(tmp_path, false_rollback="9%")

    # The other parts are within 0 and 1 each: none of them has seen any harm.
    assert other.end == "roll_back"
    assert e[other.at_s - 60] < 1 / 0.09 <= e[other.at_s] + (parts - 1) / parts
    assert e[other.at_s] < 10_000 <= e[looks[-1]["at_s"]] + 1


def test_a_plan_without_the_trigger_does_not_go_back(gone_back):
    """The rollout went back; a plan that does not ask had not, and no more is known."""
    other = otherwise(gone_back, without="error_rate")

    assert other.end == "recorded"
    assert other.reason.startswith("the rollout went back, and this plan had not")


def test_other_traffic_ends_where_users_would_have_seen_something_else(complete):
    """Ten per cent were never exposed: the recording says nothing of them."""
    other = otherwise(complete, **{"stages.canary.traffic": "10%"})

    assert (other.end, other.looks) == ("advance", 4)
    assert "exposes something else" in other.reason


def test_other_limits_judge_anew(tmp_path):
    """Limits of a criterion change its verdicts, which are made again."""
    Wheel(tmp_path).climb("canary").finish(bad=0.07)
    stricter = {"criteria.error_rate.warning": "1%", "criteria.error_rate.alert": "2%"}
    other = otherwise(tmp_path, **stricter)

    assert other.partings[0].other.startswith("hold (alert")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"matures": "1h"}, "what was observed depends on it"),
        ({"slices": ["tenant"]}, "not told apart by tenant"),
        ({"check_interval": "5m"}, "would have been seen at other"),
        ({"stages.cannary.dwell": "1h"}, "write one of dark, canary, everyone"),
        ({"without": "eror_rate"}, "eror_rate"),
    ],
)
def test_what_cannot_be_otherwise_is_refused(tmp_path, changes, said):
    """What was recorded depends on it, or it is no key: one sentence says so."""
    Wheel(tmp_path).host.close()
    with pytest.raises(LegionError, match=said):
        planner.replay(tmp_path, changes=changes)


def test_a_plan_with_faults_is_refused(tmp_path):
    """The other plan is read as any plan is."""
    Wheel(tmp_path).host.close()
    with pytest.raises(PlanError, match="false_rollback"):
        planner.replay(tmp_path, changes={"false_rollback": "200%"})


def test_a_directory_without_a_state_is_refused(tmp_path):
    """There is nothing to tell."""
    with pytest.raises(StateError, match="no such state"):
        planner.replay(tmp_path)


def test_the_command_says_what_came_out(complete):
    """Lines for people, a document for programs, and nothing is written."""
    before = {p: p.read_bytes() for p in complete.rglob("*") if p.is_file()}
    said = legion_says("replay", "--state", complete, "--with", "false_rollback=5%")
    document = legion_says("replay", "--state", complete, "--json").document

    assert said.code == 0
    assert "decisions, all the same" in said.out
    assert "With the other plan" in said.out
    assert set(document) == documented("replay")
    assert document["ok"] is True
    assert {p: p.read_bytes() for p in complete.rglob("*") if p.is_file()} == before
