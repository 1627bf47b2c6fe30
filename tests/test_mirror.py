"""Mirrored runs: bounded, in the background, and nobody's trouble."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import warnings

import pytest

import legion

from legion.model import Arm
from legion.stages.mirror import Mirror
from legion.testing import ManualClock


language: contextvars.ContextVar[str] = contextvars.ContextVar("language", default="?")


class GraphBubbleUp(Exception):  # noqa: N818 - as LangGraph names it
    """How LangGraph stops to ask a person."""

    __module__ = "langgraph.errors"


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def mirror(clock):
    return Mirror(clock)


def raiser(error):
    def run():
        raise error

    return run


ERRORS = [
    SystemExit(3),
    GeneratorExit(),
    asyncio.CancelledError(),
    GraphBubbleUp(),
    RuntimeError(),
    BaseException(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_whatever_a_mirrored_run_raises_ends_that_run_only(mirror, error):
    """The others run, and the thread that drains goes on."""
    ran = []
    mirror.queue(raiser(error))
    mirror.queue(lambda: ran.append(1))

    assert mirror.drain() == 2
    assert ran == [1]


def test_ctrl_c_in_the_main_thread_is_the_persons(mirror):
    """Whoever sits there wants to stop; in another thread it is nobody's."""
    mirror.queue(raiser(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        mirror.drain()
    mirror.queue(raiser(KeyboardInterrupt()))
    done = []
    thread = threading.Thread(target=lambda: done.append(mirror.drain()))
    thread.start()
    thread.join()

    assert done == [1]


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_whatever_a_background_run_raises_ends_that_run_only(mirror, error):
    """Not even an exit gets out of the loop."""
    ran = []

    async def broken():
        raise error

    async def fine():
        ran.append(1)

    async def story():
        mirror.spawn(broken)
        mirror.spawn(fine)
        await mirror.join()

    asyncio.run(story())
    assert ran == [1]


def test_a_tick_survives_a_mirror_that_exits(tmp_path):
    """The turn is complete: observed, judged and decided."""
    plan = legion.Plan.from_dict(
        {
            "plan": "p",
            "candidate": "2",
            "baseline": "1",
            "unit": "task",
            "rollback": {"to": "1", "within": "1m"},
            "stages": [
                {"name": "shadow", "traffic": "0%", "mirror": "100%", "dwell": "1h"}
            ],
        }
    )
    clock = ManualClock(1e9)
    with legion.Host.open(plan, state=tmp_path, clock=clock) as host:
        host.tick()
        assert host.engine.state.stage == "shadow"
        host.engine.run_sync(
            "1", control=int, candidate=int, mirror=raiser(SystemExit(1))
        )
        clock.advance(host.interval_s)

        assert host.tick().observation.window(Arm.CONTROL).count("error_rate") == 0


def test_the_queue_is_bounded(clock):
    """What does not fit is refused, and the caller is told."""
    mirror = Mirror(clock, capacity=3)

    assert [mirror.queue(int) for _ in range(5)] == [True] * 3 + [False] * 2
    assert mirror.drain() == 3
    assert mirror.queue(int)


def test_the_background_is_bounded(clock):
    """As many tasks as the capacity, and no more."""
    mirror = Mirror(clock, capacity=3)

    async def story():
        kept = [mirror.spawn(asyncio.Event().wait) for _ in range(5)]
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await mirror.join()
        return kept

    assert asyncio.run(story()) == [True] * 3 + [False] * 2


def test_a_drain_is_bounded_in_time(clock):
    """After the budget no further run begins; the rest waits for the next drain."""
    mirror = Mirror(clock, budget_s=1.0)
    for _ in range(5):
        mirror.queue(lambda: clock.advance(0.4))

    assert mirror.drain() == 3
    assert mirror.drain() == 2
    assert mirror.drain() == 0


def test_a_run_that_queues_another_does_not_keep_the_drain(mirror):
    """What is queued meanwhile waits for the next one."""
    mirror.queue(lambda: mirror.queue(int))

    assert (mirror.drain(), mirror.drain()) == (1, 1)


def test_the_mirror_runs_with_the_callers_context(mirror):
    """Queued or spawned, it sees what the request saw."""
    seen = []

    async def look():
        seen.append(language.get())

    async def story():
        language.set("pt")
        mirror.spawn(look)
        language.set("fr")
        await mirror.join()

    def request():
        language.set("de")
        mirror.queue(lambda: seen.append(language.get()))

    contextvars.copy_context().run(request)
    mirror.drain()
    asyncio.run(story())

    assert seen == ["de", "pt"]
    assert language.get() == "?"


def test_joining_waits_for_the_tasks_of_this_loop(mirror):
    """Those of another loop are that loop's to wait for."""
    gate, done = threading.Event(), []

    async def elsewhere():
        async def slow():
            await asyncio.get_running_loop().run_in_executor(None, gate.wait)
            done.append("elsewhere")

        mirror.spawn(slow)
        started.set()
        await mirror.join()

    async def here():
        async def quick():
            done.append("here")

        mirror.spawn(quick)
        await mirror.join()

    started = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
    thread.start()
    started.wait()
    try:
        asyncio.run(here())
        assert done == ["here"]
    finally:
        gate.set()
        thread.join()

    assert done == ["here", "elsewhere"]


@pytest.mark.parametrize("steps", [0, 1])
def test_a_loop_that_shuts_down_says_nothing_of_mirrored_runs(clock, steps):
    """Closed with or without cancelling, before or after they have begun."""
    said = []

    async def story():
        mirror.spawn(asyncio.Event().wait)
        for _ in range(steps):
            await asyncio.sleep(0)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mirror = Mirror(clock)
        asyncio.run(story())
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda _, context: said.append(context))
        loop.run_until_complete(story())
        loop.close()
        asyncio.run(story())  # forgets what the closed loop left
        del loop
        gc.collect()

    assert not said


def test_a_closed_loop_gives_its_room_back(clock):
    """Its tasks will never end; they do not count any more."""
    mirror = Mirror(clock, capacity=1)

    async def story():
        return mirror.spawn(asyncio.Event().wait)

    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(story())
    loop.close()

    assert asyncio.run(story())


def test_leaving_the_host_joins_mirrored_runs(tmp_path):
    """What was asked for before the end is in the last window."""
    plan = legion.Plan.from_dict(
        {
            "plan": "p",
            "candidate": "2",
            "baseline": "1",
            "unit": "task",
            "rollback": {"to": "1", "within": "1m"},
            "stages": [
                {"name": "shadow", "traffic": "0%", "mirror": "100%", "dwell": "1h"}
            ],
        }
    )
    ran = []

    async def slow():
        for _ in range(5):
            await asyncio.sleep(0)
        ran.append(1)

    async def control():
        return 1

    async def story():
        host = legion.Host.open(plan, state=tmp_path, clock=ManualClock(1e9))
        host.tick()
        async with host:
            await host.engine.run("1", control=control, candidate=control, mirror=slow)
            assert not ran

    asyncio.run(story())
    assert ran == [1]
