"""A mirrored run changes nothing, and what it would have done is compared."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
import threading

import pytest

import legion

from legion.exceptions import ContainmentError, NoStandIn
from legion.metrics import find
from legion.model import Arm, Count, Level, Move, Permission
from legion.stages import Rule
from legion.stages.evidence import ComparedEvidence
from legion.stages.exposure import Exposure
from legion.stages.mirror import Mirror
from legion.stages.splitter import Splitter
from legion.stages.traffic import Traffic
from legion.telemetry import Telemetry
from legion.testing import ManualClock


PAY = legion.Action(kind="tool", name="pay", args={"amount": 5}, risk=0.1, key="pay-1")


class World:
    """Everything that has happened, and the tools that make it happen."""

    def __init__(self, clock):
        self.effects = []
        self.looks = []

        @legion.tool(effects=True)
        def refund(order, amount):
            clock.advance(0, machine_s=2.0)
            self.effects.append((order, amount))
            if order == "unknown":
                raise LookupError(order)
            return {"order": order, "number": len(self.effects)}

        @legion.tool(effects=True)
        async def arefund(order, amount):
            await asyncio.sleep(0)
            return refund(order, amount)

        @legion.tool(effects=False)
        def search(words):
            clock.advance(0, machine_s=1.0)
            self.looks.append(words)
            return [words]

        self.refund, self.arefund, self.search = refund, arefund, search


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def world(clock):
    return World(clock)


@pytest.fixture
def traffic(clock):
    return Traffic(
        Exposure(plan="plan", stage="shadow", mirror=1.0),
        Mirror(clock, budget_s=1e9),
        splitter=Splitter("plan"),
        telemetry=Telemetry(clock),
        clock=clock,
    )


@pytest.fixture
def gate():
    with legion.SafetyGate(journal=legion.Journal(":memory:")) as gate:
        yield gate


def serve(traffic, control, candidate, *, unit="1"):
    """Answer one unit, let its mirrored run happen, and return control's answer."""
    answer = traffic.run_sync(
        unit, control=control, candidate=candidate, mirror=candidate
    )
    traffic.mirror.drain()
    return answer


def close(traffic):
    return traffic._telemetry.close(exposure=traffic.exposure.digest).candidate


def shares(window):
    return {name: (c.n, c.of) for name, c in window.counts.items() if c.of is not None}


# Stand-ins.


def test_the_world_changes_once_a_unit_over_1000_mirrored_units(traffic, world):
    """A mirrored run of the same agent has no effect, and agrees in every respect."""

    def agent(order):
        found = world.search(order)
        return world.refund(found[0], 5)["order"]

    for n in range(1000):
        traffic.run_sync(
            f"{n}", control=agent, candidate=agent, mirror=agent, args=(f"{n}",)
        )
        traffic.mirror.drain()
    window = close(traffic)

    assert world.effects == [(f"{n}", 5) for n in range(1000)]
    assert len(world.looks) == 2000
    assert shares(window) == {
        "error_rate": (0, 1000),
        "disagreement": (0, 1000),
        "tool_plan_disagreement": (0, 1000),
    }
    assert window.count("containment_violations") is None


def test_async_agents_are_fenced_alike(traffic, world):
    """Tasks that the agent starts, and threads by `asyncio.to_thread`, too."""

    async def agent(order):
        await asyncio.gather(*(world.arefund(order, n) for n in range(3)))
        await asyncio.create_task(world.arefund(order, 3))
        return await asyncio.to_thread(world.refund, order, 4)

    async def story():
        for n in range(20):
            await traffic.run(
                f"{n}", control=agent, candidate=agent, mirror=agent, args=(f"{n}",)
            )
        await traffic.mirror.join()

    asyncio.run(story())

    assert len(world.effects) == 20 * 5
    assert shares(close(traffic)) == {
        "error_rate": (0, 20),
        "disagreement": (0, 20),
        "tool_plan_disagreement": (0, 20),
    }


def test_the_nth_call_gets_the_nth_answer(traffic, world):
    """The same arguments twice are two answers of control's."""
    answers = []

    def agent():
        return [world.refund("A", 1)["number"] for _ in range(3)]

    def candidate():
        answers.append(agent())
        return answers[-1]

    assert serve(traffic, agent, candidate) == [1, 2, 3]
    assert answers == [[1, 2, 3]]


