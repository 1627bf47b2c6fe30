"""What the ladder decides: when it waits, when it freezes, and what a person may skip."""

from __future__ import annotations

import attrs
import pytest

from stages_rig import RULES, Router, allow, plan, rig, with_stage

import legion

from legion.model import Move, Report
from legion.stages import Status
from legion.stages.evidence import BothEvidence, LimitEvidence


SUSPECT = 27
"""Bad units of 1000 against control's 10: suspicious, and no proof."""


class Chooser:
    """A plugin that asks for one stage."""

    def __init__(self, wanted):
        self.wanted = wanted

    @legion.hookimpl
    def legion_choose_stage(self, stage):
        return self.wanted


def test_deciding_changes_nothing_and_reads_no_clock():
    """The same report and state give the same decision, at any time."""
    one = rig().climb("canary")
    report = one.look()
    before = one.state
    first = one.engine.decide(report)
    one.clock.advance(1e6)

    assert one.engine.decide(report) == first
    assert one.state is before


def test_a_stage_lasts_as_long_as_the_plan_says():
    """Two of three minutes hold for the dwell, the third one advances."""
    stages = with_stage("canary", success={"unbroken_for": "1s"})
    one = rig(rules=plan(stages=stages)).climb("canary")

    assert [one.turn().code for _ in range(3)] == ["dwell", "dwell", "advance"]


def test_downtime_is_no_dwell():
    """A gap counts for two checks at most: nobody has observed the rest."""
    one = rig().climb("canary")
    one.look()
    before_s = one.state.observed_s
    decision = one.decide(seconds=86_400.0)

    assert one.state.observed_s == before_s + 120.0
    assert decision.move is not Move.ADVANCE or before_s == 60.0


def test_a_day_of_downtime_alone_does_not_pass_a_stage():
    """A stage of a day is not over after one look a day later."""
    one = rig(rules=plan(stages=with_stage("canary", dwell="1d"))).climb("canary")
    decision = one.decide(seconds=2 * 86_400.0)

    assert decision.code == "dwell"


def test_time_does_not_count_twice_where_two_processes_look():
    """An older look that is learned after a newer one does not turn time back."""
    one = rig().climb("canary")
    late = one.seen(seconds=20.0)
    newer = one.seen(seconds=40.0)
    began_s = one.state.observed_s
    for observation in (newer, late):
        one.engine.learn(observation, one.watchdog.judge(observation))
    one.look(seconds=60.0)

    assert one.state.observed_s - began_s == 120.0


def test_unbroken_time_begins_again_after_evidence_of_harm():
    """Long enough in the stage is not enough: the last stretch must be clean."""
    stages = with_stage("canary", dwell="5m", success={"unbroken_for": "4m"})
    one = rig(rules=plan(stages=stages)).climb("canary")
    one.turn()
    one.turn(bad=SUSPECT, control=(10, 1000))
    assert one.state.unbroken_s == 0.0
    codes = [one.turn(control=(10, 1000)).code for _ in range(3)]

    assert codes == ["dwell"] * 3
    assert one.state.observed_s == 300.0
    assert one.turn(control=(10, 1000)).code == "advance"


def test_evidence_of_harm_freezes_and_thaws_as_it_goes():
    """A combined e-value of 10 stops the ladder; clean units let it go on."""
    one = rig(rules=plan(stages=with_stage("canary", dwell="9m"))).climb("canary")
    frozen = one.turn(bad=SUSPECT, control=(10, 1000))

    assert (frozen.move, frozen.code) == (Move.FREEZE, "evidence:error_rate")
    assert "frozen from 10 and taken back from 100" in frozen.reason
    assert 10 <= one.engine.budget.e < 100
    assert one.state.status is Status.FROZEN
    one.turn(control=(10, 1000))
    assert one.state.status is Status.RUNNING


def test_one_noisy_alert_holds_at_the_door_and_stops_no_clock():
    """An outage of both arms is no evidence of harm; nobody advances in it either."""
    one = rig().climb("canary")
    one.turn()
    one.turn()
    decision = one.decide(bad=70, control=(70, 1000))

    assert (decision.move, decision.code) == (Move.HOLD, "alert")
    assert one.state.unbroken_s > 0
    assert one.engine.budget.e < 10


def test_a_trigger_takes_back_with_its_deadline():
    """Half as many failures again as control has, with the plan's time for it."""
    one = rig().climb("canary")
    decision = one.turn(bad=30, control=(10, 1000))

    assert decision.code == "trigger:error_rate"
    assert decision.within_s == 60.0
    assert one.state.status is Status.ROLLED_BACK
    assert one.state.unplanned == 1


