"""
Going on after a restart with 10,000 recorded events, beside a plain read of the file.

The file holds a rollout at 25 % of users, 10,000 entries in the journal and 10,000
users who went bad. The peer reads the same rows with sqlite3 and nothing else: the bad
users, the rollout's row and the journal's head. `Host.open` also wires the gate, the
journal, the registry and the watchdog; the plugins, which do not depend on the file, are
measured by themselves. Wall time, as the file is part of it.

    python benchmarks/bench_resume.py [ROUNDS]
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
import tempfile
import time

from collections.abc import Callable
from pathlib import Path

from rounds import show, show_ratios, take_turns

import legion

from legion.store import Database
from legion.testing import ManualClock


EVENTS = 10_000
PLAN = legion.Plan.from_dict(
    {
        "plan": "resume",
        "candidate": "2.0.0",
        "baseline": "1.0.0",
        "unit": "user",
        "rollback": {"to": "v1", "within": "1m"},
        "triggers": {
            "within 1m": [
                {"metric": "error_rate", "versus": "baseline", "worse_by": "50%"}
            ]
        },
        "stages": [
            {
                "name": "canary",
                "traffic": "25%",
                "dwell": "48h",
                "validate": [{"metric": "error_rate", "below": "5%"}],
            }
        ],
    }
)


def fill(folder: Path) -> None:
    """Make a rollout that has seen much."""
    clock = ManualClock(1e9)
    with legion.Host.open(PLAN, state=folder, clock=clock) as host:
        for turn in range(3):
            for i in range(500):
                host.engine.run_sync(f"{turn}-{i}", control=int, candidate=int)
            clock.advance(300.0)
            host.tick()
        stay, epoch = host.engine.state.stay, host.engine.state.entry
    with Database(folder / "legion.db") as database:
        journal = legion.Journal(database, clock=clock)
        with database.transaction() as connection:
            while journal.size < EVENTS:
                journal.append({"n": journal.size})
            connection.executemany(
                "INSERT INTO bad_unit VALUES ('resume', ?, 'error_rate', ?, ?)",
                [(stay, n.to_bytes(8), epoch) for n in range(EVENTS)],
            )


def milliseconds(act: Callable[[], object]) -> float:
    """Return the wall time of one call."""
    began_s = time.perf_counter()
    act()
    return (time.perf_counter() - began_s) * 1e3


def read(path: Path) -> None:
    """Read what a rollout goes on from, and make nothing of it."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("SELECT metric, unit FROM bad_unit").fetchall()
        connection.execute("SELECT body FROM rollout").fetchall()
        connection.execute("SELECT size, root, peaks FROM journal_head").fetchall()


def main(rounds: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder)
        clock = ManualClock(2e9)

        def one_round() -> dict[str, float]:
            plugins = legion.Plugins()
            with contextlib.ExitStack() as stack:
                host = legion.Host.open(
                    PLAN, state=folder, clock=clock, plugins=legion.Plugins()
                )
                stack.enter_context(host)
                assert (
                    len(host.engine._lessons.learner.known.units["error_rate"])
                    == EVENTS
                )
                first = milliseconds(host.tick)
            opened: list[legion.Host | legion.StageEngine] = []

            def host_again() -> None:
                opened.append(
                    legion.Host.open(PLAN, state=folder, clock=clock, plugins=plugins)
                )

            def engine_again() -> None:
                opened.append(legion.StageEngine(PLAN, state=folder / "legion.db"))

            def plugins_again() -> None:
                legion.Plugins()

            times = {
                "Host.open": milliseconds(host_again),
                "its first tick": first,
                "StageEngine, with its plugins": milliseconds(engine_again),
                "Plugins() alone": milliseconds(plugins_again),
                "sqlite3": milliseconds(lambda: read(folder / "legion.db")),
            }
            for one in opened:
                one.close()
            return times

        times = take_turns(rounds, one_round)
    show(f"Going on after a restart, {EVENTS:,} events", times, unit="ms")
    show_ratios(times, [("Host.open", "sqlite3")])


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
