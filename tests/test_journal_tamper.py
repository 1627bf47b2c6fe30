"""A journal that was tampered with says so, and names the entry."""

from __future__ import annotations

import random
import shutil
import sqlite3

from contextlib import closing

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from legion.exceptions import JournalError, StateCorruptError, StateError
from legion.journal import Journal
from legion.model import Change, Decision, Move


class Clock:
    """A clock that stands still."""

    def plan(self) -> float:
        return 1.0

    def machine(self) -> float:
        return 1.0

    def wall(self) -> float:
        return 1_700_000_000.25


def fill(path, entries: int = 23) -> list:
    """Write a journal with notes and decisions and return its records."""
    with Journal(path, clock=Clock()) as journal:
        for n in range(entries - 3):
            journal.append({"n": n, "text": "x" * (n % 7)}, kind=f"kind-{n % 3}")
        change = Change(target="t", before="1" * 64, after="2" * 64, kind="advance")
        for n in range(3):
            journal.append(
                Decision(move=Move.ADVANCE, code="c", reason=str(n), change=change),
                durable=False,
            )
        return list(journal.records())


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("journal") / "journal.db"
    return path, fill(path)


@pytest.fixture
def copy(written, tmp_path):
    """Return a fresh copy of the written journal."""
    return shutil.copy(written[0], tmp_path / "copy.db")


def tamper(path, *statements) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement, *parameters in statements:
            connection.execute(statement, parameters)
        connection.commit()


def faults(path, **kept) -> tuple:
    with Journal(path, clock=Clock()) as journal:
        found = journal.verify(**kept)
    assert found.ok is (not found.faults)
    return found.faults


def test_an_untouched_journal_has_no_faults(copy):
    """The copy verifies, so what the tests below find is what they did."""
    assert faults(copy) == ()


@pytest.mark.parametrize("seed", range(25))
def test_a_flipped_byte_in_a_row_is_found_and_its_entry_named(copy, seed):
    """One bit of any byte of any column: the entry is in the faults."""
    print("seed", seed)
    rng = random.Random(seed)
    seq = rng.randrange(23)
    column = rng.choice(["data", "hash", "kind"])
    with closing(sqlite3.connect(copy)) as connection:
        (value,) = connection.execute(
            f"SELECT CAST({column} AS BLOB) FROM journal_entry WHERE seq = ?", (seq,)
        ).fetchone()
        raw = bytearray(value)
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        kind = "TEXT" if column == "kind" else "BLOB"
        connection.execute(
            f"UPDATE journal_entry SET {column} = CAST(? AS {kind}) WHERE seq = ?",
            (bytes(raw), seq),
        )
        connection.commit()
    found = faults(copy)
    assert found[0][0] == seq
    assert column == "hash" or {at for at, _ in found} == {seq}


def test_a_changed_entry_is_not_served(copy):
    """Reading it is an error that names it; reading the others is not."""
    tamper(
        copy,
        ("UPDATE journal_entry SET data = replace(data, 'x', 'y') WHERE seq = 4",),
    )
    with Journal(copy, clock=Clock()) as journal:
        with pytest.raises(JournalError, match="entry 4") as caught:
            journal.records()
        assert caught.value.seq == 4
        assert len(journal.records(since=5)) == 18


def test_an_entry_rewritten_together_with_its_hash_is_found(copy):
    """Whoever fits the leaf to the new bytes fails at the tree above it."""
    import hashlib

    with closing(sqlite3.connect(copy)) as connection:
        (data,) = connection.execute(
            "SELECT data FROM journal_entry WHERE seq = 6"
        ).fetchone()
    data = data.replace(b'"n":6', b'"n":9')
    leaf = hashlib.sha256(b"\0" + data).digest()
    tamper(
        copy,
        ("UPDATE journal_entry SET data = ?, hash = ? WHERE seq = 6", data, leaf),
    )
    found = faults(copy)
    assert any(at in {6, 7} and "tree" in what for at, what in found)


def test_swapped_rows_are_found_and_both_named(copy):
    """Entries that changed places are each told to stand in the other's."""
    tamper(
        copy,
        ("UPDATE journal_entry SET seq = -1 WHERE seq = 3",),
        ("UPDATE journal_entry SET seq = 3 WHERE seq = 9",),
        ("UPDATE journal_entry SET seq = 9 WHERE seq = -1",),
    )
    found = faults(copy)
    assert (3, "entry 9 stands in its place") in found
    assert (9, "entry 3 stands in its place") in found


def test_missing_rows_are_found_and_named(copy):
    """A gap is reported once, with its ends, wherever it is."""
    tamper(copy, ("DELETE FROM journal_entry WHERE seq IN (0, 5, 6, 7)",))
    found = faults(copy)
    assert (0, "entry 0 missing") in found
    assert (5, "entry 5 to 7 missing") in found


def test_a_removed_tail_is_found_by_the_checkpoint(copy):
    """Dropping the last rows leaves a checkpoint that says more."""
    tamper(copy, ("DELETE FROM journal_entry WHERE seq >= 20",))
    assert (20, "entry 20 to 22 missing") in faults(copy)