def test_a_critical_verdict_takes_back_without_a_trigger():
    """A required criterion that turns critical is harm enough."""
    rules = plan(triggers={"within 1m": [{"metric": "crashes", "above": 0}]})
    one = rig(rules=rules)
    one.turn()
    decision = one.decide(bad=600)

    assert decision.move is Move.ROLL_BACK
    assert decision.code == "critical:error_rate"


def test_missing_evidence_neither_promotes_nor_takes_back():
    """Nothing was recorded of what the stage requires: it holds, and says of what."""
    one = rig().climb("canary")
    for _ in range(4):
        decision = one.turn(of=0, control=None)

    assert (decision.move, decision.code) == (Move.HOLD, "missing_evidence")
    assert decision.missing == ("error_rate",)


def test_what_was_proven_goes_stale():
    """A stage that was ready to be left holds once its evidence is old."""
    one = rig().climb("canary")
    one.look()
    one.look()
    one.look()
    for _ in range(5):
        decision = one.decide(of=0, control=None)

    assert decision.code == "missing_evidence"


@pytest.mark.parametrize(("length_s", "code"), [(10.0, "missing_evidence"), (99, "")])
def test_a_verdict_goes_stale(length_s, code):
    """Three checks after its window, or three of its windows where those are longer."""
    one = rig().climb("canary")
    report = one.look()
    standing = attrs.evolve(
        one.state.standings["error_rate"],
        closed_s=report.at_s - 181.0,
        length_s=length_s,
    )
    old = attrs.evolve(one.state, standings={"error_rate": standing})
    decision = one.engine._ladder.decide(report, old, dwell=False)

    assert decision.code == (code or "advance")


def test_shadow_is_not_left_without_a_rehearsal():
    """Neither by the ladder nor by hand, however long it waits."""
    one = rig().climb("shadow")
    one.engine._pointer.state = attrs.evolve(one.state, rehearsed_s=None)
    for _ in range(6):
        report = one.look()

    assert one.engine.decide(report).code == "rehearsal"
    assert one.engine.promote(report).code == "rehearsal"


def test_promote_skips_the_time_and_nothing_else():
    """By hand the stage is left early, by its rules and with its evidence."""
    one = rig().climb("canary")
    report = one.look()

    assert one.engine.decide(report).code == "dwell"
    assert one.engine.promote(report).code == "advance"


def test_promote_asks_for_evidence():
    """A person cannot wave through what nobody has measured."""
    one = rig().climb("canary")
    report = one.look(of=0, control=None)

    assert one.engine.promote(report).code == "missing_evidence"


def test_promote_asks_for_the_rules():
    """A person cannot wave through what does not hold."""
    stages = with_stage("canary", validate=[{"metric": "error_rate", "below": "0.1%"}])
    one = rig(rules=plan(stages=stages)).climb("canary")
    report = one.look(bad=2, control=(2, 1000))

    assert one.engine.promote(report).code == "validation"


def test_a_paused_rollout_holds():
    """Time and evidence go on, the ladder does not."""
    one = rig().climb("canary")
    one.engine.pause("lunch")
    codes = {one.turn().code for _ in range(6)}

    assert codes == {"paused"}
    assert one.state.stage == "canary"


def test_a_paused_rollout_still_goes_back():
    """A pause stops the way forward only."""
    one = rig().climb("canary")
    one.engine.pause("lunch")

    assert one.turn(bad=400).move is Move.ROLL_BACK
    assert one.state.status is Status.ROLLED_BACK


def test_resume_makes_it_go_on():
    """What was paused goes on where it was."""
    one = rig().climb("canary")
    one.engine.pause("lunch")
    one.turn()
    one.engine.resume()
    one.climb("everyone")

    assert one.state.stage == "everyone"


def test_pause_and_resume_say_why_they_do_nothing():
    """Where they make no sense they answer with the reason."""
    one = rig().climb("canary")
    assert one.engine.resume().code == "not_now"
    one.engine.rollback("by order")
    said = one.engine.pause("lunch")

    assert said.code == "not_now"
    assert "rolled_back" in said.reason
    assert "by order" in said.reason


def test_a_chooser_may_only_lower():
    """Asking for more than the ladder offers changes nothing."""
    one = rig(Chooser("everyone")).climb("canary")
    report = one.look()
    decision = one.engine.decide(report)

    assert one.engine.choose(decision, report) == decision


