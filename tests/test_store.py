"""The state file: transactions, their callbacks, and whose file it is."""

from __future__ import annotations

import logging
import sqlite3
import threading

from contextlib import closing
from pathlib import Path

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from legion.exceptions import StateCorruptError, StateError
from legion.store import Database
from legion.store.format import APPLICATION, FORMAT


SCHEMA = "CREATE TABLE IF NOT EXISTS note (n INTEGER PRIMARY KEY, text TEXT);"


@pytest.fixture
def database(tmp_path):
    with Database(tmp_path / "state.db") as database:
        database.ensure(SCHEMA)
        yield database


def put(database: Database, n: int, *, durable: bool = True) -> None:
    with database.transaction(durable=durable) as connection:
        connection.execute("INSERT INTO note VALUES (?, ?)", (n, f"note {n}"))


def notes(database: Database) -> list[int]:
    return [n for (n,) in database.read("SELECT n FROM note ORDER BY n")]


def test_what_is_committed_is_there_after_reopening(tmp_path):
    """A committed row is read by whoever opens the file next."""
    with Database(tmp_path / "state.db") as database:
        database.ensure(SCHEMA)
        put(database, 1)
    with Database(str(tmp_path / "state.db")) as again:
        assert notes(again) == [1]


def test_a_file_that_is_not_there_any_more_takes_nothing(tmp_path):
    """What nobody could open again is an error, and not written; put back, it goes on."""
    path = tmp_path / "state.db"
    with Database(path) as database:
        database.ensure(SCHEMA)
        put(database, 1)
        away = path.rename(tmp_path / "away.db")
        with pytest.raises(StateError, match="removed or replaced"):
            put(database, 2)
        assert notes(database) == [1]

        away.rename(path)
        put(database, 3)
        assert notes(database) == [1, 3]


def test_a_file_that_was_replaced_takes_nothing(tmp_path):
    """What another file took the place of is not written into either."""
    path = tmp_path / "state.db"
    with Database(tmp_path / "other.db") as other:
        other.ensure(SCHEMA)
    with Database(path) as database:
        database.ensure(SCHEMA)
        (tmp_path / "other.db").replace(path)
        with pytest.raises(StateError, match="removed or replaced"):
            put(database, 1)


