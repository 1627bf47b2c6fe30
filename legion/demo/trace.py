"""A trace: the questions of the demo, those known and those asked."""

from __future__ import annotations

import csv
import hashlib
import io
import json

from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import attrs

from ..exceptions import LegionError


SHIPPED = "questions.csv"

FEWEST = 50
LARGEST_BYTES = 200 * 1024 * 1024
KNOWN_SHARE = 0.4

_TEXT = ("text", "question", "query", "utterance", "message", "prompt")
_CATEGORY = ("category", "intent", "label", "topic")
_OBJECTS = {".json", ".jsonl", ".ndjson"}


class TraceError(LegionError):
    """
    A file of questions cannot be used.

    Attributes:
        source: The file.
    """

    def __init__(self, source: str, message: str) -> None:
        self.source = source
        super().__init__(f"{source}: {message}")


@attrs.frozen(kw_only=True)
class Question:
    """
    A question of a customer.

    Attributes:
        text: What was asked, white space folded.
        category: What it is about, or None where the trace does not say.
        id: First 16 hexadecimal digits of the SHA-256 of the text.
    """

    text: str
    category: str | None = None
    id: str = attrs.field(
        default=attrs.Factory(lambda self: _hash(self.text), takes_self=True)
    )


@attrs.frozen(kw_only=True)
class Trace:
    """
    Questions in two halves that share no text.

    Attributes:
        source: The file they came from.
        corpus: Questions that are known: what retrieval ranks.
        traffic: Questions that are asked, in the order of the file.
    """

    source: str
    corpus: tuple[Question, ...]
    traffic: tuple[Question, ...]

    @classmethod
    def of(cls, questions: Iterable[Question], *, source: str = "<memory>") -> Trace:
        """
        Split *questions* by the hash of their text, 40 to 60 in every category.

        The same text, whatever its case, is always on the same side.

        Raises:
            TraceError: There are fewer than 50 different questions.
        """
        asked = tuple(questions)
        categories: dict[str | None, set[str]] = {}
        for question in asked:
            categories.setdefault(question.category, set()).add(_fold(question.text))
        different = len(set().union(*categories.values()))
        if different < FEWEST:
            msg = f"got {different} different questions; write at least {FEWEST}"
            raise TraceError(source, msg)
        known = set().union(*map(_known, categories.values()))
        return cls(
            source=source,
            corpus=tuple(q for q in asked if _fold(q.text) in known),
            traffic=tuple(q for q in asked if _fold(q.text) not in known),
        )

    def stream(self, seed: int) -> Iterator[Question]:
        """
        Yield the traffic without end, pass after pass, each in an order of its own.

        The order rests on hashes of the seed, so it is the same on every machine and
        with every version of Python.
        """
        number = 0
        while True:
            yield from _shuffled(self.traffic, f"{seed}:{number}")
            number += 1


def load(path: Path | None = None) -> Trace:
    """
    Read a trace.

    A CSV file names its columns in the first line; questions are in ``text``,
    ``question`` or ``query``, categories in ``category``, ``intent`` or ``label``.
    Where the first line names none of these, questions are in the first column of
    every line. A JSONL file has one object with the same keys on each line. Empty
    questions are left out.

    Args:
        path: A CSV or JSONL file in UTF-8; None is the file that comes with legion.

    Raises:
        TraceError: The file cannot be used; the message says what to write instead.
    """
    if path is None:
        raw, source = files("legion.demo").joinpath(SHIPPED).read_bytes(), SHIPPED
    else:
        raw, source = _read(path), str(path)
    return Trace.of(_questions(_decoded(raw, source), source), source=source)


def _read(path: Path) -> bytes:
    source = str(path)
    if path.is_dir():
        raise TraceError(
            source, "is a directory; write the name of a CSV or JSONL file"
        )
    if not path.exists():
        raise TraceError(source, "there is no such file; write the path of a CSV file")
    if not path.is_file():
        raise TraceError(source, "is no regular file; write the path of a CSV file")
    try:
        size = path.stat().st_size
        if size > LARGEST_BYTES:
            msg = f"got {size / 2**20:.0f} MB; write a file of at most 200 MB"
            raise TraceError(source, msg)
        return path.read_bytes()
    except OSError as error:
        msg = f"cannot be read ({error.strerror}); write the path of a readable file"
        raise TraceError(source, msg) from error


