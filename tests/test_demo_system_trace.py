"""The questions of the demo: read, split, and asked in a fixed order."""

import csv
import json
import os

from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from legion.demo.trace import Question, Trace, TraceError, load
from legion.exceptions import LegionError


BANKING77 = Path(__file__).parents[1] / "../shared/data/banking77/train.csv"


def table(path, header, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows] if header else rows)
    return path


def rows(n=60):
    return [(f"Where is parcel number {i}?", f"topic {i % 6}") for i in range(n)]


def texts(questions):
    return {q.text.casefold() for q in questions}


def test_the_shipped_questions_are_many_and_different():
    """At least 60 intents of at least 10 questions, none twice, each a sentence."""
    trace = load()
    every = [*trace.corpus, *trace.traffic]
    categories = Counter(q.category for q in every)
    assert len(every) >= 600
    assert len(categories) >= 60
    assert min(categories.values()) >= 10
    assert len(texts(every)) == len(every)
    assert all(3 <= len(q.text.split()) <= 20 for q in every)
    assert None not in categories


def test_the_two_halves_share_no_text():
    """What is asked is never among what is known, and every intent has both."""
    trace = load()
    assert not texts(trace.corpus) & texts(trace.traffic)
    known, asked = (
        {q.category for q in half} for half in (trace.corpus, trace.traffic)
    )
    assert known == asked
    assert 0.35 < len(trace.corpus) / len(trace.corpus + trace.traffic) < 0.45


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.builds(
            Question,
            text=st.text("abcXYZ ", min_size=1, max_size=6),
            category=st.none() | st.sampled_from("pqr"),
        ),
        min_size=50,
    )
)
def test_any_questions_are_split_without_loss(questions):
    """Nothing is lost, no text is on both sides, whatever its case or category."""
    try:
        trace = Trace.of(questions)
    except TraceError:
        assert len(texts(questions)) < 50
        return
    assert Counter([*trace.corpus, *trace.traffic]) == Counter(questions)
    assert not texts(trace.corpus) & texts(trace.traffic)


def test_a_seed_fixes_the_order():
    """The same seed asks the same questions in the same order, another seed another."""
    trace = load()
    n = 2 * len(trace.traffic)
    first = list(islice(trace.stream(1), n))
    assert first == list(islice(load().stream(1), n))
    assert first != list(islice(trace.stream(2), n))


def test_the_stream_goes_round_in_shuffled_passes():
    """Each pass asks everything once, and no pass is like the one before."""
    trace = load()
    n = len(trace.traffic)
    stream = trace.stream(3)
    one, two = list(islice(stream, n)), list(islice(stream, n))
    assert Counter(one) == Counter(two) == Counter(trace.traffic)
    assert one != two


@pytest.mark.parametrize("header", [("text", "category"), ("Intent", " Question ")])
def test_columns_are_found_by_their_names(tmp_path, header):
    """Text and category are read wherever the header puts them."""
    ordered = rows() if header[0] == "text" else [row[::-1] for row in rows()]
    trace = load(table(tmp_path / "t.csv", header, ordered))
    assert {q.category for q in trace.corpus} == {f"topic {i}" for i in range(6)}
    assert texts(trace.corpus + trace.traffic) == {t.casefold() for t, _ in rows()}


def test_a_file_without_header_is_read_from_its_first_line(tmp_path):
    """Nothing is taken for a header that names no known column."""
    trace = load(table(tmp_path / "t.csv", None, [(t,) for t, _ in rows()]))
    assert len(trace.corpus + trace.traffic) == 60
    assert {q.category for q in trace.traffic} == {None}


def test_lines_of_json_are_read(tmp_path):
    """JSONL gives the same trace as CSV, and an odd character does no harm."""
    lines = [json.dumps({"question": t, "intent": c}) for t, c in rows()]
    odd = '{"question": "half a pair \\ud800 and a \u2028 line", "intent": "topic 0"}'
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join([*lines, "", odd]), "utf-8")
    trace = load(path)
    assert len(trace.corpus + trace.traffic) == 61
    assert "half a pair ? and a line" in texts(trace.corpus + trace.traffic)


def jsonl(second):
    return '{"text": "Where is my parcel?"}\n' + second


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"text\n" + b"Where is it?\n" * 80, "got 1 different questions"),
        (b"text,category\n\xff\xfe,a\n", "byte 14 is not UTF-8"),
        (b"id,category\n" + b"1,a\n" * 60, "no column of questions"),
        (b"category\na\n", "no column of questions"),
        (jsonl('{"text": ').encode(), "line 2 is not JSON"),
        (jsonl('{"words": "x"}').encode(), "line 2 has no question"),
        (jsonl('{"text": 7}').encode(), "line 2 has no question"),
        (jsonl("[" * 100_000).encode(), "line 2 is not JSON"),
        (b'text\n"' + b"x" * 200_000 + b'"\n', "line 2 is not CSV"),
    ],
)
def test_bad_content_is_refused_with_one_message(tmp_path, content, message):
    """The message names the file, says what was found and what to write instead."""
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(TraceError, match=message) as caught:
        load(path)
    assert isinstance(caught.value, LegionError)
    assert caught.value.source == str(path)
    assert str(path) in str(caught.value)
    assert "write" in str(caught.value)


def test_what_is_no_file_is_refused(tmp_path):
    """A missing file, a directory, a pipe and a huge file each get a message."""
    with pytest.raises(TraceError, match="no such file; write"):
        load(tmp_path / "missing.csv")
    with pytest.raises(TraceError, match="is a directory; write"):
        load(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TraceError, match="no regular file; write"):
        load(tmp_path / "pipe")
    huge = tmp_path / "huge.csv"
    with huge.open("wb") as file:
        file.truncate(201 * 2**20)
    with pytest.raises(TraceError, match="got 201 MB; write"):
        load(huge)


@pytest.mark.skipif(
    not BANKING77.exists(), reason="../shared/data/banking77/train.csv is not here"
)
def test_banking77_is_read_whole():
    """A data set of strangers works as it is: 10,003 questions of 77 intents."""
    trace = load(BANKING77)
    assert len(trace.corpus) + len(trace.traffic) == 10_003
    assert len({q.category for q in trace.corpus}) == 77
    assert not texts(trace.corpus) & texts(trace.traffic)
