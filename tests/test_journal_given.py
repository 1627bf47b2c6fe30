"""What callers give by mistake: one clear error."""

from __future__ import annotations

import pytest

from legion.exceptions import JournalError
from legion.journal import Journal


def briefly(value):
    """Name a case; without addresses, which differ between processes."""
    return f"{type(value).__name__} {ascii(value)[:12]}"


NUMBERS = ["1", "\ud800", b"1", 1.0, float("nan"), True, [1], object()]
TEXTS = [None, 7, True, b"x", ["x"], object(), "\ud800"]


@pytest.fixture
def journal():
    with Journal(":memory:") as journal:
        for n in range(3):
            journal.append({"n": n})
        yield journal


def refused(call, *given, **named):
    with pytest.raises(JournalError) as error:
        call(*given, **named)
    message = str(error.value)
    assert "got" in message
    assert "write" in message
    assert len(message) < 300
    message.encode()


@pytest.mark.parametrize("size", [*NUMBERS, -1], ids=briefly)
def test_a_size_that_is_none_verifies_nothing(journal, size):
    """
    A journal compared with a size of NaN, or of less than nothing, was "ok".

    It fails if ``verify`` hands the size on as it is.
    """
    refused(journal.verify, size=size)
    refused(journal.verify, size=size, root=journal.root())


@pytest.mark.parametrize(
    "root", ["", "abc", "\ud800", b"0" * 64, 7, "g" * 64, "0" * 100_000], ids=briefly
)
def test_a_root_that_is_none_is_not_compared(journal, root):
    """It is a mistake of whoever asks and not a fault of the log."""
    refused(journal.verify, root=root, size=3)


def test_a_root_may_be_written_in_capitals(journal):
    """It is the same number."""
    assert journal.verify(root=journal.root().upper(), size=3).ok


@pytest.mark.parametrize("number", NUMBERS, ids=briefly)
def test_positions_and_sizes_are_whole_numbers(journal, number):
    """Not what merely compares with one."""
    for call in (journal.leaf, journal.inclusion, journal.consistency):
        refused(call, number)
    refused(journal.root, number)
    refused(journal.inclusion, 0, number)
    refused(journal.records, since=number)
    refused(journal.records, limit=number)


def test_a_huge_number_is_as_good_as_the_end(journal):
    """What the file could not even be asked for is not there."""
    assert journal.records(since=2**70) == ()
    assert len(journal.records(limit=2**70)) == 3


@pytest.mark.parametrize("text", TEXTS, ids=briefly)
def test_names_are_text(journal, text):
    """So are kinds and references; a lone surrogate has no bytes."""
    refused(journal.get, text)
    refused(journal.story, text)
    if text is not None:
        refused(journal.append, {"n": 1}, kind=text)
        refused(journal.records, text)
    refused(journal.append, {"n": 1}, refs=[text])
    if not isinstance(text, list):
        refused(journal.append, {"n": 1}, refs=text)
    assert journal.size == 3
