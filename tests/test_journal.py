"""The journal: what is appended, read back, proven and told."""

from __future__ import annotations

import logging
import math
import threading

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from legion import canonical
from legion.exceptions import JournalError, StateError
from legion.journal import Journal, merkle, story
from legion.model import (
    Change,
    Decision,
    Move,
    Observation,
    Outcome,
    Permission,
    Report,
    Ruling,
)
from legion.store import Database


class Ticking:
    """A clock whose date goes on by one second a look."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.5

    def plan(self) -> float:
        return self.wall()

    def machine(self) -> float:
        return self.wall()

    def wall(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path / "journal.db", clock=Ticking()) as journal:
        yield journal


def test_what_is_appended_is_read_back_equal(journal):
    """By id, by position and by kind, also after closing and opening again."""
    first = journal.append({"n": 1, "text": "ü", "of": [1.5, None, True]})
    second = journal.append({"n": 2}, kind="intent", refs=[first.id])
    assert (first.seq, first.kind, first.at) == (0, "note", 1_700_000_001.5)
    assert second.refs == (first.id,)
    path = journal._tables.database.path
    with Journal(path, clock=Ticking()) as again:
        assert again.records() == (first, second)
        assert again.get(first.id) == first
        assert again.records("intent") == (second,)
        assert again.records(since=1) == (second,)
        assert again.records(limit=1) == (first,)
        assert again.size == 2


@pytest.mark.parametrize("name", ["", "0", "0-", "0-zzz", "-1", "9-a", "x-y", "٣-a"])
def test_a_record_that_is_not_there_is_none(journal, name):
    """An unknown id is an answer, not an exception."""
    journal.append({})
    assert journal.get(name) is None


def test_the_leaf_is_the_canonical_json_of_the_record(journal):
    """Anybody can hash a record without the journal: nothing else is in the leaf."""
    for body in ({"a": 1.0, "é": "\u2028"}, {}, {"big": 1e300, "change": {"b": 2}}):
        record = journal.append(body, refs=["f" * 64])
        data = canonical.dumps(record.to_json())
        assert journal.leaf(record.seq) == merkle.leaf_hash(data).hex()


def test_a_noun_brings_its_kind_its_digest_and_its_references(journal):
    """Kind, subject and refs come from the noun; refs of one's own are added."""
    digests = [character * 64 for character in "abc"]
    ruling = Ruling(
        permission=Permission.ALLOW,
        code="low_risk",
        reason="small",
        subject=digests[0],
        policy=digests[1],
    )
    record = journal.append(ruling, refs=[digests[2], digests[0]])
    assert record.kind == "ruling"
    assert record.subject == ruling.digest
    assert record.refs == tuple(digests)
    assert record.body == ruling.to_json()
    assert journal.append(ruling, kind="second look").kind == "second look"


@pytest.mark.parametrize(
    ("body", "refs", "error"),
    [
        ("text", (), JournalError),
        (7, (), JournalError),
        ({}, "f" * 64, JournalError),
        ({}, [7], JournalError),
        ({}, [""], JournalError),
        ({"x": math.nan}, (), ValueError),
        ({"x": "\ud800"}, (), ValueError),
        ({1: 2}, (), TypeError),
        ({"x": object()}, (), TypeError),
    ],
)
def test_what_cannot_be_recorded_is_refused_and_leaves_nothing(
    journal, body, refs, error
):
    """A wrong body or reference is an error before anything is written."""
    with pytest.raises(error):
        journal.append(body, refs=refs)
    assert journal.size == 0
    assert journal.verify().ok


def test_ids_of_different_records_differ_even_at_one_position(tmp_path):
    """An entry that was taken back does not lend its id to another one."""
    with Database(tmp_path / "state.db") as database:
        journal = Journal(database, clock=Ticking())
        with pytest.raises(KeyError), database.transaction():  # noqa: PT012 - the block is it
            lost = journal.append({"n": 1})
            raise KeyError
        assert journal.get(lost.id) is None
        kept = journal.append({"n": 1})
        assert kept.seq == lost.seq
        assert kept.id != lost.id


def test_a_record_is_committed_with_the_transition_it_is_about(tmp_path):
    """In a shared file both are there or neither is."""
    with Database(tmp_path / "state.db") as database:
        database.ensure("CREATE TABLE IF NOT EXISTS stage (name TEXT);")
        journal = Journal(database, clock=Ticking())
        with pytest.raises(KeyError), database.transaction() as connection:  # noqa: PT012 - the block is it
            connection.execute("INSERT INTO stage VALUES ('canary')")
            journal.append({"to": "canary"})
            raise KeyError
        assert journal.size == 0
        with database.transaction() as connection:
            connection.execute("INSERT INTO stage VALUES ('canary')")
            journal.append({"to": "canary"})
        assert journal.size == len(database.read("SELECT * FROM stage")) == 1
        assert journal.verify().ok
        journal.close()
        assert journal.size == 1


