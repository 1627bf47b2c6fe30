"""Children that are forked and killed, by a fresh interpreter: it has one thread."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback

from pathlib import Path


def script(program, *arguments, timeout_s=250):
    """
    Run *program* in a fresh interpreter and return what it printed.

    It has the arguments in `sys.argv` and imports from the tests as they do.
    """
    folders = [str(Path(__file__).parent), *filter(None, sys.path)]
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
    return done.stdout


def child(act, *arguments):
    """Fork a process that does *act* and nothing else."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            act(*arguments)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return pid


def wait(pid):
    """Wait for the end of a child and return its exit code, below 0 for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