def test_a_relative_path_is_meant_from_where_it_was_opened(tmp_path, monkeypatch):
    """A process that goes elsewhere afterwards, as a daemon does, keeps its file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with Database("state.db") as database:
        monkeypatch.chdir("elsewhere")
        database.ensure(SCHEMA)
        put(database, 1)
        assert database.path == str(tmp_path / "state.db")
        assert list((tmp_path / "elsewhere").iterdir()) == []


def test_ensure_may_be_called_again_and_takes_triggers(database):
    """Making tables that are there changes nothing; inner semicolons are fine."""
    put(database, 1)
    trigger = (
        "CREATE TRIGGER IF NOT EXISTS twice AFTER INSERT ON note BEGIN"
        " UPDATE note SET text = 'a;b' WHERE n = new.n; SELECT 1; END;"
    )
    for _ in range(2):
        database.ensure(SCHEMA + trigger)
    put(database, 2)
    assert database.read("SELECT text FROM note") == [("note 1",), ("a;b",)]


def test_a_failed_block_writes_nothing(database):
    """An exception in the block takes back all of it and comes through unchanged."""
    with pytest.raises(KeyError), database.transaction() as connection:  # noqa: PT012 - the block is it
        connection.execute("INSERT INTO note VALUES (1, '')")
        raise KeyError
    assert notes(database) == []


def test_an_inner_transaction_joins_the_outer(database):
    """Joined writes are committed with the outermost block, and not before."""
    with Database(database.path) as other, database.transaction():
        put(database, 1)
        put(database, 2, durable=False)
        assert notes(database) == [1, 2]
        assert notes(other) == []
    assert notes(database) == [1, 2]


def test_a_caught_inner_failure_still_aborts_the_whole(database):
    """Swallowing the error of a joined transaction does not save the outer one."""
    with (  # noqa: PT012 - the block is it
        pytest.raises(StateError, match="inside this one failed") as caught,
        database.transaction(),
    ):
        put(database, 1)
        try:
            with database.transaction():
                raise KeyError(7)
        except KeyError:
            pass
    assert isinstance(caught.value.__cause__, KeyError)
    assert notes(database) == []
    put(database, 2)
    assert notes(database) == [2]


def test_durable_inside_not_durable_is_refused_before_anything_is_done(database):
    """Durability cannot be promised by an inner block; the error says what to write."""
    with database.transaction(durable=False) as connection:
        connection.execute("INSERT INTO note VALUES (1, '')")
        with pytest.raises(StateError, match="durable=True at the outer"):
            put(database, 2)
    assert notes(database) == [1]


def test_durable_commits_are_synced_and_others_are_not(database):
    """The outermost block decides: FULL (2) for durable, NORMAL (1) otherwise."""
    for durable, level in [(True, 2), (False, 1), (True, 2)]:
        with database.transaction(durable=durable) as connection:
            assert connection.execute("PRAGMA synchronous").fetchone() == (level,)


def test_after_commit_waits_for_the_outermost_commit(database):
    """A callback sees the data committed, and the lock free for other threads."""
    seen = []

    def look() -> None:
        other = threading.Thread(target=lambda: seen.append(notes(database)))
        other.start()
        other.join(5)

    with database.transaction():
        with database.transaction():
            database.after_commit(look)
            put(database, 1)
        assert seen == []
    assert seen == [[1]]


def test_after_commit_is_at_once_outside_and_never_after_an_abort(database):
    """No transaction: called now. One that is taken back: not called, not kept."""
    calls = []
    database.after_commit(lambda: calls.append("now"))
    with pytest.raises(KeyError), database.transaction():  # noqa: PT012 - the block is it
        database.after_commit(lambda: calls.append("never"))
        raise KeyError
    put(database, 1)
    assert calls == ["now"]


def test_after_commit_of_another_thread_is_not_mixed_in(database):
    """A thread without a transaction is called at once while another one has one."""
    calls = []
    with database.transaction():
        thread = threading.Thread(
            target=database.after_commit, args=(lambda: calls.append("other"),)
        )
        thread.start()
        thread.join(5)
        assert calls == ["other"]


def test_a_callback_that_raises_is_logged_and_undoes_nothing(database, caplog):
    """The commit stands, later callbacks run, and the traceback is in the log."""
    calls = []

    def broken() -> None:
        raise RuntimeError("broken recorder")

    with caplog.at_level(logging.WARNING, "legion"), database.transaction():
        put(database, 1)
        database.after_commit(broken)
        database.after_commit(lambda: calls.append(1))
    assert notes(database) == [1]
    assert calls == [1]
    assert "broken recorder" in caplog.text


def test_a_callback_may_write(database):
    """A callback can begin a transaction of its own."""
    with database.transaction():
        put(database, 1)
        database.after_commit(lambda: put(database, 2))
    assert notes(database) == [1, 2]


def test_threads_take_turns(database):
    """Read, add one, write: with eight threads no increment is lost."""
    put(database, 0)

    def count() -> None:
        for _ in range(25):
            with database.transaction(durable=False) as connection:
                (n,) = connection.execute("SELECT max(n) FROM note").fetchone()
                connection.execute("UPDATE note SET n = ?", (n + 1,))

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert notes(database) == [200]


def test_a_lock_held_by_another_thread_is_an_error_that_says_so(tmp_path):
    """A thread does not wait for ever for one that hangs in its transaction."""
    caught = []
    with Database(tmp_path / "state.db", timeout_s=0.05) as database:
        database.ensure(SCHEMA)

        def late() -> None:
            try:
                put(database, 1)
            except StateError as error:
                caught.append(str(error))

        with database.transaction():
            thread = threading.Thread(target=late)
            thread.start()
            thread.join(5)
    assert "another thread" in caught[0]
    assert "timeout_s" in caught[0]


def test_a_lock_held_by_another_connection_is_an_error_that_says_so(database):
    """The message has the path and what to do, and the cause is SQLite's error."""
    with (
        Database(database.path, timeout_s=0.05) as other,
        database.transaction(),
        pytest.raises(StateError, match="another process") as caught,
    ):
        put(other, 1)
    assert caught.value.path == database.path
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)


def test_data_version_shows_the_commits_of_others(database):
    """It stays when nothing was written elsewhere and changes when something was."""
    before = database.data_version()
    put(database, 1)
    assert database.data_version() == before
    with Database(database.path) as other:
        put(other, 2)
    assert database.data_version() != before


def test_a_full_database_writes_nothing_and_goes_on_when_there_is_room(database):
    """Out of pages: StateError, nothing of the block is there, and later it works."""
    put(database, 1)
    pages = database.read("PRAGMA page_count")[0][0]
    database.read(f"PRAGMA max_page_count = {pages}")
    with (  # noqa: PT012 - the block is it
        pytest.raises(StateError, match="no room left"),
        database.transaction() as connection,
    ):
        connection.execute("INSERT INTO note VALUES (2, 'small')")
        connection.execute("INSERT INTO note VALUES (3, ?)", ("x" * 100_000,))
    assert notes(database) == [1]
    database.read("PRAGMA max_page_count = 100000")
    put(database, 2)
    assert notes(database) == [1, 2]
    assert database.check() == []


