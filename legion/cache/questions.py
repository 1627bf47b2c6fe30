"""Questions with their answers, or pairs of questions, from a file."""

from __future__ import annotations

import csv
import json

from collections.abc import Iterable, Mapping
from pathlib import Path
from random import Random
from reprlib import repr as brief
from typing import NamedTuple, TypeVar

from ..exceptions import LegionError


T = TypeVar("T")

_QUESTION = ("question", "text", "query", "prompt", "utterance")
_ANSWER = ("answer", "label", "category", "intent", "class", "value", "response")
_LEFT = ("a", "question1", "question_1", "q1", "sentence1", "left")
_RIGHT = ("b", "question2", "question_2", "q2", "sentence2", "right")
_SAME = ("same", "is_duplicate", "duplicate", "label", "equal")
_YES, _NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")


class Labelled(NamedTuple):
    """A question and what tells its answer from others."""

    question: str
    answer: str


class Pair(NamedTuple):
    """Two questions, and whether they have the same answer."""

    a: str
    b: str
    same: bool


def read(path: Path) -> list[Labelled] | list[Pair]:
    """
    Read a stream of questions with answers, or pairs, from ``.csv`` or ``.jsonl``.

    Columns are found by their names: ``question`` (or ``text``, ``query``) and
    ``answer`` (or ``label``, ``category``), or ``a``, ``b`` and ``same``.

    Raises:
        LegionError: The file is something else, or a row lacks something.
    """
    rows = _rows(path)
    if len(rows) < 2:
        msg = f"{path}: got {len(rows) or 'no'} row; write at least two{_header(path)}"
        raise LegionError(msg)
    names = {name.strip().lower(): name for name in rows[0]}
    pair = _found(names, _LEFT), _found(names, _RIGHT), _found(names, _SAME)
    if None not in pair:
        a, b, same = (str(name) for name in pair)
        return [
            Pair(_text(row, a, at), _text(row, b, at), _truth(_text(row, same, at), at))
            for at, row in _numbered(path, rows)
        ]
    question, answer = _found(names, _QUESTION), _found(names, _ANSWER)
    if question is None or answer is None:
        msg = (
            f"{path}: got the columns {', '.join(names) or 'none'}; write question and"
            f" answer, or a, b and same{_header(path)}"
        )
        raise LegionError(msg)
    return [
        Labelled(_text(row, question, at), _text(row, answer, at))
        for at, row in _numbered(path, rows)
    ]


def sampled(pairs: Iterable[Pair], *, seed: int, questions: int) -> list[Pair]:
    """
    Draw pairs at random, as many as have at most so many different *questions*.

    Of questions that are sampled one by one, hardly two would belong together.
    """
    pairs = list(pairs)
    Random(seed).shuffle(pairs)  # noqa: S311 - an order, not a secret
    found: list[Pair] = []
    known: set[str] = set()
    for pair in pairs:
        if len(known | {pair.a, pair.b}) > questions:
            break
        known |= {pair.a, pair.b}
        found.append(pair)
    return found


def clusters(pairs: Iterable[Pair]) -> list[Labelled]:
    """
    Return the questions of *pairs*, labelled such that the same ones share a label.

    Sameness is taken to be transitive. Two questions that nobody compared get different
    labels, so that a true paraphrase among them counts as wrong.
    """
    parent: dict[str, str] = {}

    def root(question: str) -> str:
        parent.setdefault(question, question)
        while parent[question] != question:
            parent[question] = parent[parent[question]]
            question = parent[question]
        return question

    for pair in pairs:
        one, other = root(pair.a), root(pair.b)
        if pair.same:
            parent[one] = other
    return [Labelled(question, root(question)) for question in parent]


def _rows(path: Path) -> list[Mapping[str, object]]:
    if path.suffix not in {".csv", ".jsonl"}:
        msg = f"{path}: got a file that is neither .csv nor .jsonl; write one of them"
        raise LegionError(msg)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix == ".csv":
                rows: list[object] = list(csv.DictReader(file))
            else:
                rows = [json.loads(line) for line in file if line.strip()]
    except (UnicodeDecodeError, csv.Error, json.JSONDecodeError) as error:
        msg = f"{path}: {error}; write UTF-8, as CSV with a header or as JSON lines"
        raise LegionError(msg) from error
    return [_fields(row, at) for at, row in _numbered(path, rows)]


def _fields(row: object, at: str) -> Mapping[str, object]:
    if not isinstance(row, dict):
        msg = f"{at}: got {brief(row)}; write an object of names and texts"
        raise LegionError(msg)
    if None in row:  # where the csv module puts what has no name
        msg = f"{at}: got more fields than columns; quote texts that have a comma"
        raise LegionError(msg)
    return row


def _header(path: Path) -> str:
    return ", below a header, with commas between columns" * (path.suffix == ".csv")


def _numbered(path: Path, rows: Iterable[T]) -> Iterable[tuple[str, T]]:
    return ((f"{path}, row {i}", row) for i, row in enumerate(rows, 1))


def _found(names: Mapping[str, str], wanted: Iterable[str]) -> str | None:
    return next((names[name] for name in wanted if name in names), None)


def _text(row: Mapping[str, object], name: str, at: str) -> str:
    value = row.get(name)
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    if value is None or not text.strip():
        msg = f"{at}: got nothing for {name!r}; write a text in every row"
        raise LegionError(msg)
    return text


def _truth(text: str, at: str) -> bool:
    lowered = text.strip().lower()
    if lowered not in _YES + _NO:
        msg = f"{at}: got {text!r} for whether both are the same; write 1 or 0"
        raise LegionError(msg)
    return lowered in _YES