def _decoded(raw: bytes, source: str) -> str:
    if not raw.strip():
        raise TraceError(source, f"is empty; write at least {FEWEST} questions into it")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"byte {error.start} is not UTF-8; write the file in UTF-8"
        raise TraceError(source, msg) from error


def _questions(text: str, source: str) -> Iterator[Question]:
    objects = Path(source).suffix in _OBJECTS or text.lstrip().startswith("{")
    rows = _json_rows if objects else _csv_rows
    for asked, category in rows(text, source):
        folded = " ".join(asked.split())
        if folded:
            yield Question(text=folded, category=category.strip() or None)


class _Row(NamedTuple):
    asked: str
    category: str = ""


def _json_rows(text: str, source: str) -> Iterator[_Row]:
    # Not splitlines: JSON may have other line separators inside of its strings.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            msg = f'line {number} is not JSON; write {{"text": "..."}} on each line'
            raise TraceError(source, msg) from error
        found = _keyed(value)
        if found is None:
            msg = f'line {number} has no question; write {{"text": "..."}}'
            raise TraceError(source, msg)
        yield found


def _keyed(value: object) -> _Row | None:
    if not isinstance(value, dict):
        return None
    fields = {key.strip().lower(): item for key, item in value.items()}
    asked = next((fields[name] for name in _TEXT if name in fields), None)
    label = next((fields[name] for name in _CATEGORY if name in fields), None)
    if not isinstance(asked, str):
        return None
    # JSON can spell half a surrogate pair, which no encoding has.
    asked = asked.encode("utf-8", "replace").decode()
    return _Row(asked, "" if label is None else str(label))


def _csv_rows(text: str, source: str) -> Iterator[_Row]:
    rows = _cells(text, source)
    header = [cell.strip().lower() for cell in rows[0]]
    column = next((header.index(name) for name in _TEXT if name in header), None)
    label = next((header.index(name) for name in _CATEGORY if name in header), None)
    named = column is not None or label is not None
    if column is None:
        column = next((i for i in range(len(header)) if i != label), None)
    asked = rows[1:] if named else rows
    if column is None or not _mostly_words(asked, column):
        msg = "has no column of questions; write text,category as its first line"
        raise TraceError(source, msg)
    for row in asked:
        yield _Row(_cell(row, column), "" if label is None else _cell(row, label))


def _cells(text: str, source: str) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        return [row for row in reader if row]
    except csv.Error as error:
        msg = f"line {reader.line_num} is not CSV ({error}); write questions in quotes"
        raise TraceError(source, msg) from error


def _cell(row: Sequence[str], column: int) -> str:
    return row[column] if column < len(row) else ""


def _mostly_words(rows: Sequence[Sequence[str]], column: int) -> bool:
    words = sum(any(map(str.isalpha, _cell(row, column))) for row in rows)
    return 2 * words >= len(rows)


def _fold(text: str) -> str:
    return text.casefold()


def _known(texts: set[str]) -> list[str]:
    """Return those of one category's *texts* that are known: the first by hash."""
    places = {text: _place(text) for text in texts}
    if len(places) == 1:
        return [text for text, place in places.items() if place < KNOWN_SHARE]
    ordered = sorted(places, key=places.__getitem__)
    return ordered[: max(1, round(KNOWN_SHARE * len(ordered)))]


def _place(text: str) -> float:
    """Return where between 0 and 1 the hash of *text* lies."""
    return int(_hash(text), 16) / 2**64


def _shuffled(questions: Sequence[Question], salt: str) -> list[Question]:
    return sorted(questions, key=lambda question: _hash(f"{salt}:{question.id}"))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
