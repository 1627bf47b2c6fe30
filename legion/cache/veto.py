"""Words that turn a question into another one, however similar the rest is."""

from __future__ import annotations

import re

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import attrs

from ..canonical import JSON


SHARED = 0.5
"""Share of their other words that two questions have in common where one word decides."""
SHARED_NEGATED = 0.75
"""The same for a negation, which complaints have and have not for the same thing."""

LONGEST = 1_000
"""Letters of a question that is looked at; in longer ones a word decides less."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORD = re.compile(r"\d+(?:[.,:/-]\d+)*|[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
_NEGATIONS = _words(
    "no not never none neither nor nobody nothing nowhere without cannot cant dont"
    " wont isnt arent doesnt didnt wasnt werent hasnt havent couldnt shouldnt wouldnt"
    " aint unable"
)
_OPPOSITES = (
    "on off;enable disable;start stop;start end;begin end;open close;add remove;"
    "add delete;create delete;increase decrease;raise lower;raise reduce;up down;"
    "buy sell;before after;allow deny;allow forbid;allow block;accept reject;"
    "accept refuse;accept decline;approve reject;approve deny;approve decline;"
    "import export;upload download;push pull;send receive;deposit withdraw;"
    "lend borrow;win lose;pass fail;show hide;join leave;enter exit;enter leave;"
    "login logout;log-in log-out;max min;maximum minimum;most least;more less;"
    "more fewer;many few;first last;always never;all none;best worst;good bad;"
    "high low;higher lower;highest lowest;hot cold;warm cool;old new;early late;"
    "earliest latest;long short;big small;large small;fast slow;left right;"
    "inside outside;above below;public private;internal external;lock unlock;"
    "cheap expensive;true false;positive negative;include exclude;"
    "connect disconnect;expand collapse;freeze unfreeze;mute unmute;male female;"
    "morning evening;day night;today tomorrow;today yesterday;tomorrow yesterday;"
    "arrive depart;arrival departure;credit debit;encrypt decrypt;attach detach;"
    "gain lose;gain loss;profit loss;rise fall;grow shrink;love hate;safe dangerous;"
    "possible impossible;legal illegal;pros cons;advantage disadvantage"
)
_PREFIXES = ("un", "in", "im", "il", "ir", "dis", "de", "non")
_DIRECTIONS = frozenset({"to", "from", "into", "than"})
_CALENDAR = _words(
    "january february march april june july august september october november december"
    " monday tuesday wednesday thursday friday saturday sunday"
)
# Without "one", which is a pronoun more often.
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
_COMMON = _words(
    "a an the and or of for at by is are was were be been am do does did have has had"
    " i you he she it we they me my your his her its our their this that these those"
    " what which who whom whose when where why how can could will would shall should"
    " may might must please there here so if then than as"
)


_TRIED, _RIGHT = 20, 0.9


@attrs.define(eq=False)
class VetoRecord:
    """
    How vetoes fare: a kind that keeps out right answers is dropped.

    What a number or a "not" changes depends on the traffic: it is everything where
    prices are asked for, and nothing where it numbers the tickets. So once a kind is
    seen to be wrong in 9 of at least 20 cases in 10, it is pardoned, until it is not.

    Attributes:
        pardoned: The kinds that are dropped now.
    """

    pardoned: frozenset[str] = attrs.field(init=False, default=frozenset())
    _seen: dict[str, tuple[float, float]] = attrs.field(init=False, factory=dict)

    def learn(self, kind: str, *, right: bool) -> None:
        """Take note of a veto, and whether the answer it kept out was right."""
        wrong, n = self._seen.get(kind, (0.0, 0.0))
        self._seen[kind] = (wrong + right, n + 1)
        self._pardon()

    def dump(self) -> dict[str, JSON]:
        """Return what was learned."""
        return {"version": 1, "seen": {k: list(n) for k, n in self._seen.items()}}

    def load(self, learned: Mapping[str, Any]) -> None:
        """Know what `dump` returned, or nothing if that was another one's."""
        seen = learned["seen"] if learned.get("version") == 1 else {}
        self._seen = {kind: (wrong, n) for kind, (wrong, n) in seen.items()}
        self._pardon()

    def _pardon(self) -> None:
        self.pardoned = frozenset(
            each
            for each, (mistakes, tried) in self._seen.items()
            if tried >= _TRIED and mistakes >= _RIGHT * tried
        )


class Veto(NamedTuple):
    """
    Why the answer to a near question cannot be reused.

    Attributes:
        kind: What differs: numbers, dates, names, a negation, opposites or the order.
        words: What is said about it.
    """

    kind: str
    words: str

    def __str__(self) -> str:
        return self.words