def test_a_chooser_holds_what_would_advance():
    """The lowest of the ladder and all answers counts, by hand as well."""
    one = rig().climb("canary")
    one.engine.plugins.register(Chooser("canary"))
    report = one.look()
    chosen = one.engine.choose(one.engine.promote(report), report)

    assert (chosen.move, chosen.code) == (Move.HOLD, "chosen")


@pytest.mark.parametrize("answer", ["nowhere", 5])
def test_a_chooser_that_talks_nonsense_holds(answer):
    """An answer that is no stage stops the ladder."""
    one = rig().climb("canary")
    one.engine.plugins.register(Chooser(answer))
    report = one.look()

    assert one.engine.choose(one.engine.promote(report), report).code == "chosen"


def test_a_chooser_takes_back_to_a_lower_stage():
    """Below the present stage is a retreat: nobody is asked about it."""
    one = rig(Router()).climb("canary")
    one.engine.plugins.register(Chooser("shadow"))
    decision = one.turn()

    assert (decision.move, decision.to) == (Move.ROLL_BACK, "shadow")
    assert one.stage == "shadow"
    assert one.state.status is Status.RUNNING


def test_a_finished_rollout_stays_finished():
    """The last stage completes, and then there is nothing more to decide."""
    one = rig().climb("everyone")
    codes = [one.turn(control=None).code for _ in range(4)]

    assert "complete" in codes
    assert one.state.status is Status.COMPLETE
    assert one.turn(control=None).code == "complete"


def test_a_finished_rollout_goes_back_all_the_same():
    """A critical limit holds after the end, too, once the whole stage is beyond it."""
    one = rig().climb("everyone")
    while not one.state.status.over:
        one.turn(control=None)

    moves = [one.turn(bad=1000, control=None).move for _ in range(8)]
    assert Move.ROLL_BACK in moves


def test_an_empty_report_moves_nothing():
    """Nothing was judged: nothing is decided but to hold."""
    one = rig().climb("canary")

    assert one.engine.decide(Report()).move is Move.HOLD


def test_a_ruling_for_another_change_is_none():
    """Allowed is one change, by its digest."""
    one = rig()
    decision = one.decide()
    other = attrs.evolve(decision.change, reason="something else")

    assert one.engine.commit(decision, allow(other)).code == "no_ruling"
    assert one.stage == ""


def test_a_harm_budget_stops_the_ladder_before_anything_is_proven():
    """Six bad units more than at control's rate, where five were allowed."""
    stages = with_stage("canary", dwell="9m", harm_budget=5)
    one = rig(rules=plan(stages=stages)).climb("canary")
    decision = one.turn(bad=16, control=(10, 1000))

    assert (decision.move, decision.code) == (Move.FREEZE, "harm_budget:error_rate")
    assert one.engine.budget.e < 10
    assert "6 bad units in excess of 5" in decision.reason


def test_a_harm_budget_holds_where_nobody_has_the_control():
    """What control did before is what the candidate's units are held against."""
    stages = with_stage("everyone", harm_budget=100, dwell="10d")[1:]
    it = rig(rules=plan(stages=stages)).climb("canary")
    for _ in range(4):
        it.turn(bad=10, control=(10, 1_000))
    it.climb("everyone")
    it.turn(bad=40, control=None)
    assert it.state.status is Status.RUNNING
    for _ in range(5):
        decision = it.turn(bad=40, control=None)

    assert (decision.move, decision.code) == (Move.FREEZE, "harm_budget:error_rate")


def test_a_holdback_keeps_a_control_at_a_hundred_per_cent():
    """A tenth of the units never gets the candidate, so harm is seen to the end."""
    one = rig(rules=plan(holdback="10%")).climb("everyone")

    assert one.engine.exposure.share == 0.9
    assert "trigger:error_rate" in {one.turn(bad=60).code for _ in range(3)}


def test_what_was_spent_in_one_stage_stays_spent_in_the_next():
    """The evidence of the canary counts on where everybody has the candidate."""
    one = rig().climb("canary")
    one.turn(bad=20, control=(10, 1000))
    before = one.engine.budget
    one.climb("everyone")

    assert {spent.stage for spent in one.engine.budget.parts} >= {"shadow", "canary"}
    assert any(spent.stage == "canary" for spent in before.parts)
    assert one.state.spent


