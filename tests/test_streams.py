"""Answers that come in parts: whose arm is seen while the reader has the word."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc

import pytest

import legion

from legion.model import Arm, Count
from legion.stages import current_trial
from legion.stages.exposure import Exposure
from legion.stages.mirror import Mirror
from legion.stages.plan import Feature
from legion.stages.splitter import Splitter
from legion.stages.traffic import Traffic
from legion.telemetry import Telemetry
from legion.testing import ManualClock


CONTROL, CANDIDATE = Arm.CONTROL, Arm.CANDIDATE
ON = Feature(enabled=True, settings={"k": 3})


def made(*, share=0.5, mirror=0.0):
    clock = ManualClock()
    return Traffic(
        Exposure(
            plan="p", stage="canary", share=share, mirror=mirror, features={"new": ON}
        ),
        Mirror(clock),
        splitter=Splitter("p"),
        telemetry=Telemetry(clock),
        clock=clock,
    )


@pytest.fixture
def traffic():
    return made()


def close(traffic):
    return traffic._telemetry.close(exposure=traffic.exposure.digest)


def unit_of(traffic, arm):
    return next(u for u in map(str, range(1000)) if traffic.assign(u) is arm)


async def read(traffic, unit, ask, n=None, **given):
    """Read the first *n* parts of a stream under asyncio."""
    stream = await traffic.run(unit, control=ask, candidate=ask, **given)
    seen = []
    async for part in stream:
        seen.append(part)
        if len(seen) == n:
            break
    await stream.aclose()
    return seen


def test_a_suspended_generator_lends_its_arm_to_no_other_unit(traffic):
    """Its trial is the current one between two parts; another unit has its own arm."""
    control, candidate = (unit_of(traffic, arm) for arm in (CONTROL, CANDIDATE))

    def answer():
        with traffic.trial(candidate):
            yield traffic.feature("new", candidate).enabled
            yield traffic.feature("new", candidate).enabled

    parts = answer()
    assert next(parts)
    assert not traffic.feature("new", control).enabled
    with traffic.trial(control) as inner:
        assert current_trial() is inner
        assert not traffic.feature("new", control).enabled
    assert list(parts) == [True]
    assert current_trial() is None


def test_a_retreat_reaches_others_behind_a_suspended_generator(traffic):
    """What was exposed when it began counts for its own unit alone."""
    units = (u for u in map(str, range(99)) if traffic.assign(u) is CANDIDATE)
    one, other = next(units), next(units)

    def answer():
        with traffic.trial(one):
            yield 1

    parts = answer()
    next(parts)
    traffic.exposure = Exposure(plan="p")
    assert traffic.feature("new", one).enabled
    assert not traffic.feature("new", other).enabled
    parts.close()


def test_interleaved_generators_take_no_trial_from_each_other(traffic):
    """One that ends first leaves the other's as it was, and none when both are over."""

    def answer(unit):
        with traffic.trial(unit):
            for _ in range(3):
                yield current_trial()

    one, other = answer("one"), answer("other")
    next(one)
    next(other)
    one.close()
    assert next(other).unit == "other"
    other.close()
    assert current_trial() is None


def test_generators_that_overlap_for_ever_keep_no_trial_alive(traffic):
    """What began inside of one that has ended holds on to nothing of it."""

    def answer(unit):
        with traffic.trial(unit):
            yield

    def served(n):
        before = None
        for unit in map(str, range(n)):
            parts = answer(unit)
            next(parts)
            if before is not None:
                before.close()
            before = parts
        gc.collect()
        return sum(type(each).__name__ == "Trial" for each in gc.get_objects())

    context = contextvars.copy_context()
    assert context.run(served, 50) <= 3


def test_a_marked_tool_is_nobodys_call_once_the_trial_is_over(traffic):
    """A trial that a generator left behind notes no calls of those who come later."""
    look = legion.tool(len, effects=False)

    def answer(unit):
        with traffic.trial(unit) as trial:
            yield trial

    one, other = answer("one"), answer("other")
    first, second = next(one), next(other)
    one.close()
    look("A")
    assert (len(first.calls.made), len(second.calls.made)) == (0, 1)


@pytest.mark.parametrize("arm", Arm)
def test_a_generator_function_is_a_trial_until_its_end(traffic, arm):
    """Each part is made in its trial, and the reader is in none between two."""
    unit, on = unit_of(traffic, arm), arm is CANDIDATE

    def answer(n):
        for _ in range(n):
            yield traffic.feature("new", unit).enabled, current_trial().unit

    stream = traffic.run_sync(unit, control=answer, candidate=answer, args=(3,))
    assert close(traffic).window(arm).exposed == 0
    for part in stream:
        assert part == (on, unit)
        assert current_trial() is None
    seen = close(traffic).window(arm)

    assert seen.counts["error_rate"] == Count(0, 1)
    assert seen.events("latency") == 1


def test_a_stream_is_as_long_as_it_is_read(traffic):
    """Its latency is that until the last part, by machine time."""

    def answer():
        for _ in range(3):
            traffic._clock.advance(2)
            yield 1

    for _ in traffic.run_sync("1", control=answer, candidate=answer):
        pass
    seen = close(traffic)

    assert sum(seen.window(arm).mean("latency") or 0 for arm in Arm) == 6