def test_another_programs_database_is_refused_and_left_alone(tmp_path):
    """A file with other tables or another mark is not touched, not even made WAL."""
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(StateError, match="another program"):
        Database(path)
    assert path.read_bytes() == before
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 7")
    with pytest.raises(StateError, match="another program"):
        Database(path)


def test_a_newer_format_is_refused(tmp_path):
    """A file that a newer legion wrote is not opened by this one."""
    path = tmp_path / "newer.db"
    Database(path).close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION,)
        connection.execute(f"PRAGMA user_version = {FORMAT + 1}")
    with pytest.raises(StateError, match="a newer legion"):
        Database(path)


@pytest.mark.parametrize("content", [b"a: 1\n" * 500, b"\0" * 4096, b"x", b"y" * 511])
def test_a_file_that_is_no_database_is_refused(tmp_path, content):
    """Text, zeros or one byte: StateError with the path, and the file is unchanged."""
    path = tmp_path / "plan.yaml"
    path.write_bytes(content)
    with pytest.raises(StateError, match=r"plan\.yaml"):
        Database(path)
    assert path.read_bytes() == content


def test_a_damaged_page_is_corruption_and_check_says_so(tmp_path):
    """Overwritten pages end in StateCorruptError when read, and in `check`."""
    path = tmp_path / "state.db"
    with Database(path) as database:
        database.ensure(SCHEMA)
        with database.transaction() as connection:
            connection.executemany(
                "INSERT INTO note VALUES (?, ?)", [(n, "x" * 500) for n in range(200)]
            )
    raw = bytearray(path.read_bytes())
    raw[8192:] = b"\xff" * (len(raw) - 8192)
    path.write_bytes(raw)
    with Database(path) as database:
        assert database.check() != []
        with pytest.raises(StateCorruptError, match="copy from before"):
            database.read("SELECT * FROM note")


def test_a_damaged_schema_is_corruption_even_where_sqlite_stammers(tmp_path):
    """An error message with bytes that are no UTF-8 does not get through raw."""
    path = tmp_path / "state.db"
    with Database(path) as database:
        database.ensure(SCHEMA)
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"CREATE TABLE", b"CR\xc5ATE TABLE"[:12]))
    with (
        pytest.raises(StateCorruptError, match="copy from before"),
        Database(path) as d,
    ):
        d.read("SELECT * FROM note")


def test_a_path_that_cannot_be_opened_says_what_to_write(tmp_path):
    """A missing directory and an empty path are errors with advice."""
    with pytest.raises(StateError, match="directory that exists"):
        Database(tmp_path / "missing" / "state.db")
    with pytest.raises(StateError, match=":memory:"):
        Database("")


def test_a_closed_database_says_that_it_is_closed(database):
    """Closing twice is fine; using it afterwards is an error."""
    database.close()
    database.close()
    with pytest.raises(StateError, match="closed"):
        database.read("SELECT 1")


def test_closing_inside_a_transaction_is_refused(database):
    """The transaction goes on as if nobody had tried."""
    with database.transaction():
        put(database, 1)
        with pytest.raises(StateError, match="inside a transaction"):
            database.close()
    assert notes(database) == [1]


def test_memory_keeps_everything_in_the_process():
    """``:memory:`` behaves like a file and leaves none behind."""
    with Database(":memory:") as database:
        database.ensure(SCHEMA)
        put(database, 1)
        assert notes(database) == [1]
    assert not Path(":memory:").exists()


def test_wrong_sql_is_a_state_error_with_its_cause(database):
    """No caller has to know SQLite's exceptions to catch them."""
    with pytest.raises(StateError, match="no such table") as caught:
        database.read("SELECT * FROM nowhere")
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)


@settings(max_examples=40, deadline=None)
@given(
    blocks=st.lists(
        st.tuples(st.lists(st.booleans(), max_size=3), st.booleans()), max_size=6
    )
)
def test_only_whole_blocks_are_kept(blocks):
    """
    Whatever fails where, exactly the blocks without a failure are written.

    Each block holds joined ones; True fails, and its error is caught in between.
    """
    kept, number = [], 0
    with Database(":memory:") as database:
        database.ensure(SCHEMA)
        for inner, outer_fails in blocks:
            mine = []
            try:
                with database.transaction(durable=False):
                    for fails in inner:
                        number += 1
                        mine.append(number)
                        try:
                            with database.transaction(durable=False):
                                put(database, number, durable=False)
                                if fails:
                                    raise KeyError
                        except KeyError:
                            pass
                    if outer_fails:
                        raise IndexError
                kept += mine
            except (IndexError, StateError):
                assert outer_fails or any(inner)
        assert notes(database) == kept