@pytest.mark.parametrize(("unit", "stakes"), [("task", None), ("user", (0.9, 0.09))])
def test_users_bet_a_share_in_each_stay_and_tasks_all_there_is(unit, stakes):
    """The same users have the same luck again: their evidence does not multiply."""
    chooser = Chooser("everyone")
    it = rig(chooser, rules=plan(unit=unit, stages=RULES["stages"][1:]))

    def seen(bad):
        """Return the e-value of this stay, and what the stage has in the budget."""
        it.turn(bad=bad, control=(10, 1_000))
        e = it.state.findings[next(iter(it.state.findings))].bad
        return e, next(p.e for p in it.engine.budget.parts if p.stage == "canary")

    it.climb("canary")
    e, first = seen(16)
    assert abs(e - 1) > 0.1
    assert first == pytest.approx(1 + (e - 1) * (stakes[0] if stakes else 1))
    it.climb("everyone")
    before = next(p.e for p in it.engine.budget.parts if p.stage == "canary")
    chooser.wanted = "canary"
    it.turn(control=None)
    assert it.stage == "canary"
    again, both = seen(20)

    stake = stakes[1] if stakes else before
    assert both == pytest.approx(before + stake * (again - 1))


LEAKS = {"metric": "memory_leak", "above": "50 MB/h"}
IN_A_ROW = {"metric": "health_check", "failures_in_a_row": 2}


def test_levels_and_rows_are_weighed_with_all_the_rest():
    """They are in the sum that freezes and takes back, and stay spent: no facts."""
    canary = with_stage("canary", dwell="48h")[1:]
    rules = {"triggers": {"within 1m": [LEAKS, IN_A_ROW]}, "stages": canary}
    it = rig(rules=plan(**rules)).climb("canary")
    for _ in range(3):
        decision = it.turn(bad=65, control=(62, 1_000), gauges={"memory_leak": 60.0})

    spent = {part.key: part.e for part in it.engine.budget.parts}
    assert spent["trigger: memory_leak above 50 MB/h"] > 100
    assert "trigger: health_check failed 2 times in a row" in spent
    assert not any(finding.fact for finding in it.state.findings.values())
    assert (decision.move, decision.code) == (Move.FREEZE, "evidence:memory_leak")

    it.turn(bad=65, control=(62, 1_000), gauges={"memory_leak": 60.0})
    it.turn(bad=65, control=(62, 1_000), gauges={"memory_leak": 60.0})
    assert it.state.status is Status.ROLLED_BACK
    assert it.engine.budget.e > 100


@pytest.mark.parametrize(
    "rule",
    [
        {"metric": "watchdog_alerts", "at_least": 1},
        {"metric": "watchdog_warnings", "above": 0},
    ],
)
def test_noisy_verdicts_take_nothing_back_however_they_are_counted(rule):
    """A count of them is no fact: what they are about must be proven to be worse."""
    rules = {
        "triggers": {"within 1m": [rule]},
        "stages": with_stage("canary", dwell="48h")[1:],
    }
    noisy, worse = (rig(rules=plan(**rules)).climb("canary") for _ in range(2))
    for bad in (2, 8, 2, 3):  # Eight of a hundred alert, and are chance's work.
        noisy.turn(bad=bad, of=100, control=(2, 100))
        assert noisy.state.status is Status.RUNNING

    for _ in range(3):
        worse.turn(bad=600, control=(20, 1_000))
    assert worse.state.status is Status.ROLLED_BACK


@pytest.mark.parametrize(
    ("log_e", "move"), [(9.0, Move.ROLL_BACK), (5.5, Move.FREEZE), (1.0, Move.HOLD)]
)
def test_what_was_spent_in_other_stages_counts_before_this_one_has_evidence(
    log_e, move
):
    """A stage without any finding yet stands on what the stages before it spent."""
    one = rig().climb("canary")
    part = next(name for name in one.state.weights if name.startswith("shadow"))
    one.engine._pointer.state = attrs.evolve(
        one.state, spent={part: log_e}, findings={}
    )
    decision = one.engine.decide(Report(plan="answers", stage="canary"))

    assert decision.move is move
    if move is not Move.HOLD:
        assert decision.code == "evidence:spent"


@pytest.mark.parametrize(
    ("shared", "kind"), [([], BothEvidence), (["error_rate"], LimitEvidence)]
)
def test_what_both_arms_share_is_held_to_its_limit_alone(shared, kind):
    """Where one arm's errors show in the other there is no control to be worse than."""
    limit = {"within 1m": [{"metric": "error_rate", "above": "20%"}]}
    one = rig(rules=plan(triggers=limit, shared=shared))
    stage = one.engine.plan.stage("canary")
    evidence = one.engine._ladder.paths(stage).evidence()

    assert type(evidence["trigger: error_rate above 20 %"]) is kind
