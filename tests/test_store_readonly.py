"""A state file that is only looked at: nothing is written, wherever it lies."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile

from pathlib import Path

import pytest

from somebody_elses import entered_by_all, everything, nobody

from legion.exceptions import StateCorruptError, StateError
from legion.store import Database


SCHEMA = "CREATE TABLE IF NOT EXISTS note (n INTEGER PRIMARY KEY);"
WRITER = """
import os, sys
from legion.store import Database
database = Database(sys.argv[1])
database.ensure("CREATE TABLE IF NOT EXISTS note (n INTEGER PRIMARY KEY);")
with database.transaction(durable=True) as connection:
    connection.execute("INSERT INTO note VALUES (2)")
"""
KILLED = WRITER + "os._exit(1)"
ALIVE = WRITER + "print(flush=True); sys.stdin.read(); database.close()"


@pytest.fixture
def folder():
    with entered_by_all() as folder:
        yield folder


def closed(path):
    """Leave a file with one row, as a host that ended leaves it."""
    with Database(path) as database:
        database.ensure(SCHEMA)
        with database.transaction() as connection:
            connection.execute("INSERT INTO note VALUES (1)")


def killed(path):
    """Leave a file whose second row is in the log, as kill -9 leaves it."""
    closed(path)
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert Path(f"{path}-wal").stat().st_size


def copied_with_its_log(path):
    """Leave the file and its log, and not the log's index."""
    killed(path)
    Path(f"{path}-shm").unlink()


def notes(path):
    with Database(path, readonly=True) as database:
        assert database.check() == []
        return [n for (n,) in database.read("SELECT n FROM note ORDER BY n")]


LEFT = [(closed, [1]), (killed, [1, 2]), (copied_with_its_log, [1, 2])]


@pytest.mark.parametrize(
    ("leave", "rows"), LEFT, ids=lambda x: getattr(x, "__name__", "")
)
@pytest.mark.parametrize("may_write", [True, False])
def test_a_look_writes_nothing_and_sees_all(folder, leave, rows, may_write):
    """Neither the file nor anything beside it, where it could and where it may not."""
    path = folder / "state.db"
    leave(path)
    before = everything(folder)
    with contextlib.nullcontext() if may_write else nobody(folder):
        if not may_write:
            before = everything(folder)
        assert notes(path) == rows
        after = everything(folder)

    assert after == before


@pytest.mark.parametrize("may_write", [True, False])
def test_a_look_beside_a_live_process_sees_what_it_has_committed(folder, may_write):
    """Its newest commit is in the log; the look disturbs neither."""
    path = folder / "state.db"
    closed(path)
    alive = subprocess.Popen(
        [sys.executable, "-c", ALIVE, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    alive.stdout.readline()
    before = everything(folder)
    with contextlib.nullcontext() if may_write else nobody(folder):
        assert notes(path) == [1, 2]
    assert everything(folder) == before
    alive.communicate()
    assert alive.returncode == 0


def test_a_link_is_followed_to_its_log(folder):
    """SQLite keeps the log beside the file, not beside the link."""
    killed(folder / "state.db")
    (folder / "link.db").symlink_to("state.db")

    assert notes(folder / "link.db") == [1, 2]


def test_the_copy_of_a_log_goes_with_the_look(folder, monkeypatch):
    """Nothing of it stays behind elsewhere."""
    aside = folder / "aside"
    aside.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(aside))
    copied_with_its_log(folder / "state.db")

    assert notes(folder / "state.db") == [1, 2]
    assert not list(aside.iterdir())


def test_writing_is_refused(folder):
    """A transaction is an error that says how to open it."""
    closed(folder / "state.db")
    with Database(folder / "state.db", readonly=True) as database:
        database.ensure(SCHEMA)
        with (
            pytest.raises(StateError, match="without readonly=True"),
            database.transaction(durable=False),
        ):
            pass
        with pytest.raises(StateError):
            database.read("INSERT INTO note VALUES (3) RETURNING n")


def test_a_change_meanwhile_is_noticed(folder):
    """A file nobody had open is read as one that does not change; if it does, say so."""
    path = folder / "state.db"
    closed(path)
    with Database(path, readonly=True) as database:
        with Database(path) as other, other.transaction() as connection:
            connection.execute("INSERT INTO note VALUES (7)")
        with pytest.raises(StateError, match="written to while it was read"):
            database.read("SELECT n FROM note")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nowhere.db", "no such file"),
        (".", "is a directory"),
        ("empty.db", "is empty"),
        ("scrap.db", "no state file"),
        ("tables.db", "another program's"),
        ("bare.db", "nothing was ever written"),
        ("text.db", "no state file"),
    ],
)
def test_what_is_no_state_file_is_refused_and_left_alone(folder, name, why):
    """It does not become one."""
    (folder / "empty.db").touch()
    (folder / "scrap.db").write_bytes(b"scrap")
    (folder / "text.db").write_bytes(b"not a database" * 100)
    with contextlib.closing(sqlite3.connect(folder / "tables.db")) as other:
        other.execute("CREATE TABLE theirs (x)")
    with contextlib.closing(sqlite3.connect(folder / "bare.db")) as other:
        other.execute("PRAGMA journal_mode = WAL").fetchone()
        other.execute("VACUUM")
    before = everything(folder)
    with pytest.raises(StateError, match=why) as caught:
        Database(folder / name, readonly=True)

    assert "write" in str(caught.value)
    assert everything(folder) == before


def test_what_was_never_written_in_it_is_told(folder):
    """A state file of something else has none of the tables."""
    shutil.copyfile(_closed(folder / "state.db"), folder / "copy.db")
    with Database(folder / "copy.db", readonly=True) as database:
        database.ensure("CREATE TABLE IF NOT EXISTS other (n INTEGER);")
        with pytest.raises(StateError, match="nothing of that kind") as caught:
            database.read("SELECT n FROM other")
    assert not isinstance(caught.value, StateCorruptError)


def _closed(path):
    closed(path)
    return path


def test_a_file_that_may_not_be_read_says_so(folder):
    """And nothing about writing."""
    closed(folder / "state.db")
    with nobody(folder):
        try:
            os.seteuid(0)
        except PermissionError:
            pytest.skip("only root can hide a file from nobody here")
        (folder / "state.db").chmod(0o000)
        os.seteuid(65534)
        with pytest.raises(StateError, match="may not be read"):
            Database(folder / "state.db", readonly=True)