def truncate(path, size: int) -> None:
    """Cut the log back to *size* so that it fits itself, as a forger would."""
    with Journal(path, clock=Clock()) as journal:
        bodies = [(r.body, r.kind, r.refs) for r in journal.records(limit=size)]
    path = str(path)
    tamper(
        path,
        *(
            (f"DELETE FROM journal_{table}",)
            for table in ("entry", "node", "link", "head")
        ),
    )
    with Journal(path, clock=Clock()) as journal:
        for body, kind, refs in bodies:
            journal.append(body, kind=kind, refs=refs)


def test_a_tail_removed_without_trace_is_found_by_the_size_kept_elsewhere(copy):
    """A forger who fits everything in the file cannot fit what is not in it."""
    with Journal(copy, clock=Clock()) as journal:
        size, root = journal.size, journal.root()
        early = journal.root(10)
    truncate(copy, 12)
    assert faults(copy) == ()
    assert faults(copy, size=10, root=early) == ()
    assert faults(copy, size=size, root=root) == (
        (12, "23 entries were kept, 12 left"),
    )


def test_a_history_rewritten_without_trace_is_found_by_the_root_kept_elsewhere(copy):
    """Same number of entries, other content: the kept root does not fit."""
    with Journal(copy, clock=Clock()) as journal:
        root = journal.root(10)
    truncate(copy, 9)
    with Journal(copy, clock=Clock()) as journal:
        for n in range(9, 15):
            journal.append({"n": -n})
    assert faults(copy) == ()
    assert faults(copy, size=10, root=root)[0][0] == 9


def test_a_root_without_its_size_is_refused(copy):
    """A root says nothing unless one knows of how many entries."""
    with (
        Journal(copy, clock=Clock()) as journal,
        pytest.raises(JournalError, match="size"),
    ):
        journal.verify(root="0" * 64)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM journal_node WHERE level = 2 AND place = 1",
        "UPDATE journal_node SET hash = zeroblob(32) WHERE level = 1 AND place = 3",
        "INSERT INTO journal_node VALUES (7, 0, zeroblob(32))",
        "INSERT INTO journal_node VALUES (1, -5, zeroblob(32))",
        "DELETE FROM journal_link WHERE seq = 5",
        "INSERT INTO journal_link VALUES ('x', 1, 5)",
        "INSERT INTO journal_link VALUES ('x', 0, 30)",
        "UPDATE journal_head SET size = 22",
        "UPDATE journal_head SET size = 24",
        "UPDATE journal_head SET size = 1152921504606846976",
        "UPDATE journal_head SET size = 'many'",
        "UPDATE journal_head SET root = zeroblob(32)",
        "UPDATE journal_head SET peaks = zeroblob(96)",
        "DELETE FROM journal_head",
        "DELETE FROM journal_entry",
        "INSERT INTO journal_entry VALUES (23, 'x', '{}', zeroblob(32))",
        "INSERT INTO journal_entry VALUES (-7, 'x', '{}', zeroblob(32))",
        "UPDATE journal_entry SET seq = 1152921504606846976 WHERE seq = 22",
        "UPDATE journal_entry SET data = '' WHERE seq = 3",
        "UPDATE journal_entry SET data = 7, hash = 8 WHERE seq = 3",
    ],
)
def test_no_other_row_can_be_changed_unseen(copy, statement):
    """Nodes, names and the checkpoint are held against the entries."""
    tamper(copy, (statement,))
    assert faults(copy) != ()


@pytest.mark.parametrize(
    "change", ["size = 21", "size = 'many'", "root = zeroblob(32)", "peaks = x'00'"]
)
def test_nothing_is_appended_to_a_damaged_checkpoint(copy, change):
    """An append would hide what happened, so it is refused."""
    tamper(copy, (f"UPDATE journal_head SET {change}",))
    with (
        Journal(copy, clock=Clock()) as journal,
        pytest.raises(StateCorruptError, match="checkpoint"),
    ):
        journal.append({"n": 1})


def everything(path) -> object:
    """Return all that a journal would ever say of its content."""
    with Journal(path, clock=Clock()) as journal:
        return (
            journal.records(),
            journal.root(),
            [journal.records(kind) for kind in ("kind-0", "kind-1", "decision")],
            [journal.inclusion(seq) for seq in range(journal.size)],
            [len(journal.story(seq)) for seq in journal.records()],
        )


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_flipped_bit_of_the_file_never_passes_for_other_content(
    written, tmp_path_factory, data
):
    """
    Any bit of the file: it is refused, or `verify` has faults, or nothing changed.

    What may change unseen is only what nobody reads, such as free space in a page.
    """
    raw = bytearray(written[0].read_bytes())
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.mktemp("flip") / "journal.db"
    path.write_bytes(raw)
    try:
        sound = faults(path) == ()
    except StateError:
        return
    if sound:
        assert everything(path) == everything(written[0])


def test_a_damaged_write_ahead_log_is_seen_by_who_kept_the_size(tmp_path):
    """SQLite drops a damaged tail without a word; the kept size and root tell."""
    path = tmp_path / "journal.db"
    with Journal(path, clock=Clock()) as journal:
        for n in range(10):
            journal.append({"n": n})
        size, root = journal.size, journal.root()
        for name in ("journal.db", "journal.db-wal"):
            shutil.copy(tmp_path / name, tmp_path / f"copy-{name}")
    log = tmp_path / "copy-journal.db-wal"
    raw = bytearray(log.read_bytes())
    raw[len(raw) * 2 // 3] ^= 1
    log.write_bytes(raw)
    assert faults(tmp_path / "copy-journal.db", size=size, root=root) != ()
