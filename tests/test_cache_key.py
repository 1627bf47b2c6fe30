"""Which questions are the same one."""

from __future__ import annotations

import pytest

from hypothesis import given
from hypothesis import strategies as st

from legion.cache.key import normalised


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Where is it?", "  Where   is\tit? \n"),
        ("caf\u00e9", "cafe\u0301"),
        ("def f():\r\n    return 1\r\n", "def f():  \n    return 1"),
        ("\n\nhello\n", "hello"),
    ],
)
def test_layout_and_composition_do_not_count(one, other):
    """White space within a line, line ends and Unicode composition are folded."""
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("call us", "call US"),
        ("x\u00b2", "x2"),
        ("if a:\n    b\nc", "if a:\n    b\n    c"),
        ("a\nb", "a b"),
        ("Is it on?", "Is it on"),
    ],
)
def test_what_may_change_the_meaning_counts(one, other):
    """Case, compatibility characters, indentation and punctuation are kept."""
    assert normalised(one) != normalised(other)


@given(st.text(max_size=40))
def test_normalising_twice_changes_nothing(text):
    """A normalised question is its own normal form."""
    assert normalised(normalised(text)) == normalised(text)


@pytest.mark.parametrize("question", [None, b"bytes", 3])
def test_a_question_is_a_string(question):
    """Anything else is a mistake, and says so."""
    with pytest.raises(TypeError, match="write a string"):
        normalised(question)