def test_a_stream_that_raises_has_failed(traffic):
    """Half an answer is none."""

    def answer():
        yield 1
        raise KeyError("cut off")

    unit = unit_of(traffic, CANDIDATE)
    stream = traffic.run_sync(unit, control=answer, candidate=answer)
    assert next(stream) == 1
    with pytest.raises(KeyError):
        next(stream)

    assert close(traffic).candidate.counts["error_rate"] == Count(1, 1)


def test_a_stream_that_is_not_read_to_its_end_has_no_outcome(traffic):
    """One that nobody began was no exposure either; what it opened is closed in it."""
    closed = []

    def answer():
        try:
            yield 1
            yield 2
        finally:
            closed.append(current_trial().unit)

    unit = unit_of(traffic, CANDIDATE)
    traffic.run_sync(unit, control=answer, candidate=answer)
    stream = traffic.run_sync(unit, control=answer, candidate=answer)
    next(stream)
    stream.close()
    seen = close(traffic).candidate

    assert closed == [unit]
    assert not seen.counts
    assert (seen.exposed, seen.cancelled) == (1, 1)


def test_a_stream_is_read_from_any_context(traffic):
    """A server that reads each part in a copy of the context keeps the trial whole."""

    def answer():
        yield current_trial().unit
        yield current_trial().unit

    stream = traffic.run_sync("1", control=answer, candidate=answer)
    seen = [contextvars.copy_context().run(next, stream, None) for _ in range(3)]

    assert seen == ["1", "1", None]
    assert current_trial() is None


def test_interleaved_streams_are_apart_under_asyncio_too(traffic):
    """One task that reads two async generators by turns mixes nothing up."""

    async def answer():
        for _ in range(3):
            await asyncio.sleep(0)
            yield current_trial().unit

    async def main():
        streams = [
            await traffic.run(unit, control=answer, candidate=answer)
            for unit in ("one", "other")
        ]
        seen = []
        for _ in range(3):
            seen += [await anext(stream) for stream in streams]
            assert current_trial() is None
        for stream in streams:
            assert await anext(stream, None) is None
        return seen

    assert asyncio.run(main()) == ["one", "other"] * 3
    assert sum(close(traffic).window(arm).events("error_rate") or 0 for arm in Arm) == 2


def test_a_stream_that_is_cancelled_has_no_outcome(traffic):
    """The task that reads it is cancelled while a part is being made."""

    async def answer():
        yield 1
        await asyncio.Event().wait()

    async def main():
        reader = asyncio.create_task(read(traffic, unit, answer))
        for _ in range(5):
            await asyncio.sleep(0)
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)

    unit = unit_of(traffic, CANDIDATE)
    asyncio.run(main())

    seen = close(traffic).candidate
    assert (seen.exposed, seen.cancelled, dict(seen.counts)) == (1, 1, {})


class Streams:
    def __call__(self):
        yield 1
        yield 2


def parts():
    yield 1
    yield 2


async def aparts():
    yield 1
    yield 2


@pytest.mark.parametrize("ask", [parts, functools.partial(parts), Streams()])
def test_whatever_is_a_generator_function_is_read_as_one(traffic, ask):
    """A partial one and an object that is called, in plain code and in async code."""

    async def main():
        return list(await traffic.run("1", control=ask, candidate=ask))

    assert list(traffic.run_sync("1", control=ask, candidate=ask)) == [1, 2]
    assert asyncio.run(main()) == [1, 2]


@pytest.mark.parametrize("made_by", [parts, aparts])
def test_a_function_that_returns_a_generator_has_not_answered(traffic, made_by):
    """It would be an answer in no time that cannot fail: the error says what to write."""

    def ask():
        return made_by()

    with pytest.raises(TypeError, match="write the generator function itself"):
        asyncio.run(traffic.run("1", control=ask, candidate=ask))
    with pytest.raises(TypeError, match="write"):
        traffic.run_sync("1", control=ask, candidate=ask)


def test_a_mirrored_stream_is_compared_by_its_parts():
    """`agree` gets the lists of both, once control's is read to its end."""
    traffic, given = made(share=0.0, mirror=1.0), []

    def mirror():
        yield "a"
        yield "c" if traffic.feature("new", "1").enabled else "b"

    def control():
        yield "a"
        yield "b"

    def agree(one, other):
        given.append((one, other))
        return one == other

    stream = traffic.run_sync(
        "1", control=control, candidate=pytest.fail, mirror=mirror, agree=agree
    )
    next(stream)
    assert traffic.mirror.drain() == 0
    assert list(stream) == ["b"]
    assert traffic.mirror.drain() == 1
    seen = close(traffic).candidate

    assert given == [(["a", "b"], ["a", "c"])]
    assert seen.counts["disagreement"] == Count(1, 1)
    assert seen.counts["error_rate"] == Count(0, 1)


def test_a_mirrored_stream_is_compared_under_asyncio_too():
    """The mirrored run reads the candidate's stream to its end, in the background."""
    traffic = made(share=0.0, mirror=1.0)

    async def broken():
        yield 1
        raise KeyError

    async def main():
        for unit, mirror in (("1", aparts), ("2", broken), ("3", parts)):
            assert await read(traffic, unit, aparts, mirror=mirror) == [1, 2]
        await traffic.mirror.join()

    asyncio.run(main())
    seen = close(traffic).candidate

    assert seen.counts["disagreement"] == Count(0, 2)
    assert seen.counts["error_rate"] == Count(1, 3)