def test_a_stand_in_gets_the_same_arguments(traffic, clock):
    """It answers whatever control did, and is no departure."""
    asked = []

    @legion.tool(effects=True, stand_in=lambda order, *, amount: -amount)
    def pay(order, *, amount):
        asked.append(amount)
        return amount

    @legion.tool(effects=True, stand_in=lambda text: "dry")
    async def mail(text):
        asked.append(text)
        return text

    async def control():
        return pay("A", amount=1)

    async def candidate():
        assert await mail("hello") == "dry"
        return pay("A", amount=2)

    async def story():
        await traffic.run("1", control=control, candidate=candidate, mirror=candidate)
        await traffic.mirror.join()

    asyncio.run(story())

    assert asked == [1]
    assert shares(close(traffic)) == {
        "error_rate": (0, 1),
        "disagreement": (1, 1),
        "tool_plan_disagreement": (1, 1),
    }


def test_what_controls_tool_raised_is_raised_again(traffic, world):
    """A candidate that cannot handle what control could has failed."""
    seen = []

    def control():
        try:
            world.refund("unknown", 1)
        except LookupError as error:
            return str(error)

    def careful():
        try:
            world.refund("unknown", 1)
        except LookupError as error:
            seen.append(error)
            return str(error)

    assert serve(traffic, control, careful) == "unknown"
    assert shares(close(traffic))["disagreement"] == (0, 1)
    assert isinstance(seen[0], LookupError)
    serve(traffic, control, lambda: world.refund("unknown", 1), unit="2")
    assert shares(close(traffic)) == {"error_rate": (1, 1)}
    assert len(world.effects) == 2


def test_a_stand_in_that_raises_answers_so(traffic):
    """It may mean to; where it does not, the candidate looks worse, never better."""

    @legion.tool(effects=True, stand_in=lambda: 1 / 0)
    def pay():
        return 1

    serve(traffic, pay, pay)

    assert shares(close(traffic)) == {"error_rate": (1, 1)}


# No stand-in.


DEPARTURES = {
    "other arguments": lambda world: world.refund("A", 6),
    "once more": lambda world: [world.refund("A", 5) for _ in range(2)],
    "another tool": lambda world: asyncio.run(world.arefund("A", 5)),
}


@pytest.mark.parametrize("candidate", DEPARTURES.values(), ids=DEPARTURES)
def test_a_run_that_calls_what_control_did_not_has_no_outcome(
    traffic, world, candidate
):
    """It did not fail: it went elsewhere, and that is a disagreement."""
    serve(traffic, lambda: world.refund("A", 5), lambda: candidate(world))
    window = close(traffic)

    assert world.effects == [("A", 5)]
    assert shares(window) == {"disagreement": (1, 1), "tool_plan_disagreement": (1, 1)}
    assert window.bad_units["tool_plan_disagreement"]
    assert "latency" not in window.histograms
    assert window.count("containment_violations") is None


@pytest.mark.parametrize("by_name", [False, True])
def test_a_key_that_is_made_anew_each_time_is_no_other_call(traffic, by_name):
    """What the mark ignores makes no other call: control's answer stands in for it."""
    paid, keys = [], itertools.count()

    def pay(order, amount, key, **more):
        paid.append((order, key, more))
        return f"{order}: {amount}"

    pay = legion.tool(pay, effects=True, ignore=["key", "sent_at"])

    def agent():
        given = {"key": next(keys)} if by_name else {}
        return pay("A", 5, *(() if by_name else (next(keys),)), **given, sent_at=keys)

    assert serve(traffic, agent, agent) == "A: 5"
    assert paid == [("A", 0, {"sent_at": keys})]
    assert shares(close(traffic)) == {
        "error_rate": (0, 1),
        "disagreement": (0, 1),
        "tool_plan_disagreement": (0, 1),
    }


