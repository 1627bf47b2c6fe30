"""The questions of the demo: a file of them, half known and half asked."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import random

from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path

import attrs

from ..exceptions import LegionError


_TEXT = ("text", "question", "query")
_CATEGORY = ("category", "intent", "label")
_LARGEST = 200 * 2**20
_LEAST = 50


class TraceError(LegionError):
    """The file of questions cannot be used."""


@attrs.frozen
class Question:
    """
    A question, as a customer put it.

    Attributes:
        text: Its words.
        category: What it is about, or "" where the file does not say.
    """

    text: str
    category: str = ""


@attrs.frozen(kw_only=True)
class Trace:
    """
    The questions of one file.

    Attributes:
        corpus: Those whose answers are known: what retrieval ranks.
        traffic: Those that are asked.
    """

    corpus: tuple[Question, ...]
    traffic: tuple[Question, ...]

    def stream(self, seed: int) -> Iterator[Question]:
        """Yield the traffic in an order that *seed* decides, again and again."""
        order = random.Random(seed)  # noqa: S311 - an order, not a secret
        questions = list(self.traffic)
        while True:
            order.shuffle(questions)
            yield from questions


def load(path: Path | None) -> Trace:
    """
    Read questions from a CSV or JSONL file, or those shipped with the package.

    A CSV file has a header with a column text, question or query, and may have one
    named category, intent or label; else its first column holds the questions.

    Raises:
        TraceError: The file cannot be used; the message says what to write.
    """
    if path is None:
        text = files("legion.demo").joinpath("questions.csv").read_text("utf-8")
        return _split(list(_csv("questions.csv", text)))
    text = _read(path)
    lines = path.suffix.lower() in {".jsonl", ".ndjson"}
    return _split(list((_jsonl if lines else _csv)(str(path), text)), str(path))


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            msg = f"{path}: larger than 200 MB; write a file of fewer questions"
            raise TraceError(msg)
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: {error}; write the path of a CSV or JSONL file in UTF-8"
        raise TraceError(msg) from error


def _csv(name: str, text: str) -> Iterator[Question]:
    rows = csv.DictReader(io.StringIO(text, newline=""))
    columns = [column for column in rows.fieldnames or [] if column]
    if not columns:
        msg = f"{name}: no columns; write a header with a column 'text'"
        raise TraceError(msg)
    lower = {column.strip().lower(): column for column in columns}
    asked = next((lower[c] for c in _TEXT if c in lower), columns[0])
    about = next((lower[c] for c in _CATEGORY if c in lower), None)
    for row in rows:
        question = (row[asked] or "").strip()
        if question:
            yield Question(question, (row[about] or "").strip() if about else "")


def _jsonl(name: str, text: str) -> Iterator[Question]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            msg = f"{name}: line {number} is no JSON: {error}"
            raise TraceError(msg) from error
        asked = next((row[c] for c in _TEXT if c in row), None) if _is(row) else None
        if not isinstance(asked, str):
            msg = f'{name}: line {number}: write an object with a string "text"'
            raise TraceError(msg)
        about = next((row[c] for c in _CATEGORY if c in row), "")
        yield Question(asked.strip(), str(about))


def _is(row: object) -> bool:
    return isinstance(row, Mapping)


def _split(questions: list[Question], name: str = "questions.csv") -> Trace:
    """Make two fifths of the questions known, chosen by their words."""
    unique = list({question.text: question for question in questions}.values())
    if len(unique) < _LEAST:
        msg = f"{name}: {len(unique)} different questions; write {_LEAST} or more"
        raise TraceError(msg)
    known = [question for question in unique if _place(question) < 0.4]
    asked = [question for question in unique if _place(question) >= 0.4]
    return Trace(corpus=tuple(known), traffic=tuple(asked))


def _place(question: Question) -> float:
    place = hashlib.blake2b(question.text.encode(), digest_size=4).digest()
    return int.from_bytes(place, "big") / 2**32