def test_a_durable_record_refuses_to_hide_in_a_transaction_that_is_not(tmp_path):
    """The promise cannot be kept there, so it is not made."""
    with Database(tmp_path / "state.db") as database:
        journal = Journal(database, clock=Ticking())
        with database.transaction(durable=False):
            journal.append({"n": 1}, durable=False)
            with pytest.raises(StateError, match="durable=True"):
                journal.append({"n": 2})
        assert journal.size == 1


def test_recorders_hear_of_a_record_once_it_is_committed(tmp_path, caplog):
    """Never before, never of what was taken back; what they raise undoes nothing."""
    heard = []

    def recorder(record) -> None:
        with Journal(path, clock=Ticking()) as other:
            heard.append(other.get(record.id) == record)
        raise RuntimeError("deaf")

    path = tmp_path / "state.db"
    with Database(path) as database:
        journal = Journal(database, clock=Ticking(), recorders=recorder)
        with caplog.at_level(logging.WARNING, "legion"), database.transaction():
            journal.append({"n": 1})
            assert heard == []
        assert heard == [True]
        with pytest.raises(KeyError), database.transaction():  # noqa: PT012 - the block is it
            journal.append({"n": 2})
            raise KeyError
        assert heard == [True]
        assert journal.size == 1
    assert "deaf" in caplog.text