def test_what_is_not_ignored_still_makes_another_call(traffic):
    """A refund of another amount under an ignored key is another plan."""
    pay = legion.tool(
        lambda amount, key: amount, effects=True, name="pay", ignore=["key"]
    )
    serve(traffic, lambda: pay(5, 1), lambda: pay(6, 2))

    assert shares(close(traffic))["tool_plan_disagreement"] == (1, 1)


@pytest.mark.parametrize("grouped", [False, True])
def test_a_departure_in_a_task_ends_the_async_run(traffic, world, grouped):
    """Alone, or out of a group of tasks; the loop and the host go on."""

    async def control():
        return await world.arefund("A", 5)

    async def candidate():
        if grouped:
            async with asyncio.TaskGroup() as group:
                group.create_task(world.arefund("A", 5))
                group.create_task(world.arefund("A", 6))
        else:
            await asyncio.gather(world.arefund("A", 6), asyncio.sleep(0))

    async def story():
        await traffic.run("1", control=control, candidate=candidate, mirror=candidate)
        await traffic.mirror.join()

    asyncio.run(story())

    assert world.effects == [("A", 5)]
    assert shares(close(traffic)) == {
        "disagreement": (1, 1),
        "tool_plan_disagreement": (1, 1),
    }


def test_an_agent_that_swallows_errors_does_not_go_on(traffic, world):
    """Frameworks hand errors of tools to the model; this is none of them."""
    went_on = []

    def agent():
        try:
            world.refund("A", 6)
        except Exception:
            went_on.append(1)

    serve(traffic, lambda: world.refund("A", 5), agent)

    assert not went_on


def test_a_run_that_swallows_everything_has_no_outcome_either(traffic, world):
    """What came after the answer that never was is not evidence."""

    def agent():
        with contextlib.suppress(BaseException):
            world.refund("A", 6)
        raise RuntimeError

    serve(traffic, lambda: world.refund("A", 5), agent)

    assert shares(close(traffic)) == {
        "disagreement": (1, 1),
        "tool_plan_disagreement": (1, 1),
    }


def test_an_answer_that_cannot_be_copied_is_no_answer(traffic):
    """It is said what to write."""
    said = []

    @legion.tool(effects=True)
    def connect():
        return threading.Lock()

    def candidate():
        try:
            connect()
        except NoStandIn as end:
            said.append(str(end))
            raise

    serve(traffic, connect, candidate)

    assert "write stand_in=" in said[0]


def test_a_mirrored_run_cannot_change_what_control_answered(traffic):
    """It gets a copy of its own."""

    @legion.tool(effects=True)
    def pay():
        return {"lines": [1]}

    def candidate():
        answer = pay()
        answer["lines"].append(2)
        return {"lines": [1]}

    answer = serve(traffic, pay, candidate)

    assert answer == {"lines": [1]}


# Control that does not come to its end.


def test_control_that_is_cancelled_is_not_mirrored(traffic, world):
    """Its effects are its own; there is no pair."""

    async def control():
        await world.arefund("A", 5)
        await asyncio.Event().wait()

    async def story():
        task = asyncio.create_task(
            traffic.run("1", control=control, candidate=control, mirror=control)
        )
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await traffic.mirror.join()

    asyncio.run(story())

    assert world.effects == [("A", 5)]
    assert not close(traffic).counts


def test_control_whose_tool_is_cancelled_leaves_no_answer(traffic):
    """A tool that did not return has nothing to say to a mirrored run."""
    calls = []

    @legion.tool(effects=True)
    async def pay():
        calls.append(1)
        await asyncio.Event().wait()

    async def control():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(pay(), timeout=0)
        task = asyncio.create_task(pay())
        await asyncio.sleep(0)
        task.cancel()
        return 1

    async def story():
        await traffic.run("1", control=control, candidate=pay, mirror=pay)
        await traffic.mirror.join()

    asyncio.run(story())

    assert calls == [1]
    assert shares(close(traffic)) == {
        "disagreement": (1, 1),
        "tool_plan_disagreement": (1, 1),
    }


# Violations.


def violated(traffic, reach):
    """Let a mirrored run reach for something; return how often it was counted."""
    serve(traffic, lambda: 1, reach)
    return close(traffic).count("containment_violations")


