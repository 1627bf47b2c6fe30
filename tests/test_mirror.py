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


SHADOW = {
    "plan": "p",
    "candidate": "2",
    "baseline": "1",
    "unit": "task",
    "rollback": {"to": "1", "within": "1m"},
    "stages": [{"name": "shadow", "traffic": "0%", "mirror": "100%", "dwell": "1h"}],
}


@pytest.fixture
def host(tmp_path):
    clock = ManualClock(1e9)
    plan = legion.Plan.from_dict(SHADOW)
    with legion.Host.open(plan, state=tmp_path, clock=clock) as host:
        host.tick()
        assert host.engine.state.stage == "shadow"
        clock.advance(host.interval_s)
        yield host


def lost(host):
    """Return how many mirrored runs the next window misses, once it says why."""
    window = host.tick().observation.candidate
    assert ("mirror" in window.errors) is (window.unmirrored > 0)
    if window.unmirrored:
        assert "too many waited" in window.errors["mirror"]
        assert "or their event loop was closed; await" in window.errors["mirror"]
        assert "mirror.join() before it ends" in window.errors["mirror"]
    return window.unmirrored


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("cancels", [False, True])
def test_a_mirrored_run_whose_loop_ends_counts_as_dropped(host, begun, cancels):
    """Whether the loop cancels it, as `asyncio.run` does, or is only closed."""

    async def control():
        return 1

    async def story():
        await host.engine.run(
            "1", control=control, candidate=control, mirror=asyncio.Event().wait
        )
        if begun:
            await asyncio.sleep(0)

    if cancels:
        asyncio.run(story())
    else:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(story())
        loop.close()

    assert lost(host) == 1
    assert lost(host) == 0


def test_a_mirrored_run_that_was_waited_for_is_not_dropped(host):
    """With `join` before the loop ends, nothing is missed."""

    async def answer():
        return 1

    async def story():
        await host.engine.run("1", control=answer, candidate=answer, mirror=answer)
        await host.engine.traffic.mirror.join()

    asyncio.run(story())
    assert lost(host) == 0


def test_what_waits_when_the_exposure_moves_is_dropped(host):
    """It would compare what nobody is exposed to; it counts as missing, now."""
    ran = []
    host.engine.run_sync("1", control=int, candidate=int, mirror=lambda: ran.append(1))
    host.engine.rollback("enough")

    assert lost(host) == 1
    assert not ran


class Held:
    """A mirrored run that goes on until it is let go."""

    def __init__(self):
        self.begun, self.go, self.thread = threading.Event(), threading.Event(), None

    def __call__(self):
        self.thread = threading.current_thread()
        self.begun.set()
        assert self.go.wait(60)


def test_a_slow_mirrored_run_holds_neither_the_latch_nor_the_end_up(tmp_path):
    """It has a thread of its own; the wheel turns, the host closes, others are left."""
    plan, held, after = legion.Plan.from_dict(SHADOW), Held(), []
    host = legion.Host.open(plan, state=tmp_path, clock=ManualClock(1e9))
    host.tick()
    back, poll = threading.Event(), host.engine.poll

    def watched():
        poll()
        if not host.engine.exposure.mirror:
            back.set()

    host.engine.poll = watched
    try:
        host.engine.run_sync("1", control=int, candidate=int, mirror=held)
        host.engine.run_sync(
            "2", control=int, candidate=int, mirror=lambda: after.append(1)
        )
        host.start(watch_s=0.01)
        assert held.begun.wait(20)
        with legion.Host.open(plan, state=tmp_path) as other:
            other.engine.rollback("enough")
        assert back.wait(20)
        host.close()
        assert held.thread.is_alive()
    finally:
        held.go.set()
        host.close()
    held.thread.join(20)

    assert not held.thread.is_alive()
    assert not after


def test_the_turns_of_a_started_host_run_nothing_mirrored(host):
    """Those by hand do."""
    threads = []

    def note():
        threads.append(threading.current_thread().name)

    host.engine.run_sync("1", control=int, candidate=int, mirror=note)
    host._wheel.tick(mirrored=False)
    assert not threads
    host.tick()
    assert threads == [threading.current_thread().name]


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
