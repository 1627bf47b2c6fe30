"""The accept rule that keeps wrong answers within a share of the requests."""

from __future__ import annotations

import math

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeAlias

import attrs

from ..canonical import JSON
from .accept import Asked, Decision, Ticket, Why, unvetoed
from .budget import ErrorBudget
from .calibration import Calibration
from .groups import Group, ValueGroups
from .hit import V
from .signal import LEAST, NEIGHBOURS, Neighbours, Signal, alone, signal
from .veto import Veto, VetoRecord, veto
from .wording import Words, remembered


if TYPE_CHECKING:
    from .entry import Entry


EVEN = 0.5
"""An answer that is more likely wrong than right is never taken unjudged."""
RECURRING = 2
"""From so many questions on, a value is one that others may have, too."""
_EXPLORED = 0.05
_BAR_STEP = 0.5
_EVEN_ODDS, _WORST_ODDS = 0.0, math.log(99)
_MISSES = 4_096
_RESERVE = 0.1
_STEPS = 32

Lesson: TypeAlias = "list[Any]"
"""What was learned: its name, and figures of whatever number the signal has."""


class _Miss(NamedTuple):
    """What would have been served, and what was vetoed, with their values' groups."""

    signal: Signal | None
    origin: int
    group: Group | None
    veto: Veto | None
    vetoed: Group | None