def test_the_gate_denies_a_mirrored_run_and_counts_it(traffic, gate):
    """Nothing is done, asked or replayed; the denial is in the journal."""
    acts, said = [], []
    assert gate.execute(PAY, acts.append, "real").ran

    def reach():
        said.append(gate.execute(PAY, acts.append, "mirrored"))
        unkeyed = legion.Action(kind="payment", name="x", risk=0.9)
        said.append(gate.execute(unkeyed, acts.append, "mirrored"))

    assert violated(traffic, reach) == 2
    assert acts == ["real"]
    for done in said:
        assert (done.ran, done.replayed, done.value) == (False, False, None)
        assert done.ruling.permission is Permission.DENY
        assert done.ruling.code == "shadow"
        assert done.records
    assert gate.asks() == ()
    assert gate.in_doubt() == ()


def test_a_review_in_a_mirrored_run_asks_nobody(traffic, gate):
    """A question is an effect; but nothing was reached for, so nothing is counted."""
    asked = legion.Action(kind="deployment", name="x")
    said = []

    assert violated(traffic, lambda: said.append(gate.review(asked))) is None
    assert said[0].code == "shadow"
    assert gate.asks() == ()
    assert gate.review(asked).ask


def test_a_gate_that_only_observes_denies_a_mirrored_run(traffic):
    """And so it does where its journal cannot be written."""

    class Full:
        def append(self, *_, **__):
            raise OSError("no space left")

    acts = []
    policy = legion.Policy(containment="observe")
    with legion.SafetyGate(policy, journal=Full()) as gate:
        guarded = gate.guard(acts.append)

        def reach():
            assert not gate.execute(PAY, acts.append, 1).ran
            with pytest.raises(ContainmentError):
                guarded(2)

        assert violated(traffic, reach) == 2
    assert not acts


def test_a_mirrored_run_cannot_use_the_permit_of_the_act_it_began_in(traffic, gate):
    """Its context has it, as the act is still under way."""
    acts = []
    guarded = gate.guard(acts.append)

    async def act():
        await traffic.run("1", control=int, candidate=int, mirror=lambda: guarded(1))
        await traffic.mirror.join()

    asyncio.run(gate.aexecute(PAY, act))

    assert not acts
    assert close(traffic).count("containment_violations") == 1


def test_the_gate_is_shut_in_whatever_carries_the_context(traffic, gate):
    """Tasks, `to_thread` and threads that are started with a copy of it."""
    acts = []

    async def act():
        acts.append(1)

    def in_thread():
        thread = threading.Thread(
            target=contextvars.copy_context().run,
            args=(gate.execute, PAY, acts.append, 1),
        )
        thread.start()
        thread.join()

    async def reach():
        await asyncio.create_task(gate.aexecute(PAY, act))
        await asyncio.to_thread(gate.execute, PAY, acts.append, 1)
        in_thread()

    async def story():
        await traffic.run("1", control=int, candidate=int, mirror=reach)
        await traffic.mirror.join()

    asyncio.run(story())

    assert not acts
    assert close(traffic).count("containment_violations") == 3


def test_a_task_that_outlives_its_mirrored_run_is_fenced(traffic, world, gate):
    """What is left running reaches nothing, and is counted all the same."""

    async def reach():
        async def late():
            await asyncio.sleep(0)
            await gate.aexecute(PAY, asyncio.sleep, 0)

        reach.task = asyncio.create_task(late())

    async def story():
        await traffic.run("1", control=int, candidate=int, mirror=reach)
        await traffic.mirror.join()
        await reach.task

    asyncio.run(story())

    assert close(traffic).count("containment_violations") == 1


def test_a_violation_is_counted_though_the_candidate_swallows_it(traffic, world):
    """It is counted where it is reached for."""

    def reach():
        try:
            world.refund.__wrapped__("A", 1)
        except Exception:
            return 1

    assert violated(traffic, reach) == 1
    assert not world.effects


