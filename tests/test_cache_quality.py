"""Benching a cache on questions of one's own."""

from __future__ import annotations

import json

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from cli_session import legion_says

from legion.cache.quality import Bench, PairScores
from legion.cache.questions import Labelled, Pair, clusters, read, sampled
from legion.exceptions import LegionError


BANKING77 = Path(__file__).parents[2] / "shared" / "data" / "banking77" / "train.csv"
WORDS = ["parcel", "invoice", "password", "refund", "delivery", "card"]


def embed(texts):
    return [
        [1 + 9 * text.count(word) for word in WORDS] + [len(text)] for text in texts
    ]


def questions(n):
    return [
        Labelled(
            f"{'so ' * (i % 7)}about my {WORDS[i % 6]} {'please ' * (i % 11)}{i}",
            f"{i % 6}",
        )
        for i in range(n)
    ]


def written(path, rows, header="question,answer"):
    lines = [",".join(f'"{each}"' for each in row) for row in rows]
    path.write_text("\n".join([header, *lines]) + "\n", "utf-8")
    return path


def test_a_stream_is_read_from_csv_and_from_json_lines(tmp_path):
    """Columns are found by their usual names."""
    expected = [Labelled("how?", "a"), Labelled("why?", "b")]
    csv = written(tmp_path / "q.csv", expected, "text,category")
    jsonl = tmp_path / "q.jsonl"
    jsonl.write_text(
        '{"question": "how?", "answer": "a"}\n\n{"question": "why?", "answer": "b"}\n'
    )
    assert read(csv) == read(jsonl) == expected


def test_pairs_are_read_and_become_clusters(tmp_path):
    """Sameness is transitive; what nobody compared is different."""
    path = written(
        tmp_path / "p.csv",
        [("a", "b", 1), ("b", "c", "true"), ("d", "a", 0)],
        "a,b,same",
    )
    pairs = read(path)
    assert pairs == [Pair("a", "b", True), Pair("b", "c", True), Pair("d", "a", False)]
    label = {one.question: one.answer for one in clusters(pairs)}
    assert label["a"] == label["b"] == label["c"] != label["d"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("q.csv", "", "got no row; write at least two"),
        ("q.csv", "question,answer\nhow?,a\n", "got 1 row; write at least two"),
        ("q.csv", "x,y\n1,2\n3,4\n", "got the columns x, y"),
        ("q.csv", "text\nhow?\nwhy?\n", "got the columns text"),
        ("q.csv", "text;label\nhow?;a\nwhy?;b\n", "commas between columns"),
        ("q.csv", "text,label\nhow, why?,a\nwho?,b\n", "row 1: got more fields"),
        (
            "q.csv",
            "question,answer\nhow?,\nwhy?,b\n",
            "row 1: got nothing for 'answer'",
        ),
        ("q.csv", "a,b,same\nx,y,1\nx,z,maybe\n", "row 2: got 'maybe'"),
        ("q.csv", "text,label\no\u00f9?,a\nwhy?,b\n", "write UTF-8"),
        ("q.jsonl", "{", "write UTF-8"),
        ("q.jsonl", "5\n6\n", "row 1: got 5; write an object"),
        ("q.txt", "how?", "neither .csv nor .jsonl"),
    ],
)
def test_what_cannot_be_read_says_where(tmp_path, name, text, said):
    """The file, the row, and what to write instead."""
    path = tmp_path / name
    path.write_text(text, "latin-1")
    with pytest.raises(LegionError, match=said):
        read(path)


def test_pairs_are_drawn_together():
    """Of 1,000 pairs, 20 questions are 10 pairs, not 20 strangers; a seed, an order."""
    pairs = [Pair(f"{i}", f"{i} again", True) for i in range(1_000)]
    some = sampled(pairs, seed=1, questions=20)
    assert len(some) == 10
    assert set(some) < set(pairs)
    assert (
        some
        == sampled(pairs, seed=1, questions=20)
        != sampled(pairs, seed=2, questions=20)
    )
    assert sorted(sampled(pairs, seed=1, questions=9_999)) == sorted(pairs)


def test_a_question_with_several_answers_may_have_any():
    """A cache sees the question alone, so labels that contradict are no errors."""
    asked = [Labelled("how?", "a"), Labelled("how?", "b"), Labelled("why?", "c")] * 30
    bench = Bench.shuffled(
        asked, lambda texts: [[t == "how?", 1] for t in texts], seed=1, requests=90
    )
    for replay in (bench.threshold(0.95), bench.promise(0.1, judged=0.5, seed=1)):
        assert replay.hits == 88
        assert replay.wrong == 0