@attrs.frozen
class Wording:
    """
    A question's words, sorted by what they can change.

    Attributes:
        numbers: Digits as they are written, and small number words as digits.
        calendar: Months and days of the week.
        names: Words with a capital, other than where every sentence has one.
        negations: How many.
        others: The rest, as stems, without the most common ones.
        words: All, as stems.
        ways: From which stem to which it goes, or which is compared with which.
        spelled: Stems as they were written.
    """

    numbers: frozenset[str]
    calendar: frozenset[str]
    names: frozenset[str]
    negations: int
    others: frozenset[str]
    words: frozenset[str]
    ways: frozenset[tuple[str, str]]
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


def veto(asked: str, stored: str, read: Words | None = None) -> Veto | None:
    """
    Return why the stored question's answer cannot be reused however near it is.

    It looks only at pairs that say nearly the same: with at least `SHARED` of their
    other words in common, one that differs is most of the difference. Between questions
    that are worded differently the same words mean little ("it is not working", "it
    failed"), so nothing is vetoed there, nor in texts of more than `LONGEST` letters.

    Args:
        asked: A question.
        stored: Another one.
        read: Who remembers the `wording` of questions, if somebody does.

    Returns:
        What it is, such as "opposites: on, off", or None.
    """
    if max(len(asked), len(stored)) > LONGEST:
        return None
    words_of = wording if read is None else read
    a, b = words_of(asked), words_of(stored)
    near = _shared(a.others, b.others)
    for kind, mine, other in (
        ("numbers", a.numbers, b.numbers),
        ("dates", a.calendar, b.calendar),
        ("names", a.names - b.words, b.names - a.words),
    ):
        if near >= SHARED and mine and other and mine != other:
            found = a.spell(mine - other), b.spell(other - mine)
            return Veto(kind, f"other {kind}: {found[0]}, {found[1]}")
    # "Not happy" is "unhappy": what differs in both has not changed.
    negated = a.negations % 2 != b.negations % 2
    pair = _opposed(a.others - b.others, b.others - a.others)
    if pair and _shared(a.others - {pair[0]}, b.others - {pair[1]}) >= SHARED:
        words = f"opposites: {a.spell({pair[0]})}, {b.spell({pair[1]})}"
        return None if negated else Veto("opposites", words)
    if negated and near >= SHARED_NEGATED:
        return Veto("negation", "only one is negated")
    for left, right in sorted(a.ways):
        if near >= SHARED and (right, left) in b.ways:
            words = f"{a.spell({left})}, {a.spell({right})}"
            return Veto("order", f"the other way round: {words}")
    return None


def remembered() -> Words:
    """Return `wording`, which remembers those it was asked for last."""
    return lru_cache(maxsize=4096)(wording)


def wording(question: str) -> Wording:
    """Return the words of *question*, sorted."""
    kinds: dict[str, set[str]] = {}
    stems, spelled, negations = [], {}, 0
    shouted = question.isupper() or question.istitle()
    for match in _WORD.finditer(question):
        plain = match[0].lower().replace("\u2019", "'").removesuffix("'s")
        inside = not shouted and not _opens(question, match.start())
        kind = _kind(plain, capital=inside and match[0][0].isupper())
        stem = plain if kind == "calendar" else _COUNTS.get(plain, _stem(plain))
        kinds.setdefault(kind, set()).add(stem)
        stems.append("" if kind == "common" and plain not in _DIRECTIONS else stem)
        spelled[stem] = match[0]
        negations += kind == "negations"
    return Wording(
        frozenset(kinds.get("numbers", ())),
        frozenset(kinds.get("calendar", ())),
        frozenset(kinds.get("names", ())),
        negations,
        frozenset(kinds.get("others", ())),
        frozenset(spelled),
        frozenset(_ways(stems)),
        spelled,
    )


def _ways(stems: list[str]) -> Iterator[tuple[str, str]]:
    for i in range(1, len(stems) - 1):
        before, word, behind = stems[i - 1 : i + 2]
        if word in _DIRECTIONS and before and behind:
            yield (behind, before) if word == "from" else (before, behind)


def _kind(plain: str, *, capital: bool) -> str:
    if plain[0].isdigit() or plain in _COUNTS:
        return "numbers"
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


def _stem(word: str) -> str:
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word.removesuffix(ending)
            break
    return word.removesuffix("e") if len(word) > 3 else word


def _shared(mine: frozenset[str], other: frozenset[str]) -> float:
    together = len(mine | other)
    return len(mine & other) / together if together else 1.0


def _opposed(mine: frozenset[str], other: frozenset[str]) -> tuple[str, str] | None:
    """Return two words, one of each question, that mean the opposite."""
    for word in sorted(mine):
        for counter in sorted(other):
            if counter in _OPPOSITE.get(word, ()) or _prefixed(word, counter):
                return word, counter
    return None


def _prefixed(word: str, counter: str) -> bool:
    long, short = (word, counter) if len(word) > len(counter) else (counter, word)
    return len(short) > 2 and any(long == prefix + short for prefix in _PREFIXES)


def _pairs() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for each in _OPPOSITES.split(";"):
        one, other = (_stem(word) for word in each.split())
        found.setdefault(one, set()).add(other)
        found.setdefault(other, set()).add(one)
    return found


_OPPOSITE = _pairs()