def test_threads_append_without_losing_an_entry(journal):
    """Four threads, one log: every entry once, and it verifies."""

    def write(thread: int) -> None:
        for n in range(30):
            journal.append({"thread": thread, "n": n}, durable=False)

    threads = [threading.Thread(target=write, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bodies = {(r.body["thread"], r.body["n"]) for r in journal.records()}
    assert len(bodies) == journal.size == 120
    assert journal.verify().ok


def test_two_journals_on_one_file_write_one_log(tmp_path):
    """Each sees what the other appended, and the tree has one order."""
    path = tmp_path / "journal.db"
    with (
        Journal(path, clock=Ticking()) as one,
        Journal(path, clock=Ticking()) as two,
    ):
        for n in range(10):
            (one, two)[n % 2].append({"n": n}, durable=False)
        assert [r.body["n"] for r in one.records()] == list(range(10))
        assert one.root() == two.root()
        assert two.verify().ok


@settings(max_examples=20, deadline=None)
@given(
    bodies=st.lists(
        st.dictionaries(
            st.text(max_size=3),
            st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1)
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(max_size=5)
            | st.lists(st.integers(0, 9), max_size=2),
            max_size=3,
        ),
        min_size=1,
        max_size=12,
    ),
    data=st.data(),
)  # fmt: skip
def test_whatever_is_appended_verifies_and_is_proven(bodies, data):
    """Any JSON is read back equal, hashes to its leaf, and has valid proofs."""
    with Journal(":memory:", clock=Ticking()) as journal:
        roots = [journal.root()]
        for body in bodies:
            record = journal.append(body, durable=False)
            assert journal.get(record.id) == record
            assert dict(record.body) == body
            roots.append(journal.root())
        assert [journal.root(n) for n in range(len(roots))] == roots
        seq = data.draw(st.integers(0, len(bodies) - 1))
        size = data.draw(st.integers(seq + 1, len(bodies)))
        record = journal.records(since=seq, limit=1)[0]
        leaf = merkle.leaf_hash(canonical.dumps(record.to_json()))
        proof = journal.inclusion(seq, size)
        assert merkle.verify_inclusion(
            leaf, seq, size=size, proof=proof, root=roots[size]
        )
        proof = journal.consistency(seq + 1, size)
        assert merkle.verify_consistency(
            seq + 1, size, proof=proof, old_root=roots[seq + 1], root=roots[size]
        )
        found = journal.verify(root=roots[size], size=size)
        assert found.ok, found.faults
        assert (found.root, found.size) == (roots[-1], len(bodies))


def test_proofs_are_short(journal):
    """A proof in a log of n entries has about log2(n) hashes."""
    for n in range(200):
        journal.append({"n": n}, durable=False)
    assert max(len(journal.inclusion(seq)) for seq in range(200)) == 8
    assert max(len(journal.consistency(size)) for size in range(1, 201)) <= 9


def test_proofs_of_what_is_not_there_say_what_to_write(journal):
    """Positions and sizes outside the log are errors that name the range."""
    with pytest.raises(JournalError, match="write 1 to 0"):
        journal.inclusion(0)
    journal.append({})
    for ask in (
        lambda: journal.inclusion(1),
        lambda: journal.inclusion(-1),
        lambda: journal.inclusion(0, 2),
        lambda: journal.consistency(0),
        lambda: journal.consistency(2),
        lambda: journal.root(2),
        lambda: journal.leaf(1),
    ):
        with pytest.raises(JournalError, match=r"write [01] to 1"):
            ask()


def turn(journal: Journal, n: int, *, ruling_first: bool = False, change=None) -> list:
    """Append one turn of the wheel and return its records in order."""
    observation = Observation(plan="p", at_s=float(n), exposure="e" * 64)
    report = Report(plan="p", at_s=float(n), observation=observation.digest)
    change = change or Change(
        target="rollout:p",
        before="d" * 64,
        after="e" * 64,
        kind="advance",
        report=report.digest,
    )
    decision = Decision(
        move=Move.ADVANCE,
        code="ladder",
        reason="all good",
        change=change,
        report=report.digest,
    )
    ruling = Ruling(
        permission=Permission.ALLOW,
        code="low_risk",
        reason="small",
        subject=change.digest,
        policy="9" * 64,
    )
    outcome = Outcome(
        target="rollout:p",
        applied=True,
        verified=True,
        change=change.digest,
        ruling=ruling.digest,
        decision=decision.digest,
    )
    middle = [decision, ruling]
    told = [journal.append(noun) for noun in (observation, report)]
    told += [journal.append(x) for x in (reversed(middle) if ruling_first else middle)]
    told.append(
        journal.append({"to": n}, kind="intent", refs=[change.digest, ruling.digest])
    )
    told.append(journal.append(outcome, refs=[told[-1].id]))
    return told


@pytest.mark.parametrize("ruling_first", [False, True])
def test_a_story_tells_the_whole_turn_from_any_of_its_records(journal, ruling_first):
    """Each of the six records leads to all six, oldest first, and to no other turn."""
    journal.append({"limits": 1}, kind="policy")
    turns = [turn(journal, n, ruling_first=ruling_first) for n in range(4)]
    for told in turns:
        for record in told:
            assert list(journal.story(record)) == told
            assert list(journal.story(record.id)) == told
        assert list(journal.story(told[0].subject)) == told


def test_a_change_that_is_proposed_again_stays_in_its_own_turn(journal):
    """Two turns about an equal change are not mixed up."""
    change = Change(target="setting:x", before="1" * 64, after="2" * 64, kind="setting")
    turns = [turn(journal, n, change=change) for n in range(3)]
    for told in turns:
        for record in told:
            assert list(journal.story(record)) == told


def test_what_every_turn_rests_on_is_told_but_not_followed(journal):
    """A policy, an exposure or a baseline that all name does not join all turns."""
    exposure = journal.append(Snapshot(name="exposure"), kind="exposure")
    policy = journal.append({"limits": 1}, kind="policy")
    turns = []
    for n in range(3):
        observation = Observation(at_s=float(n), exposure=exposure.subject)
        seen = journal.append(observation, refs=[policy.digest])
        report = journal.append(Report(at_s=float(n), observation=observation.digest))
        turns.append([exposure, policy, seen, report])
    for told in turns:
        assert list(journal.story(told[3])) == told
    assert len(journal.story(policy)) == 2 + 3 * 2 - 1


def Snapshot(*, name: str) -> Change:  # noqa: N802 - it stands for a noun
    """Some noun that turns refer to."""
    return Change(target=name, before="", after="", kind="snapshot")


def test_a_proposed_change_is_part_of_the_decision_that_takes_it_up(journal):
    """A change recorded by itself leads to the decision that has it inside."""
    change = Change(target="patch:x", before="1" * 64, after="2" * 64, kind="patch")
    proposed = journal.append(change)
    decided = journal.append(
        Decision(move=Move.ADVANCE, code="c", reason="r", change=change)
    )
    ruled = journal.append(
        Ruling(permission=Permission.DENY, code="c", reason="r", subject=change.digest)
    )
    for record in (proposed, decided, ruled):
        assert journal.story(record) == (proposed, decided, ruled)


def test_what_is_said_of_a_turn_later_belongs_to_it(journal):
    """An answer that names a ruling is told; a summary does not pull in other turns."""
    first, second = turn(journal, 1), turn(journal, 2)
    answer = journal.append({"yes": True}, kind="answer", refs=[first[3].digest])
    summary = journal.append(
        {"turns": 2}, kind="cycle", refs=[first[2].subject, second[2].subject]
    )
    assert list(journal.story(first[0])) == [*first, answer, summary]
    assert list(journal.story(summary)) == [*first, *second, answer, summary]


def test_a_story_has_an_end(journal, monkeypatch):
    """At most so many records, the nearest ones first."""
    monkeypatch.setattr(story, "MOST", 5)
    hub = journal.append({"n": 0})
    for n in range(1, 10):
        journal.append({"n": n}, refs=[hub.id], durable=False)
    assert [record.seq for record in journal.story(hub)] == [0, 1, 2, 3, 4]


def test_the_story_of_nothing_says_what_to_write(journal):
    """An unknown id or digest is an error with advice, and so is one to come."""
    journal.append({}, refs=["a" * 64, "9-12345678"])
    for name in ("0-00000000", "a" * 64, "7", ""):
        with pytest.raises(JournalError, match="write a record's id"):
            journal.story(name)
    assert len(journal.story(journal.records()[0])) == 1