def test_a_violation_after_the_pointer_has_moved_is_not_stale(traffic, world):
    """It is a fact of the candidate's code, whatever is exposed by then."""

    def reach():
        traffic.exposure = Exposure(plan="plan", stage="canary", share=0.5)
        close(traffic)
        return world.refund.__wrapped__("A", 1)

    traffic.run_sync("1", control=int, candidate=int, mirror=reach)
    traffic.mirror.drain()

    assert close(traffic).counts["containment_violations"] == Count(1)


def rolled_out(tmp_path, clock, *plugins, triggers=()):
    plan = {
        "plan": "fenced",
        "candidate": "2.0.0",
        "baseline": "1.0.0",
        "check_interval": "1m",
        "rollback": {"to": "v1", "within": "1m"},
        "triggers": {"immediate": list(triggers)} if triggers else {},
        "stages": [
            {
                "name": "shadow",
                "traffic": "0%",
                "mirror": "100%",
                "dwell": "3m",
                "validate": [{"metric": "tool_plan_disagreement", "below": "20%"}],
            },
            {"name": "everyone", "traffic": "100%", "dwell": "1m"},
        ],
    }
    host = legion.Host.open(
        legion.Plan.from_dict(plan),
        state=tmp_path,
        clock=clock,
        plugins=legion.Plugins(*plugins),
    )
    host.tick()
    assert host.engine.state.stage == "shadow"
    return host


class Channel:
    """Where people are told."""

    def __init__(self):
        self.told = []

    @legion.hookimpl
    def legion_notify(self, notice):
        self.told.append(notice)


class Supplied:
    """A host's own count of violations elsewhere."""

    @legion.hookimpl
    def legion_observe(self, plan, arm):
        return {"containment_violations": Count(0)} if arm is Arm.CANDIDATE else None


@pytest.mark.parametrize("named", [False, True])
def test_a_violation_takes_the_rollout_back(tmp_path, clock, world, named):
    """At the next turn, with an incident; whether or not the plan names it."""
    triggers = [{"metric": "containment_violations", "above": 0}] if named else []
    channel = Channel()
    plugins = [channel, Supplied()] if named else [channel]
    with rolled_out(tmp_path, clock, *plugins, triggers=triggers) as host:
        host.engine.run_sync(
            "1",
            control=int,
            candidate=int,
            mirror=lambda: world.refund.__wrapped__("A", 1),
        )
        clock.advance(60)
        turn = host.tick()

        assert turn.decision.move is Move.ROLL_BACK
        assert turn.decision.code.endswith(":containment_violations")
        (verdict,) = [
            v for v in turn.report.verdicts if v.criterion == "containment_violations"
        ]
        assert verdict.level is Level.CRITICAL
        incidents = [one for one in channel.told if one.kind == "incident"]
        assert any("containment_violations" in one.reason for one in incidents)
    assert not world.effects


# Compared in pairs.


def test_a_tool_plan_is_proven_as_any_other_metric(tmp_path, clock, world):
    """Enough pairs that agree, and the stage may be left."""
    with rolled_out(tmp_path, clock) as host:
        for n in range(120):

            def agent(n=n):
                return world.refund(f"{n}", 5 + (n % 40 == 0) * len(world.effects))

            host.engine.run_sync(f"{n}", control=agent, candidate=int, mirror=agent)
            host.engine.traffic.mirror.drain()
        clock.advance(60)
        (finding,) = host.tick().decision.findings

    assert finding.met, finding.reason
    assert finding.evidence["bad_units"] == 3
    assert finding.evidence["units"] == 120


def test_pairs_without_a_marked_tool_have_no_tool_plan(traffic):
    """Nothing that nobody marked is taken for agreement."""
    serve(traffic, lambda: 1, lambda: 1)

    assert "tool_plan_disagreement" not in close(traffic).counts


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_shadow_compares_the_time_without_tools(share):
    """Where nothing is mirrored alone, the whole latency counts."""
    metric = find("latency_p95")
    rule = Rule(metric=metric.name, unit="s", versus="baseline", worse_by=0.5)
    evidence = ComparedEvidence(
        rule,
        metric=metric,
        trigger=True,
        margin=0.5,
        share=share,
        alpha=0.01,
        stale_s=60.0,
    )
    (watch,) = evidence.watches

    assert watch.name == "latency_p95 harm 0.5"
    assert watch.metric.stream == ("latency" if share else "latency_without_tools")
    assert ("without the time in tools" in evidence._reason(0.0, met=False)) != share


