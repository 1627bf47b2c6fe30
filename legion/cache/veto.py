"""Words that turn a question into another one, however similar the rest is."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import attrs

from ..canonical import JSON
from .wording import LOOSE, Wording, Words, stem_of, wording


SHARED = 0.5
"""Share of their other words that two questions have in common where one word decides."""
SHARED_NEGATED = 0.75
"""The same for a negation, which complaints have and have not for the same thing."""

LONGEST = 1_000
"""Letters that are looked at; of longer questions only what is not in both."""

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
_PERCENT = frozenset({"percent"})
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
        kind: What differs: numbers, units, dates, names, a negation, opposites or the
            order.
        words: What is said about it.
    """

    kind: str
    words: str

    def __str__(self) -> str:
        return self.words


def veto(asked: str, stored: str, read: Words | None = None) -> Veto | None:
    """
    Return why the stored question's answer cannot be reused however near it is.

    It looks only at pairs that say nearly the same: with at least `SHARED` of their
    other words in common, one that differs is most of the difference. Between questions
    that are worded differently the same words mean little ("it is not working", "it
    failed"), so nothing is vetoed there. Of texts of more than `LONGEST` letters it
    looks at the places where they differ, if these are no more than that.

    Args:
        asked: A question.
        stored: Another one.
        read: Who remembers the `wording` of questions, if somebody does.

    Returns:
        What it is, such as "opposites: on, off", or None.
    """
    if max(len(asked), len(stored)) > LONGEST:
        asked, stored = _apart(asked, stored), _apart(stored, asked)
        if max(len(asked), len(stored)) > LONGEST:
            return None
    words_of = wording if read is None else read
    a, b = words_of(asked), words_of(stored)
    return _other_things(a, b) or _other_sense(a, b) or _other_order(a, b)


def _other_things(a: Wording, b: Wording) -> Veto | None:
    """Compare numbers, units, dates and names."""
    near = _shared(a.others, b.others)
    for kind, mine, other in (
        ("numbers", a.numbers, b.numbers),
        ("units", a.units, b.units),
        ("dates", a.calendar, b.calendar),
        ("names", a.names - b.words, b.names - a.words),
    ):
        if near >= SHARED and mine and other and mine != other:
            return _others(kind, a.spell(mine - other), b.spell(other - mine))
    if near >= SHARED and a.numbers and b.numbers and _PERCENT & (a.units ^ b.units):
        return _others("units", a.spell(a.units - b.units), b.spell(b.units - a.units))
    if a.numbers and b.numbers:
        return None
    if _shared(a.others - LOOSE.keys(), b.others - LOOSE.keys()) >= SHARED:
        for stem in sorted(a.counts.keys() & b.counts.keys()):
            (number, spelled), (counter, written) = a.counts[stem], b.counts[stem]
            if number != counter:
                return _others("numbers", spelled, written)
    return None


def _others(kind: str, mine: str, other: str) -> Veto:
    return Veto(kind, f"other {kind}: {mine}, {other}")


def _other_sense(a: Wording, b: Wording) -> Veto | None:
    """Compare negations and opposites."""
    # "Not happy" is "unhappy": what differs in both has not changed.
    negated = a.negations % 2 != b.negations % 2
    pair = _opposed(a.others - b.others, b.others - a.others)
    if pair and _shared(a.others - {pair[0]}, b.others - {pair[1]}) >= SHARED:
        words = f"opposites: {a.spell({pair[0]})}, {b.spell({pair[1]})}"
        return None if negated else Veto("opposites", words)
    if negated and _shared(a.others, b.others) >= SHARED_NEGATED:
        return Veto("negation", "only one is negated")
    return None


def _other_order(a: Wording, b: Wording) -> Veto | None:
    """Compare what goes where, and who does it to whom."""
    turned = [
        (a.spell({left}), a.spell({right}))
        for left, right in sorted(a.ways)
        if (right, left) in b.ways and _shared(a.others, b.others) >= SHARED
    ]
    if a.frame == b.frame and sorted(map(sorted, a.named)) == sorted(
        map(sorted, b.named)
    ):
        both = zip(a.named, b.named, strict=True)
        turned += [(a.spell(x), a.spell(y)) for x, y in both if x != y]
    if not turned:
        return None
    return Veto("order", f"the other way round: {', '.join(turned[0])}")


def _apart(text: str, other: str) -> str:
    """Return what of *text* is not in *other*, with two words on each side of it."""
    words, known = text.split(), set(pairwise(other.split()))
    kept: set[int] = set()
    for i, pair in enumerate(pairwise(words)):
        if pair not in known:
            kept.update(range(max(i - 1, 0), i + 3))
            if len(kept) > LONGEST:
                break
    return " ".join(words[i] for i in sorted(kept) if i < len(words))


def _shared(mine: frozenset[str], other: frozenset[str]) -> float:
    together = len(mine | other)
    return len(mine & other) / together if together else 1.0


def _opposed(mine: frozenset[str], other: frozenset[str]) -> tuple[str, str] | None:
    """Return two words, one of each question, that mean the opposite."""
    for word in sorted(mine):
        counters = (_OPPOSITE.get(word, set()) | _prefixed(word)) & other
        if counters:
            return word, min(counters)
    return None


def _prefixed(word: str) -> set[str]:
    """Return *word* with each prefix that turns it round, and without the one it has."""
    if len(word) <= 2:
        return set()
    shorter = {word.removeprefix(each) for each in _PREFIXES if word.startswith(each)}
    return {each for each in shorter if len(each) > 2} | {
        prefix + word for prefix in _PREFIXES
    }


def _pairs() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for each in _OPPOSITES.split(";"):
        one, other = (stem_of(word) for word in each.split())
        found.setdefault(one, set()).add(other)
        found.setdefault(other, set()).add(one)
    return found


_OPPOSITE = _pairs()
