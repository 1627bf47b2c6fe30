"""A question's words, sorted by what they can change."""

from __future__ import annotations

import re

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple, Protocol

import attrs


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words, numbers, money and percent, and a minus where nothing stands before it.
_WORD = re.compile(
    r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*|\d+(?:[.,:/-]\d+)*|[$€£¥₹%]"
    r"|(?<![\w$€£¥₹%.)-])[-\u2212](?=[$€£¥₹]?\d)"
)
_UNITS = {
    "$": "dollar",
    "dollars": "dollar",
    "usd": "dollar",
    "€": "euro",
    "euros": "euro",
    "eur": "euro",
    "£": "pound",
    "pounds": "pound",
    "gbp": "pound",
    "¥": "yen",
    "₹": "rupee",
    "rupees": "rupee",
    "%": "percent",
}
_UNITS |= {name: name for name in _UNITS.values()}
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_NEGATIONS = _words(
    "no not never none neither nor nobody nothing nowhere without cannot cant dont"
    " wont isnt arent doesnt didnt wasnt werent hasnt havent couldnt shouldnt wouldnt"
    " aint unable"
)
_DIRECTIONS = frozenset({"to", "from", "into", "than"})
_CALENDAR = _words(
    "january february march april june july august september october november december"
    " monday tuesday wednesday thursday friday saturday sunday"
)
_COUNTS = {
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
    "ten": "10",
    "eleven": "11",
    "twelve": "12",
}
# Numbers where another one stands before the same word; "which one" is none.
LOOSE = {"one": "1", "first": "1", "second": "2", "third": "3", "fourth": "4"}
_MINUS = frozenset("-\u2212")
_COMMON = _words(
    "a an the and or of for at by is are was were be been am do does did have has had"
    " i you he she it we they me my your his her its our their this that these those"
    " what which who whom whose when where why how can could will would shall should"
    " may might must please there here so if then than as"
)


@attrs.frozen
class Wording:
    """
    A question's words, sorted by what they can change.

    Attributes:
        numbers: Digits with their sign, and small number words as digits.
        units: Currencies and percent, of whatever spelling.
        calendar: Months and days of the week.
        names: Words with a capital, other than where every sentence has one.
        negations: How many.
        others: The rest, as stems, without the most common ones.
        words: All, as stems.
        counts: By stem the number before it, "one" and "first" too, and as written.
        ways: From which stem to which it goes, or which is compared with which.
        frame: All but the most common ones in order, as stems; "" for names in a row.
        named: Names, also those where a sentence begins, for each "" of the frame.
        spelled: Stems as they were written.
    """

    numbers: frozenset[str]
    units: frozenset[str]
    calendar: frozenset[str]
    names: frozenset[str]
    negations: int
    others: frozenset[str]
    words: frozenset[str]
    counts: dict[str, tuple[str, str]] = attrs.field(eq=False)
    ways: frozenset[tuple[str, str]]
    frame: tuple[str, ...]
    named: tuple[frozenset[str], ...]
    spelled: dict[str, str] = attrs.field(eq=False)

    def spell(self, stems: Iterable[str]) -> str:
        """List *stems* as words."""
        return (
            " ".join(sorted(self.spelled.get(stem, stem) for stem in stems)) or "none"
        )


class Words(Protocol):
    """Who knows the words of questions."""

    def __call__(self, question: str, /) -> Wording:
        """Return those of one."""
        ...

    def cache_clear(self) -> None:
        """Forget what was asked for."""
        ...


def remembered() -> Words:
    """Return `wording`, which remembers those it was asked for last."""
    return lru_cache(maxsize=4096)(wording)


def wording(question: str) -> Wording:
    """Return the words of *question*, sorted."""
    words = list(_read(question))
    kinds: dict[str, set[str]] = {}
    for word in words:
        kinds.setdefault(word.kind, set()).add(word.stem)
    frame, named = _framed(words)
    return Wording(
        frozenset(kinds.get("numbers", ())),
        frozenset(kinds.get("units", ())),
        frozenset(kinds.get("calendar", ())),
        frozenset(kinds.get("names", ())),
        sum(word.kind == "negations" for word in words),
        frozenset(kinds.get("others", ())),
        frozenset(word.stem for word in words),
        _counts(words),
        frozenset(_ways([word.stem for word in words])),
        frame,
        named,
        {word.stem: word.spelled for word in words},
    )


class _Word(NamedTuple):
    """A word as it is read; the stem of one that says nothing is empty."""

    kind: str
    stem: str
    spelled: str
    named: bool


def _read(question: str) -> Iterator[_Word]:
    shouted = question.isupper() or question.istitle()
    sign = ""
    for match in _WORD.finditer(question):
        if match[0] in _MINUS:
            sign = "-"
            continue
        plain = match[0].lower().replace("\u2019", "'").removesuffix("'s")
        capital = not shouted and match[0][0].isupper()
        inside = capital and not _opens(question, match.start())
        kind = _kind(plain, capital=inside)
        said = sign if kind == "numbers" else ""
        sign = sign if kind == "units" else ""
        named = capital and kind in {"names", "others"}
        yield _Word(kind, said + _stemmed(kind, plain), said + match[0], named)


def _counts(words: list[_Word]) -> dict[str, tuple[str, str]]:
    counts = {}
    for word, behind in pairwise(words):
        number = word.stem if word.kind == "numbers" else LOOSE.get(word.stem)
        if number and behind.stem:
            counts[behind.stem] = number, word.spelled
    return counts


def _ways(stems: list[str]) -> Iterator[tuple[str, str]]:
    for i in range(1, len(stems) - 1):
        before, word, behind = stems[i - 1 : i + 2]
        if word in _DIRECTIONS and before and behind:
            yield (behind, before) if word == "from" else (before, behind)


def _framed(words: list[_Word]) -> tuple[tuple[str, ...], tuple[frozenset[str], ...]]:
    """Part the names of a question from the rest of it; names in a row are one place."""
    frame: list[str] = []
    named: list[frozenset[str]] = []
    for word in words:
        if not word.named:
            frame += [word.stem] if word.stem else []
        elif frame[-1:] == [""]:
            named[-1] |= {word.stem}
        else:
            frame.append("")
            named.append(frozenset({word.stem}))
    return tuple(frame), tuple(named)


def _kind(plain: str, *, capital: bool) -> str:
    if plain[0].isdigit() or plain in _COUNTS:
        return "numbers"
    if plain in _UNITS:
        return "units"
    if plain.replace("'", "") in _NEGATIONS:
        return "negations"
    if plain in _CALENDAR:
        return "calendar"
    if plain in _COMMON or plain in _DIRECTIONS or plain.partition("'")[0] in _COMMON:
        return "common"
    return "names" if capital else "others"


def _opens(question: str, at: int) -> bool:
    """Say whether a sentence begins here, so that its first word has a capital."""
    before = question[:at].rstrip(" \"'([\u201c\u2018\n\t")
    return not before or before[-1] in ".?!:;"


def _stemmed(kind: str, plain: str) -> str:
    if kind == "numbers":
        thousands = _THOUSANDS.fullmatch(plain)
        return plain.replace(",", "") if thousands else _COUNTS.get(plain, plain)
    if kind == "units":
        return _UNITS[plain]
    if kind == "common":
        return plain if plain in _DIRECTIONS else ""
    return plain if kind == "calendar" or plain in LOOSE else stem_of(plain)


def stem_of(word: str) -> str:
    """Return *word* without what only its form adds."""
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word.removesuffix(ending)
            break
    return word.removesuffix("e") if len(word) > 3 else word
