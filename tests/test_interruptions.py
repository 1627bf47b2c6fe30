"""What is interrupted, cancelled, or takes a day: end to end, through a host's file."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars

from collections import Counter

import pytest

from stages_rig import plan

import legion

from legion.model import Arm
from legion.store.owner import this_process
from legion.testing import ManualClock


HOUR = 3600.0
RULES = plan(
    matures={"error_rate": "2h", "default": "0s"},
    stages=[{"name": "half", "traffic": "50%", "dwell": "7d"}],
)


class GraphBubbleUp(Exception):  # noqa: N818 - LangGraph's name
    """Stands for the base of what LangGraph raises to stop without an error."""

    __module__ = "langgraph.errors"


class GraphInterrupt(GraphBubbleUp):
    """Stands for what it raises where a graph waits for a person."""


DEAD = f"{this_process().rsplit(':', 2)[0]}:999999999:0.00/3"
"""A process of this machine that is no more."""


class Life:
    """One rollout over several lives of its process."""

    def __init__(self, folder, rules=RULES):
        self.folder, self.clock, self.rules = folder, ManualClock(1e9), rules
        self.host = self.opened()
        self.turn()

    def opened(self):
        return legion.Host.open(self.rules, state=self.folder, clock=self.clock)

    def restart(self):
        self.host.close()
        self.host = self.opened()

    def killed(self):
        """Begin another life without having ended this one."""
        database = self.host.engine._pointer._file.database
        with database.transaction(durable=True) as connection:
            for table, column in (("worker", "process"), ("lease", "owner")):
                connection.execute(f"UPDATE {table} SET {column} = ?", (DEAD,))
        database.close()
        self.host = self.opened()

    def turn(self, hours=0.0):
        self.clock.advance(hours * HOUR)
        return self.host.tick().observation

    def unit(self, arm):
        names = (f"task-{n}" for n in range(1000))
        return next(name for name in names if self.host.engine.assign(name) is arm)


@pytest.fixture
def life(tmp_path):
    made = Life(tmp_path)
    yield made
    made.host.close()


def units(observation, arm):
    """Return how many units of *arm* came of age, and how many of them bad."""
    window = observation.window(arm)
    bad = window.bad_units.get("error_rate", ())
    return window.units.get("error_rate", 0), len(bad)


def interrupted(life, unit):
    def ask():
        raise GraphInterrupt

    with pytest.raises(GraphInterrupt):
        life.host.engine.run_sync(unit, control=ask, candidate=ask)


@pytest.mark.parametrize("arm", list(Arm))
@pytest.mark.parametrize("restarted", [False, True])
def test_a_graph_resumed_the_next_day_keeps_its_arm(life, arm, restarted):
    """Meanwhile it has no outcome; its age begins anew when it comes back."""
    unit = life.unit(arm)
    interrupted(life, unit)
    assert units(life.turn(3), arm) == (0, 0)
    if restarted:
        life.restart()
    assert units(life.turn(21), arm) == (0, 0)
    answer = life.host.engine.run_sync(
        unit, control=lambda: Arm.CONTROL, candidate=lambda: Arm.CANDIDATE
    )

    assert answer is arm
    assert units(life.turn(1), arm) == (0, 0)
    assert units(life.turn(1), arm) == (1, 0)


@pytest.mark.parametrize("arm", list(Arm))
def test_a_task_that_takes_a_day_is_bad_at_its_age(life, arm):
    """It is not waited for, and that it succeeds in the end changes nothing."""
    trial = life.host.engine.trial(life.unit(arm))
    with trial:
        assert units(life.turn(1.9), arm) == (0, 0)
        assert units(life.turn(0.2), arm) == (1, 1)
        life.clock.advance(22 * HOUR)
    assert units(life.turn(), arm) == (0, 0)
    assert units(life.turn(3), arm) == (0, 0)


@pytest.mark.parametrize("arm", list(Arm))
def test_a_task_whose_process_dies_is_bad_at_its_age(life, arm):
    """It was begun, and written down at a look: the next process knows it by its age."""
    # In a context of its own, as what is begun here never ends.
    begun = life.host.engine.trial(life.unit(arm))
    contextvars.copy_context().run(begun.__enter__)
    assert units(life.turn(1), arm) == (0, 0)
    life.killed()

    assert units(life.turn(0.5), arm) == (0, 0)
    assert units(life.turn(0.6), arm) == (1, 1)


@pytest.mark.parametrize("ends", [Life.restart, Life.killed])
@pytest.mark.parametrize("steps_h", [0, -30, 30])
def test_a_restart_makes_no_arm_look_worse(tmp_path, ends, steps_h):
    """Who had not come of age counts in both arms, good or bad, whatever the date."""
    life = Life(tmp_path)
    asked, failed = Counter(), Counter()

    def answer():
        if number % 10 == 0:
            raise KeyError(number)

    for number in range(200):
        arm = life.host.engine.assign(f"task-{number}")
        asked[arm] += 1
        failed[arm] += number % 10 == 0
        with contextlib.suppress(KeyError):
            life.host.engine.run_sync(
                f"task-{number}", control=answer, candidate=answer
            )
    life.turn(1)
    life.clock.start_s += steps_h * HOUR
    ends(life)
    found = [life.turn(0.1), life.turn(1), life.turn(2)]
    life.host.close()
    told = {arm: [units(one, arm) for one in found] for arm in Arm}

    for arm in Arm:
        assert tuple(map(sum, zip(*told[arm], strict=True))) == (
            asked[arm],
            failed[arm],
        )
    # Each unit at one age: that in one arm is that in the other.
    assert len({tuple(n > 0 for n, _ in told[arm]) for arm in Arm}) == 1


def test_a_restart_takes_nothing_back_that_is_within_its_limit(tmp_path):
    """At 100 % with a limit of 5 %, one of a hundred fails, as before the restart."""
    rules = plan(
        matures={"error_rate": "2h", "default": "0s"},
        triggers={"within 1m": [{"metric": "error_rate", "above": "5%"}]},
        stages=[{"name": "everyone", "traffic": "100%", "dwell": "7d"}],
    )
    life, number = Life(tmp_path, rules), 0

    def answer():
        if number % 100 == 0:
            raise KeyError(number)

    for look in range(60):
        for _ in range(60):
            number += 1
            with contextlib.suppress(KeyError):
                life.host.engine.run_sync(f"{number}", control=answer, candidate=answer)
        life.turn(0.05)
        if look == 30:
            life.restart()
    seen = life.turn(2)

    assert units(seen, Arm.CANDIDATE)[0] > 2000
    assert life.host.engine.state.stage == "everyone"
    assert life.host.engine.exposure.share == 1.0
    life.host.close()


@pytest.mark.parametrize("arm", list(Arm))
def test_a_cancelled_task_has_no_outcome(life, arm):
    """Whoever cancels says nothing of the candidate; coming back it is the same unit."""
    unit = life.unit(arm)

    async def forever():
        await asyncio.Event().wait()

    async def cancelled():
        run = life.host.engine.run(unit, control=forever, candidate=forever)
        task = asyncio.ensure_future(run)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert units(life.turn(30), arm) == (0, 0)

    async def fails():
        raise ValueError(unit)

    with pytest.raises(ValueError, match=unit):
        asyncio.run(life.host.engine.run(unit, control=fails, candidate=fails))
    assert units(life.turn(2), arm) == (1, 1)
