"""
What importing legion costs, beside attrs and pluggy, which it is built on.

    python benchmarks/bench_import.py [ROUNDS]

Every import runs in a fresh interpreter. Byte code goes to a directory of the run, and
the round that is thrown away has written it, for legion and for its peers. CPU time of
that process, user and system; what an interpreter that imports nothing takes is a row,
and is taken off before the ratios.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile

from collections.abc import Mapping

from rounds import Times, show, show_ratios, take_turns


NOTHING = "nothing"
PEER = "attrs, pluggy"
CODE = {
    NOTHING: "",
    PEER: "import attrs, pluggy",
    "legion": "import legion",
    "legion.Plugins": "import legion; legion.Plugins",
    "legion.Plugins, legion.Watchdog": (
        "import legion; legion.Plugins; legion.Watchdog"
    ),
}


def milliseconds(code: str, env: Mapping[str, str]) -> float:
    """Return the CPU time of an interpreter that runs *code*."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True, env=env)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    took_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return took_s * 1e3


def without_start(times: Times) -> Times:
    """Return *times* less what starting the interpreter took in the same round."""
    return {
        name: [a - b for a, b in zip(took, times[NOTHING], strict=True)]
        for name, took in times.items()
        if name != NOTHING
    }


def main(rounds: int) -> None:
    """Measure and print."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as cache:
        env["PYTHONPYCACHEPREFIX"] = cache
        times = take_turns(
            rounds,
            lambda: {name: milliseconds(code, env) for name, code in CODE.items()},
        )
    show("Imports in fresh interpreters", times, unit="ms of CPU time, start included")
    imports = without_start(times)
    show_ratios(imports, [(name, PEER) for name in imports if name != PEER])


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
