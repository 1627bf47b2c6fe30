"""Guards: a guarded function runs inside execute, once an act, or is counted."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading

import pytest

from legion.exceptions import GateError
from legion.gate import Policy, SafetyGate
from legion.model import Action, Arm, Count


def tool(**more):
    return Action(**{"kind": "tool", "name": "send", "risk": 0.1, **more})


def bypasses(gate, plan="p"):
    return gate.legion_observe(plan, Arm.CANDIDATE)["safety_gate_bypasses"]


@pytest.fixture(params=["enforce", "observe"])
def gate(request):
    return SafetyGate(Policy(containment=request.param))


def test_nothing_around_the_gate_is_measured_as_nothing(gate):
    """The gate did watch: that is a count of 0, not a lack of data."""
    send = gate.guard(str.upper)

    assert gate.execute(tool(), send, "hi").value == "HI"
    assert bypasses(gate) == Count(0)


def test_around_the_gate_it_raises_and_counts():
    """The function does not run, the call is counted once, the error says how."""
    gate, calls = SafetyGate(), []
    send = gate.guard(calls.append)

    with pytest.raises(GateError, match=r"gate\.execute"):
        send(1)
    assert calls == []
    assert (bypasses(gate), bypasses(gate)) == (Count(1), Count(0))
    assert bypasses(gate, "another") == Count(1)


def test_where_the_policy_observes_it_runs_and_counts():
    """Nothing is stopped, and everything is seen."""
    gate, calls = SafetyGate(Policy(containment="observe")), []

    gate.guard(calls.append)(1)

    assert calls == [1]
    assert bypasses(gate) == Count(1)


def test_a_permit_is_good_for_one_call():
    """The second call under one approval is a bypass."""
    gate, calls = SafetyGate(), []
    send = gate.guard(calls.append)

    def twice():
        send(1)
        send(2)

    with pytest.raises(GateError, match="once for each call"):
        gate.execute(tool(), twice)
    assert calls == [1]


def test_a_permit_ends_with_its_act():
    """A context that was carried out of the act is worth nothing afterwards."""
    gate, calls = SafetyGate(), []
    send = gate.guard(calls.append)
    carried = gate.execute(tool(), contextvars.copy_context).value

    with pytest.raises(GateError):
        carried.run(send, 1)
    assert calls == []


def test_a_permit_of_another_gate_is_no_good():
    """Nested acts of two gates: each guard wants its own gate's permit."""
    one, two, calls = SafetyGate(), SafetyGate(), []
    send = one.guard(calls.append)

    with pytest.raises(GateError):
        two.execute(tool(), send, 1)
    one.execute(tool(), lambda: two.execute(tool(), send, 2))
    assert calls == [2]


def test_a_guard_may_be_bound_to_one_action():
    """A harmless action's permit does not open a dangerous function."""
    gate, calls = SafetyGate(), []
    delete = gate.guard(calls.append, action="delete")

    with pytest.raises(GateError, match="'delete'"):
        gate.execute(tool(name="read"), delete, 1)
    gate.execute(tool(name="delete"), delete, 2)
    assert calls == [2]


def test_async_functions_are_guarded_when_they_run():
    """Making the coroutine inside does not help where it is awaited outside."""
    gate, calls = SafetyGate(), []

    async def send(n):
        calls.append(n)
        return n

    guarded = gate.guard(send)
    assert inspect.iscoroutinefunction(guarded)

    async def run():
        done = await gate.aexecute(tool(), guarded, 1)
        smuggled = gate.execute(tool(), lambda: [guarded(2)]).value[0]
        with pytest.raises(GateError):
            await smuggled
        return done.value

    assert asyncio.run(run()) == 1
    assert calls == [1]
    assert bypasses(gate) == Count(1)


def test_tasks_at_once_have_a_permit_each():
    """Two acts in one loop do not take each other's permit."""
    gate = SafetyGate()

    async def send(n):
        await asyncio.sleep(0)
        return n

    guarded = gate.guard(send)

    async def run():
        acts = [gate.aexecute(tool(args={"n": n}), guarded, n) for n in range(10)]
        return [done.value for done in await asyncio.gather(*acts)]

    assert asyncio.run(run()) == list(range(10))
    assert bypasses(gate) == Count(0)


def test_no_bypass_is_lost_between_threads():
    """Eight threads, a hundred calls each: the counts add up."""
    gate = SafetyGate(Policy(containment="observe"))
    send = gate.guard(int)

    def run():
        for _ in range(100):
            send()

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    seen = [bypasses(gate).n for _ in range(50)]
    for thread in threads:
        thread.join()

    assert sum(seen) + bypasses(gate).n == 800


def test_control_is_not_said_to_be_clean():
    """Acts are the process's: they count for the arm that is judged, once."""
    gate = SafetyGate()

    assert gate.legion_observe("p", Arm.CONTROL) is None
    assert gate.legion_observe("p", Arm.CANDIDATE) == {
        "safety_gate_bypasses": Count(0),
        "unauthorized_actions": Count(0),
    }


def test_a_journal_that_fails_does_not_open_the_guard():
    """The bypass is refused and counted though it cannot be written down."""

    class Full:
        def append(self, body, *, kind=None, refs=(), durable=True):
            raise OSError

    gate = SafetyGate(journal=Full())

    with pytest.raises(GateError):
        gate.guard(int)()
    assert bypasses(gate) == Count(1)


def test_a_guarded_function_keeps_its_name():
    """What is shown in a traceback or a tool list is the function's own."""

    def send(to: str) -> str:
        """Send it."""
        return to

    guarded = SafetyGate().guard(send)

    assert (guarded.__name__, guarded.__doc__) == ("send", "Send it.")
    assert inspect.signature(guarded) == inspect.signature(send)