@attrs.define(eq=False)
class Promise(Generic[V]):
    """
    Accepts what is likely right, as far as the budget goes.

    Three parts, and only the first is what is promised: the budget, which does not care
    how answers are chosen; a calibrated chance that the answer is wrong; and the limit
    of that chance, which spends what the budget affords and keeps a reserve, because a
    budget that is spent refuses the best answers with the others.

    It learns from what is judged, and from misses: once the answer is stored, it is
    known whether the nearest entry had it. That holds where values recur for different
    questions. Of free texts, which never do, only what is judged is known.

    Attributes:
        budget: The wrong answers that may still be served.
        random: Where coins come from.
        veto: Whether opposites, other numbers, names and dates are refused.
        vetoes: How the vetoes of each kind fare.
        tell: Who is told what it learns, if anybody writes it down.
    """

    budget: ErrorBudget
    random: Random
    veto: bool
    neighbours: ClassVar[int] = NEIGHBOURS
    floor: ClassVar[float] = LEAST
    # By each of two scans. So of those at .6, which hardly ever answer, some 4e-6 are
    # overlooked, and of those at .7 less than 1e-9.
    missed: ClassVar[float] = 1e-3
    vetoes: VetoRecord = attrs.field(init=False, factory=VetoRecord)
    tell: Callable[[Lesson], None] | None = attrs.field(init=False, default=None)
    _bar: float = attrs.field(init=False, default=_EVEN_ODDS)
    _calibration: Calibration = attrs.field(init=False, factory=Calibration)
    _words: Words = attrs.field(init=False, factory=remembered)
    _groups: ValueGroups = attrs.field(init=False, factory=ValueGroups)
    _misses: OrderedDict[tuple[str, str], _Miss] = attrs.field(
        init=False, factory=OrderedDict
    )

    def compare(self, asked: Asked[V], neighbours: Neighbours[V]) -> None:
        """Ask the veto of as many as are looked at."""
        if self.veto:
            self._unvetoed(asked, neighbours)

    def _unvetoed(
        self, asked: Asked[V], neighbours: Neighbours[V]
    ) -> tuple[int | None, Veto | None]:
        pardoned = self.vetoes.pardoned
        return unvetoed(asked, neighbours, words=self._words, pardoned=pardoned)

    def group(self, value: V) -> Group | None:
        """Return the group of *value*, in which it is not counted yet."""
        return self._groups.of(value)

    def decide(
        self, asked: Asked[V], neighbours: Neighbours[V], request: int
    ) -> Decision[V]:
        """Accept by the chance of being wrong, as far as the budget goes."""
        if not neighbours:
            return Decision(why="empty")
        if neighbours[0][1] < LEAST:
            entry, similarity = neighbours[0]
            return Decision(
                why="far", nearest=entry, entry=entry, similarity=similarity
            )
        found: int | None = 0
        said = None
        if self.veto:
            found, said = self._unvetoed(asked, neighbours)
        entry, similarity = neighbours[found or 0]
        nearest = neighbours[0][0]
        if found is None:
            return Decision(
                why="veto",
                nearest=nearest,
                veto=said,
                entry=entry,
                similarity=similarity,
            )
        figures = signal(found, neighbours)
        chance = self._calibration.wrong(figures)
        limit = self._limit(request, judged_first=asked.judged_first)
        if chance > limit:
            why: Why = "doubt"
        else:
            why = "accepted" if self.budget.permits(request) else "budget"
        return Decision(
            why=why,
            nearest=nearest,
            veto=said,
            entry=entry,
            similarity=similarity,
            signal=figures,
            chance=chance,
            limit=limit,
        )

    def least(self, asked: Asked[V], request: int) -> float:
        """Return from which cosine an answer would do if no other were near."""
        if not self.budget.permits(request):
            return math.inf
        limit = self._limit(request, judged_first=asked.judged_first)
        cosines = [LEAST + (1 - LEAST) * i / _STEPS for i in range(_STEPS + 1)]
        # The chance falls as the cosine grows.
        first = bisect_left(
            cosines,
            True,  # noqa: FBT003
            key=lambda cosine: self._calibration.wrong(alone(cosine)) <= limit,
        )
        return cosines[first] if first < len(cosines) else math.inf

    def vetoed(self, asked: str, other: str) -> bool:
        """Look what differs, and whether that kind is pardoned."""
        said = veto(asked, other, self._words) if self.veto else None
        return said is not None and said.kind not in self.vetoes.pardoned

    def _limit(self, request: int, *, judged_first: bool) -> float:
        """Return up to which chance of being wrong answers are taken now."""
        budget = self.budget
        if not budget.permits(request) or (judged_first and budget.judged == 1):
            return EVEN
        if budget.judged == 0:
            return min(EVEN, self._calibration.limit_of_share(budget.max_error))
        price = budget.price(judged_first=judged_first)
        reserve = 2 * price / budget.judged + _RESERVE * budget.max_error * request
        afforded = budget.max_error / price * budget.slack(request) / reserve
        return min(EVEN, self._calibration.limit(afforded))

    def _is_worth_it(self, chance: float) -> bool:
        """
        Say whether an answer is more likely right than wrong, or among the likeliest.

        Where nothing seems likely, nothing would be judged, and nobody would find out.
        So the bar, a logarithm of odds, rises until one in 20 is below it, whatever the fit and
        the traffic (stochastic approximation, Robbins and Monro, 1951; as Gibbs and
        Candes, 2021, have it, with a step that stays).
        """
        worth = chance <= 1 / (1 + math.exp(-self._bar))
        bar = self._bar + _BAR_STEP * (_EXPLORED - worth)
        self._bar = min(max(bar, _EVEN_ODDS), _WORST_ODDS)
        return worth

    def take(self, decision: Decision[V], asked: Asked[V]) -> Ticket[V] | None:
        """
        Throw the coin for what is accepted, and charge it.

        What the budget does not permit, or not yet, can still be judged before anybody
        gets it, by the same coin, if that is worth a judgement. None of these is ever
        served unjudged, so none is charged.
        """
        entry, figures = decision.entry, decision.signal
        if entry is None:
            return None
        worth = False
        if figures is not None:
            self._learn(["seen", list(figures)])
            worth = self._is_worth_it(decision.chance)
        permitted = decision.why == "accepted"
        if permitted or (asked.judged_first and worth):
            audited = self.random.random() < self.budget.judged
            if permitted:
                self.budget.serve(audited=audited)
            if permitted or audited:
                return Ticket(entry, asked, decision, self.budget, audited=audited)
        self._misses[entry.partition.scope, asked.key] = _Miss(
            figures,
            entry.family,
            _recurring(entry),
            decision.veto,
            _recurring(decision.nearest),
        )
        if len(self._misses) > _MISSES:
            self._misses.popitem(last=False)
        return None

    def answer(self, ticket: Ticket[V], *, right: bool, withheld: bool = False) -> bool:
        """
        Take note of a judgement, or of what somebody tells without being asked.

        Who was not asked can only tell of wrong ones, and nobody can take a "wrong"
        back: praise that is not chosen by the coin says nothing of what escaped it.
        """
        was, decision = ticket.right, ticket.decision
        # Of what was served before a fork the parent's budget alone is told.
        audited = ticket.audited and ticket.budget is self.budget
        asked_for = audited and was is None
        if was is right or was is False or (right and not asked_for):
            return False
        ticket.right = right
        charged = decision is not None and decision.why == "accepted"
        if not asked_for:
            self.budget.blame(audited=audited)
        elif charged and right:
            self.budget.clear()
        elif charged and withheld:
            self.budget.withhold()
        if decision is not None and decision.signal is not None:
            chance = self.budget.judged if asked_for else 1.0
            figures, family = list(decision.signal), ticket.entry.family
            self._learn(["label", figures, right, chance, family])
        return True

    def stored(self, entry: Entry[V], group: Group | None) -> None:
        """Compare the answer with the one that would have been served."""
        assert group is not None
        entry.group = self._groups.add(group)
        missed = self._misses.pop((entry.partition.scope, entry.key), None)
        if missed is None:
            return
        if missed.signal is not None and missed.group is not None:
            right = entry.group is missed.group
            figures = list(missed.signal)
            self._learn(["label", figures, right, 1.0, missed.origin])
        if missed.veto is not None and missed.vetoed is not None:
            right = entry.group is missed.vetoed
            self._learn(["veto", missed.veto.kind, right])

    def restored(self, entry: Entry[V], group: bytes) -> None:
        """Put the entry into its group again; that tells of no miss."""
        groups = self._groups
        entry.group = groups.add(Group(group) if group else groups.of(entry.value))

    def removed(self, entry: Entry[V]) -> None:
        """Take the entry out of those with its value."""
        if entry.group is not None:
            self._groups.remove(entry.group)

    def forget(self, entry: Entry[V]) -> None:
        """Forget the labels that are about the entry; the budget forgets nothing."""
        self._words.cache_clear()
        self._learn(["forgotten", entry.family])
        for where, missed in list(self._misses.items()):
            if missed.origin == entry.family:
                del self._misses[where]

    def clear(self, scope: str | None) -> None:
        """Forget the questions that were missed there, and what they were made of."""
        self._words.cache_clear()
        for where in list(self._misses):
            if scope in {None, where[0]}:
                del self._misses[where]

    def begin_anew(self) -> None:
        """Begin a budget of its own, in a child, with all that was learned."""
        self.budget = attrs.evolve(self.budget)

    def wrong_limit(self) -> int | None:
        """Return how many wrong answers were served at most, if that is known."""
        return None if self.budget.closed else int(self.budget.wrong_limit())

    def refit(self) -> Callable[[], None] | None:
        """Return how to fit the chances again, if it is time."""
        return self._calibration.refit()

    def _learn(self, lesson: Lesson) -> None:
        if self.tell is not None:
            self.tell(lesson)
        self._know(lesson)

    def _know(self, lesson: Lesson) -> None:
        """Learn a lesson, whether it is new or was written down."""
        match lesson:
            case ["seen", figures]:
                self._calibration.see(Signal(*figures))
            case ["label", figures, right, chance, origin]:
                self._calibration.learn(
                    Signal(*figures), right=right, chance=chance, origin=origin
                )
            case ["veto", kind, right]:
                self.vetoes.learn(kind, right=right)
            case ["forgotten", origin]:
                self._calibration.unlearn(origin)

    def dump(self) -> dict[str, JSON]:
        """Return what was learned, but for what the entries and the budget have."""
        return {"calibration": self._calibration.dump(), "vetoes": self.vetoes.dump()}

    def load(self, learned: Mapping[str, Any], lessons: Iterable[Lesson]) -> None:
        """
        Know what `dump` returned, and what came since.

        Args:
            learned: What it returned; of another version's, nothing is known.
            lessons: What `tell` was told since.
        """
        self._misses.clear()
        self.vetoes.load(learned["vetoes"])
        known = self._calibration.load(learned["calibration"])
        for lesson in lessons:
            if known or lesson[0] == "veto":
                self._know(lesson)
                if (refit := self.refit()) is not None:
                    refit()


def _recurring(entry: Entry[V] | None) -> Group | None:
    """Return the group of a value that several questions have, so others may, too."""
    group = None if entry is None else entry.group
    return group if group is not None and group.questions >= RECURRING else None
