"""The state file under real faults: forks, processes, kills, a full disk."""

from __future__ import annotations

import json
import os
import tempfile

from pathlib import Path

import pytest

from forked import script

from legion.store import Database


SCHEMA = "CREATE TABLE IF NOT EXISTS note (block INTEGER, n INTEGER);"
PRELUDE = f"""
import json, os, random, resource, signal, sys
from forked import child, wait
from legion.exceptions import StateError
from legion.store import Database
path, SCHEMA = sys.argv[1], {SCHEMA!r}
def put(database, n, durable=True):
    with database.transaction(durable=durable) as connection:
        connection.execute("INSERT INTO note VALUES (?, 0)", (n,))
def notes(database):
    return [n for (n,) in database.read("SELECT block FROM note ORDER BY rowid")]
"""


def told(body, *arguments):
    """Run *body* in a fresh interpreter and return what it printed."""
    return script(PRELUDE + body, *arguments)


def test_a_forked_child_opens_its_own_handle(tmp_path):
    """Parent and child write in turns after a fork, and the file stays whole."""
    out = told(
        """
database = Database(path)
database.ensure(SCHEMA)
put(database, 1)
def act():
    assert 1 in notes(database)
    for n in range(10, 30):
        put(database, n, durable=False)
    database.close()
pids = [child(act) for _ in range(3)]
for n in range(30, 50):
    put(database, n, durable=False)
assert [wait(pid) for pid in pids] == [0, 0, 0]
put(database, 99)
print(len(notes(database)), database.check())
database.close()
""",
        tmp_path / "state.db",
    )
    assert out == "82 []\n"


def test_a_fork_inside_a_transaction_leaves_it_to_the_parent(tmp_path):
    """The child has no part in its parent's transaction; the parent still commits."""
    out = told(
        """
database = Database(path, timeout_s=0.01)
database.ensure(SCHEMA)
def act():
    assert notes(database) == []
    try:
        put(database, 2)
    except StateError as error:
        assert "another process" in str(error)
    else:
        raise SystemExit(1)
with database.transaction() as connection:
    connection.execute("INSERT INTO note VALUES (1, 0)")
    assert wait(child(act)) == 0
print(notes(database), database.check())
database.close()
""",
        tmp_path / "state.db",
    )
    assert out == "[1] []\n"


def test_leaving_a_parents_transaction_in_the_child_is_an_error(tmp_path):
    """The child that falls out of the block is told; nothing is committed twice."""
    out = told(
        """
database = Database(path)
database.ensure(SCHEMA)
try:
    with database.transaction() as connection:
        connection.execute("INSERT INTO note VALUES (1, 0)")
        pid = os.fork()
        if pid:
            assert wait(pid) == 7
except StateError as error:
    assert "forked inside" in str(error)
    os._exit(7)
if not pid:
    os._exit(1)
print(notes(database), database.check())
database.close()
""",
        tmp_path / "state.db",
    )
    assert out == "[1] []\n"


def test_memory_does_not_pretend_to_survive_a_fork():
    """A child that touches its parent's ``:memory:`` gets an error, not emptiness."""
    out = told(
        """
database = Database(":memory:")
database.ensure(SCHEMA)
def act():
    try:
        notes(database)
    except StateError as error:
        assert "forked" in str(error)
    else:
        raise SystemExit(1)
print(wait(child(act)))
database.close()
""",
        "-",
    )
    assert out == "0\n"


def test_many_processes_open_a_new_file_at_once(tmp_path):
    """Whoever comes first makes it; nobody fails and no write is lost."""
    out = told(
        """
import time
def act():
    os.read(gate, 1)
    with Database(path) as database:
        database.ensure(SCHEMA)
        for n in range(20):
            put(database, n, durable=False)
gate, opener = os.pipe()
pids = [child(act) for _ in range(6)]
os.write(opener, b"......")
assert [wait(pid) for pid in pids] == [0] * 6
with Database(path) as database:
    print(len(notes(database)), database.check())
""",
        tmp_path / "state.db",
    )
    assert out == "120 []\n"


def test_kill_9_never_tears_a_transaction(tmp_path):
    """
    Twenty-five writers are killed at random moments; no block of ten rows is torn.

    A block that was reported as committed is there.
    """
    seed = 20
    print("seed", seed)
    out = told(
        """
rng = random.Random(int(sys.argv[2]))
kills, reported = 25, set()
Database(path).ensure(SCHEMA)
for turn in range(kills):
    reader, writer = os.pipe()
    def act():
        with Database(path) as database:
            block = turn * 1_000_000
            while True:
                block += 1
                with database.transaction(durable=block % 3 == 0) as connection:
                    for n in range(10):
                        connection.execute("INSERT INTO note VALUES (?, ?)", (block, n))
                os.write(writer, f"{block}\\n".encode())
    pid = child(act)
    os.close(writer)
    lines = os.fdopen(reader)
    for _ in range(rng.randrange(1, 12)):
        reported.add(int(lines.readline()))
    os.kill(pid, signal.SIGKILL)
    assert wait(pid) == -signal.SIGKILL
    reported |= {int(line) for line in lines if line.endswith("\\n")}
    lines.close()
with Database(path) as database:
    rows = database.read(
        "SELECT block, count(*), count(DISTINCT n) FROM note GROUP BY 1")
    print(json.dumps({
        "torn": [row for row in rows if row[1:] != (10, 10)],
        "lost": sorted(reported - {row[0] for row in rows}),
        "check": database.check(),
        "reported": len(reported)}))
""",
        tmp_path / "state.db",
        seed,
    )
    found = json.loads(out)
    assert found.pop("reported") >= 25
    assert found == {"torn": [], "lost": [], "check": []}


def test_a_file_size_limit_is_an_error_and_nothing_is_lost(tmp_path):
    """When the system refuses to let the file grow, earlier commits stay readable."""
    out = told(
        """
def act():
    database = Database(path)
    database.ensure(SCHEMA)
    put(database, 1)
    soft = 400_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))
    written = 1
    try:
        while written < 5000:
            with database.transaction() as connection:
                connection.executemany(
                    "INSERT INTO note VALUES (?, ?)",
                    [(written + 1, n) for n in range(2000)])
            written += 1
    except StateError as error:
        assert path in str(error) and "full or failing disk" in str(error), error
    else:
        raise SystemExit(1)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert max(notes(database)) == written
    put(database, written + 1)
    assert database.check() == []
    database.close()
print(wait(child(act)))
""",
        tmp_path / "state.db",
    )
    assert out == "0\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_a_file_of_somebody_else_is_an_error_that_says_so():
    """A user who may read but not write is told so, with the path."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.db"
        with Database(path) as database:
            database.ensure(SCHEMA)
        path.chmod(0o444)
        Path(folder).chmod(0o555)
        out = told(
            """
def act():
    os.setgid(65534)
    os.setuid(65534)
    try:
        with Database(path) as database:
            put(database, 1)
    except StateError as error:
        assert path in str(error) and "user may" in str(error), error
    else:
        raise SystemExit(1)
print(wait(child(act)))
""",
            path,
        )
        Path(folder).chmod(0o700)
    assert out == "0\n"