def test_a_slow_candidate_is_seen_behind_stand_ins_that_answer_at_once(
    tmp_path, clock, world
):
    """Its whole latency is far below control's, as the tool does not run."""
    trigger = {"metric": "latency_p95", "versus": "baseline", "worse_by": "50%"}

    def agent(seconds, order):
        clock.advance(0, machine_s=seconds)
        return world.refund(order, 5)

    with rolled_out(tmp_path, clock, triggers=[trigger]) as host:
        for look in range(4):
            for n in range(150):
                order = f"{look}-{n}"
                host.engine.run_sync(
                    order,
                    control=lambda o: agent(0.1, o),
                    candidate=int,
                    args=(order,),
                    mirror=lambda o: agent(0.4, o),
                )
                host.engine.traffic.mirror.drain()
            clock.advance(60)
            turn = host.tick()
            candidate = turn.observation.candidate.quantile("latency", 0.95)
            control = turn.observation.control.quantile("latency", 0.95)
            assert candidate < control / 4
            if turn.decision.move is Move.ROLL_BACK:
                break

    assert turn.decision.code == "trigger:latency_p95"
    assert "slow without the time in tools" in turn.decision.reason


def test_cost_is_compared_in_pairs_by_what_both_arms_record(tmp_path, clock):
    """A candidate that costs half as much again is taken back in shadow."""
    trigger = {"metric": "cost_p50", "versus": "baseline", "worse_by": "20%"}

    def agent(cost):
        legion.current_trial().score("cost", cost)
        return 1

    with rolled_out(tmp_path, clock, triggers=[trigger]) as host:
        for look in range(3):
            for n in range(150):
                host.engine.run_sync(
                    f"{look}-{n}",
                    control=agent,
                    candidate=int,
                    args=(0.010 + n % 7 / 1000,),
                    mirror=lambda cost: agent(1.5 * cost),
                )
                host.engine.traffic.mirror.drain()
            clock.advance(60)
            turn = host.tick()
            if turn.decision.move is Move.ROLL_BACK:
                break

    assert turn.decision.code == "trigger:cost_p50"


def test_departed_runs_alone_never_prove_that_errors_are_few(tmp_path, clock, world):
    """They have no outcome, so the stage that asks for one holds."""
    plan = legion.Plan.from_dict(
        {
            "plan": "departing",
            "candidate": "2.0.0",
            "baseline": "1.0.0",
            "check_interval": "1m",
            "rollback": {"to": "v1", "within": "1m"},
            "stages": [
                {
                    "name": "shadow",
                    "traffic": "0%",
                    "mirror": "100%",
                    "dwell": "1m",
                    "validate": [{"metric": "error_rate", "below": "5%"}],
                },
                {"name": "everyone", "traffic": "100%", "dwell": "1m"},
            ],
        }
    )
    with legion.Host.open(plan, state=tmp_path, clock=clock) as host:
        host.tick()
        for n in range(200):
            host.engine.run_sync(
                f"{n}",
                control=int,
                candidate=int,
                mirror=lambda n=n: world.refund(f"{n}", 5),
            )
            host.engine.traffic.mirror.drain()
        clock.advance(120)
        decision = host.tick().decision

    assert decision.move is Move.HOLD
    assert decision.missing == ("error_rate",)
    (proof,) = [f for f in decision.findings if f.rule == "error_rate below 5 %"]
    assert not proof.met
    assert not world.effects


def test_times_recorded_by_hand_say_how_much_of_them_was_in_tools():
    """Whole times cannot be compared where a mirrored run skips some: it says so."""
    telemetry = Telemetry(ManualClock())
    telemetry.latency(Arm.CONTROL, 1, 0.5, tools_s=0.2, exposure="x")
    telemetry.latency(Arm.CONTROL, 2, 0.5, exposure="x")
    seen = telemetry.close(exposure="x").control

    assert seen.histograms["latency"].count == 2
    assert seen.histograms["latency_without_tools"].count == 1
    assert seen.mean("latency_without_tools") == pytest.approx(0.3)