def test_figures_are_counted_by_hand():
    """Four pairs at one threshold: two hits, one wrong, one right pair missed."""
    vectors = {"a": [1, 0], "b": [1, 0.01], "c": [0, 1], "d": [1, 0.02]}
    pairs = [Pair("a", "b", True), Pair("a", "d", False), Pair("a", "c", True)]
    scores = PairScores.of(pairs, lambda texts: [vectors[t] for t in texts])
    found = scores.at(0.9)
    assert (found.hits, found.wrong, found.answerable) == (2, 1, 2)
    assert (found.precision, found.recall, found.error) == (0.5, 0.5, 1 / 3)
    nothing = scores.at(1.1)
    assert nothing.precision is None
    assert nothing.recall == 0


def test_a_threshold_and_a_promise_are_replayed_and_the_same_seed_gives_the_same():
    """Hits, errors and prefixes of the stream; nothing depends on the run."""
    bench = Bench.shuffled(questions(400), embed, seed=2, requests=300)
    fixed = bench.threshold(0.9)
    assert fixed.requests == 300
    assert 0 < fixed.hits
    first = bench.promise(0.05, judged=0.5, seed=3)
    assert first == bench.promise(0.05, judged=0.5, seed=3)
    assert first.excess <= 0
    assert first.wrong <= first.limit
    after = bench.promise(0.05, judged=1.0, seed=3, later=True)
    assert after.excess <= 0
    assert after.judged > 0
    assert after.wrong == after.limit, "all is known"


def test_the_command_prints_curves_promises_and_what_is_in_hindsight(tmp_path):
    """For people, for programs and as a plot; exit code 0 where promises are kept."""
    (tmp_path / "vectors_of_mine.py").write_text(
        f"WORDS = {WORDS}\n\n\ndef embed(texts):\n"
        "    return [[1 + 9 * t.count(w) for w in WORDS] + [len(t)] for t in texts]\n"
    )
    path = written(tmp_path / "q.csv", questions(300))
    options = ["--embedder", "vectors_of_mine:embed", "--judged", "50%", "--seed", "4"]
    plot = tmp_path / "curves.svg"

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        told = legion_says("cache", "bench", path, *options, "--plot", plot)
        asked = legion_says(
            "cache", "bench", path, *options, "--json", "--max-error", "5%"
        )

    assert told.code == 0
    assert "in hindsight" in told.out
    assert "seed 4, vectors_of_mine:embed" in told.out
    assert ET.parse(plot).getroot().tag.endswith("svg")
    document = json.loads(asked.out)
    (promise,) = document["promised"]
    assert promise["kept"]
    assert promise["wrong"] <= promise["wrong_limit"] <= 0.05 * 300
    assert len(document["thresholds_in_hindsight"]) == 11


def test_the_command_says_what_is_wrong(tmp_path):
    """An embedder that is none, a plot that is no SVG, a file that is not there."""
    path = written(tmp_path / "q.csv", questions(5))
    for options in (
        ["--embedder", "nowhere:embed"],
        ["--plot", tmp_path / "curves.png"],
        ["--embedder", "json:dumps", "--judged", "0%"],
    ):
        assert legion_says("cache", "bench", path, *options).code == 2
    assert legion_says("cache", "bench", tmp_path / "gone.csv").code == 3


@pytest.mark.skipif(not BANKING77.exists(), reason=f"no {BANKING77.name} beside here")
def test_real_questions_are_answered_within_the_promised_error():
    """
    2,000 bank customers' questions, 2 %, 30 % and all judged: never too many are wrong.

    Shorter than what `benchmarks/cache_quality.py` runs with 20 seeds.
    """
    pytest.importorskip("wordllama", reason="the extra wordllama is not installed")
    from legion.cache.embedders import wordllama

    rows = [row for row in read(BANKING77) if isinstance(row, Labelled)]
    bench = Bench.shuffled(rows, wordllama(), seed=1, requests=2_000)
    rates = []
    for judged, free_text in ((0.3, False), (1.0, False), (0.3, True)):
        bench.free_text = free_text
        replay = bench.promise(0.02, judged=judged, seed=1)
        print(judged, free_text, replay)
        assert replay.excess <= 0
        assert replay.wrong <= replay.limit
        rates.append(replay.hit_rate)
    some, every, texts = rates
    assert every > some > 0.2
    assert texts < some, "texts tell less than labels"
