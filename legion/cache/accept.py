"""Whether the nearest answer is near enough: by a threshold, or by what it may cost."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import (
    TYPE_CHECKING,
    ClassVar,
    Generic,
    Literal,
    NamedTuple,
    Protocol,
    TypeAlias,
)

import attrs

from .hit import V
from .signal import LEAST, NEIGHBOURS, Neighbours, Signal
from .veto import Veto, veto
from .wording import Words, remembered


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import NDArray

    from .budget import ErrorBudget
    from .entry import Entry
    from .groups import Group


MISSED = 1e-7
"""How often, about, a scan may overlook an entry that is just near enough."""

Why: TypeAlias = Literal["accepted", "empty", "far", "veto", "doubt", "budget"]


class Asked(NamedTuple, Generic[V]):
    """
    A question that was asked.

    Attributes:
        key: The normalised question.
        question: The question as it was put.
        vector: Its embedding, of unit length.
        judged_first: Whether what the coin takes is judged before anybody gets it.
        admits: Whether an answer may be stored for a question.
        vetoes: What the veto says of stored questions, as far as it was asked.
    """

    key: str
    question: str
    vector: NDArray[np.float32]
    judged_first: bool
    admits: Callable[[str, V], bool]
    vetoes: dict[str, Veto | None]


@attrs.frozen(kw_only=True)
class Decision(Generic[V]):
    """
    Which entry would answer, and whether it may.

    Attributes:
        why: What was decisive.
        nearest: The nearest entry.
        veto: What the veto says of it, if it does.
        entry: The nearest entry that is not vetoed, or the nearest.
        similarity: Its cosine.
        signal: What speaks for the entry, where that was asked.
        chance: How likely its answer is wrong.
        limit: Up to which chance answers are taken now.
    """

    why: Why
    nearest: Entry[V] | None = None
    veto: Veto | None = None
    entry: Entry[V] | None = None
    similarity: float = 0.0
    signal: Signal | None = None
    chance: float = 1.0
    limit: float = 0.0

    def reason(self, threshold: float | None) -> str:
        """Return one sentence for people; *threshold* is the one of the cache."""
        if self.entry is None:
            return "nothing is stored in this scope"
        near = (
            f"the nearest question, {self.entry.question!r}, has similarity"
            f" {self.similarity:.4f}"
        )
        if self.why == "veto":
            return f"{near}, and does not mean the same ({self.veto})"
        if self.veto is not None:
            near = f"a nearer one is vetoed ({self.veto}); of the others, {near}"
        if threshold is not None:
            below = "below" if self.why == "far" else "at least"
            return f"{near}, {below} the threshold {threshold:g}"
        if self.why == "far":
            return f"{near}, below the {LEAST:g} from which answers are looked at"
        likely = f"{near}; its answer is wrong with a chance of {self.chance:.2%}"
        if self.why == "budget":
            return f"{likely}, and the error budget permits no unjudged one more"
        below = "above" if self.why == "doubt" else "within"
        return f"{likely}, {below} the {self.limit:.2%} that the budget affords"


class Ticket(Generic[V]):
    """
    What was served, or is about to be, and what became of it.

    It is no class of attrs: `attrs.asdict` of a hit would go on into the whole cache.

    Attributes:
        entry: Whose answer.
        asked: What was asked; None where the question was the same.
        decision: Why it was taken; None where the question was the same.
        audited: Whether the coin has it judged.
        budget: What it was charged to; None where nothing is promised.
        right: What is known of it.
        told: Who takes note of what is told of it.
    """

    __slots__ = ("asked", "audited", "budget", "decision", "entry", "right", "told")

    def __init__(
        self,
        entry: Entry[V],
        asked: Asked[V] | None = None,
        decision: Decision[V] | None = None,
        budget: ErrorBudget | None = None,
        *,
        audited: bool = False,
    ) -> None:
        self.entry = entry
        self.asked = asked
        self.decision = decision
        self.audited = audited
        self.budget = budget
        self.right: bool | None = None
        self.told: Callable[[Ticket[V], bool], None] | None = None

    def tell(self, *, right: bool) -> None:
        """Say whether the answer was right."""
        if self.told is not None:
            self.told(self, right)


class AcceptRule(Protocol[V]):
    """What a shelf asks; under its lock, but for what is said to be without."""

    @property
    def neighbours(self) -> int:
        """How many of the nearest entries it looks at."""
        ...

    @property
    def floor(self) -> float:
        """Cosine below which it accepts nothing, ever."""
        ...

    @property
    def missed(self) -> float:
        """How often an entry exactly at the floor may be overlooked."""
        ...

    def least(self, asked: Asked[V], request: int) -> float:
        """
        Return the cosine below which it would accept nothing now.

        Of what is not stored yet, no more is known; so what is nearer may still be
        refused. It changes nothing.
        """
        ...

    def compare(self, asked: Asked[V], neighbours: Neighbours[V]) -> None:
        """Do what takes long in `decide`, before it; without the lock."""
        ...

    def group(self, value: V) -> Group | None:
        """Return what *value* is compared by, if it is; without the lock."""
        ...

    def decide(
        self, asked: Asked[V], neighbours: Neighbours[V], request: int
    ) -> Decision[V]:
        """Say what would be done in the request of that number; it changes nothing."""
        ...

    def vetoed(self, asked: str, other: str) -> bool:
        """
        Whether the other question's answer is not accepted however near it is.

        It needs no lock.
        """
        ...

    def take(self, decision: Decision[V], asked: Asked[V]) -> Ticket[V] | None:
        """Carry a decision out: a ticket for what may be served, or None."""
        ...

    def answer(self, ticket: Ticket[V], *, right: bool, withheld: bool = False) -> bool:
        """Take note of a judgement; False if it changes nothing."""
        ...

    def stored(self, entry: Entry[V], group: Group | None) -> None:
        """Take note of a new entry, and of the `group` of its answer."""
        ...

    def restored(self, entry: Entry[V], group: bytes) -> None:
        """
        Take note of an entry that was read from a file.

        Args:
            entry: The entry.
            group: What the file says of `Group.digest`, or nothing.
        """
        ...

    def removed(self, entry: Entry[V]) -> None:
        """Take note that an entry is gone."""
        ...

    def forget(self, entry: Entry[V]) -> None:
        """Forget what was learned of an entry."""
        ...

    def refit(self) -> Callable[[], None] | None:
        """Return what it has to calculate, without the lock, if it is time."""
        ...

    def clear(self, scope: str | None) -> None:
        """Forget which questions were asked in a scope, or in all."""
        ...

    def begin_anew(self) -> None:
        """Forget what was spent, in a child, which spends on requests of its own."""
        ...

    def wrong_limit(self) -> int | None:
        """Return how many wrong answers were served at most, if that is known."""
        ...


def unvetoed(
    asked: Asked[V],
    neighbours: Neighbours[V],
    *,
    words: Words,
    least: float = -1.0,
    pardoned: Container[str] = (),
) -> tuple[int | None, Veto | None]:
    """
    Return the nearest neighbour that is not vetoed, and what is said of the nearest.

    Args:
        asked: The question.
        neighbours: The nearest entries.
        words: Who remembers the words of questions.
        least: Cosine that it must have.
        pardoned: Kinds of vetoes that do not count.
    """
    first = None
    for i, (entry, similarity) in enumerate(neighbours):
        if similarity < least:
            break
        stored = entry.question
        if stored not in asked.vetoes:
            asked.vetoes[stored] = veto(asked.key, stored, words)
        said = asked.vetoes[stored]
        if said is None or said.kind in pardoned:
            return i, first
        first = first or said
    return None, first


@attrs.define(eq=False)
class Threshold(Generic[V]):
    """
    Accepts the nearest entry that is near enough and not vetoed.

    Attributes:
        threshold: Cosine from which an answer is reused.
        veto: Whether opposites, other numbers, names and dates are refused.
    """

    threshold: float
    veto: bool
    missed: ClassVar[float] = MISSED
    _words: Words = attrs.field(init=False, factory=remembered)

    @property
    def neighbours(self) -> int:
        """The nearest is enough where none is vetoed."""
        return NEIGHBOURS if self.veto else 1

    @property
    def floor(self) -> float:
        """The threshold."""
        return self.threshold

    def compare(self, asked: Asked[V], neighbours: Neighbours[V]) -> None:
        """Ask the veto of those that are near enough."""
        if self.veto:
            self._unvetoed(asked, neighbours)

    def _unvetoed(
        self, asked: Asked[V], neighbours: Neighbours[V]
    ) -> tuple[int | None, Veto | None]:
        return unvetoed(asked, neighbours, words=self._words, least=self.threshold)

    def group(self, value: V) -> Group | None:
        """Return None: values are not compared."""

    def least(self, asked: Asked[V], request: int) -> float:
        """Return the threshold."""
        return self.threshold

    def decide(
        self, asked: Asked[V], neighbours: Neighbours[V], request: int
    ) -> Decision[V]:
        """Accept by the cosine."""
        if not neighbours:
            return Decision(why="empty")
        nearest, similarity = neighbours[0]
        found: int | None = 0
        said = None
        if similarity < self.threshold:
            why: Why = "far"
        else:
            if self.veto:
                found, said = self._unvetoed(asked, neighbours)
            why = "veto" if found is None else "accepted"
        entry, similarity = neighbours[found or 0]
        return Decision(
            why=why, nearest=nearest, veto=said, entry=entry, similarity=similarity
        )

    def vetoed(self, asked: str, other: str) -> bool:
        """Look what differs, where that is looked at."""
        return self.veto and veto(asked, other, self._words) is not None

    def take(self, decision: Decision[V], asked: Asked[V]) -> Ticket[V] | None:
        """Return a ticket for what is accepted; nothing is audited."""
        if decision.why != "accepted" or decision.entry is None:
            return None
        return Ticket(decision.entry, asked, decision)

    def answer(self, ticket: Ticket[V], *, right: bool, withheld: bool = False) -> bool:
        """Take note, once, that it was wrong; that it was right is taken for granted."""
        if right or ticket.right is False:
            return False
        ticket.right = False
        return True

    def stored(self, entry: Entry[V], group: Group | None) -> None:
        """Do nothing: values are not compared."""

    def restored(self, entry: Entry[V], group: bytes) -> None:
        """Do nothing: values are not compared."""

    def removed(self, entry: Entry[V]) -> None:
        """Do nothing: nothing was noted."""

    def forget(self, entry: Entry[V]) -> None:
        """Forget the words of questions; nothing was learned."""
        self._words.cache_clear()

    def clear(self, scope: str | None) -> None:
        """Forget the words of questions; nothing else was noted."""
        self._words.cache_clear()

    def begin_anew(self) -> None:
        """Do nothing: nothing is spent."""

    def refit(self) -> None:
        """Return None: nothing is learned."""
        return

    def wrong_limit(self) -> int | None:
        """Return None: a threshold does not know."""
        return None
