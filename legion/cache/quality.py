"""How good a cache is on questions whose answers are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import attrs

from .cache import SemanticCache
from .embedding import Embed, UnitVectors
from .key import normalised
from .questions import Labelled, Pair


if TYPE_CHECKING:
    import numpy as np

    from numpy.typing import NDArray


THRESHOLDS = (0.6, 0.65, 0.7, 0.75, 0.8, 0.83, 0.86, 0.89, 0.92, 0.95, 0.98)
_BATCH = 256


class Answer(NamedTuple):
    """An answer of the replay; those of free text are never equal."""

    label: str
    number: int


@attrs.frozen(kw_only=True)
class Replay:
    """
    What a cache did with a stream of questions.

    Attributes:
        requests: Questions that were asked.
        hits: Answered from the cache.
        wrong: Hits with the answer to another question.
        answerable: Questions whose answer was given before.
        judged: Answers that were judged.
        limit: How many wrong hits the cache itself says there were at most, or None.
        excess: By how much the wrong hits were ever over their share of the requests.
    """

    requests: int
    hits: int
    wrong: int
    answerable: int
    judged: int = 0
    limit: int | None = None
    excess: float = 0.0

    @property
    def hit_rate(self) -> float:
        """Hits per request, 0..1."""
        return self.hits / self.requests

    @property
    def error(self) -> float:
        """Wrong hits per request, 0..1."""
        return self.wrong / self.requests

    @property
    def precision(self) -> float | None:
        """Right hits per hit, or None without any."""
        return (self.hits - self.wrong) / self.hits if self.hits else None

    @property
    def recall(self) -> float | None:
        """Right hits per answerable request, or None without any."""
        if not self.answerable:
            return None
        return (self.hits - self.wrong) / self.answerable


@attrs.define(eq=False)
class Bench:
    """
    Questions in an order, embedded once, to be asked of several caches.

    Attributes:
        stream: The questions, in the order in which they are asked.
        vectors: Their embeddings by normalised question.
        free_text: Whether answers with the same label are different texts, so that the
            cache cannot tell that they are the same.
        answers: The right ones by normalised question; where the questions have one
            several times with different answers, each of them is right.
    """

    stream: Sequence[Labelled]
    vectors: dict[str, NDArray[np.float32]]
    free_text: bool
    answers: Mapping[str, set[str]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        answers: dict[str, set[str]] = {}
        for question, answer in self.stream:
            answers.setdefault(normalised(question), set()).add(answer)
        self.answers = answers

    @classmethod
    def shuffled(
        cls,
        questions: Sequence[Labelled],
        embed: Embed,
        *,
        seed: int,
        requests: int,
        free_text: bool = False,
    ) -> Bench:
        """Draw at most so many *requests* and embed them."""
        stream = list(questions)
        Random(seed).shuffle(stream)  # noqa: S311 - an order, not a secret
        stream = stream[:requests]
        return cls(
            stream, embedded([each.question for each in stream], embed), free_text
        )

    def threshold(self, threshold: float) -> Replay:
        """Ask a cache with a fixed threshold."""
        cache = SemanticCache[Answer](
            self._embed, threshold=threshold, capacity=len(self.stream)
        )
        return self._ask(cache, share=1.0)

    def promise(
        self, max_error: float, *, judged: float, seed: int, later: bool = False
    ) -> Replay:
        """
        Ask a cache that keeps an error, with a judge that knows the answers.

        Args:
            max_error: Wrong answers per request.
            judged: Share of the possible hits that is judged.
            seed: Of the coins.
            later: Whether answers are judged once they were served, and not before.
        """
        cache = SemanticCache[Answer](
            self._embed,
            max_error=max_error,
            judge=None if later else self._right,
            judged=judged,
            random=Random(seed),  # noqa: S311 - figures that can be had again
            capacity=2 * len(self.stream),
        )
        return self._ask(cache, share=max_error, tells=later)

    def _right(self, question: str, found: Answer) -> bool:
        return found.label in self.answers[normalised(question)]

    def _embed(self, texts: list[str]) -> NDArray[np.float32]:
        import numpy as np

        return np.stack([self.vectors[text] for text in texts])

    def _ask(
        self, cache: SemanticCache[Answer], *, share: float, tells: bool = False
    ) -> Replay:
        seen: set[str] = set()
        hits = wrong = answerable = 0
        excess = -1.0
        for number, (question, label) in enumerate(self.stream, 1):
            answerable += not seen.isdisjoint(self.answers[normalised(question)])
            seen.add(label)
            hit = cache.get(question)
            if hit is None:
                cache.put(question, Answer(label, number if self.free_text else 0))
            else:
                right = self._right(question, hit.value)
                hits += 1
                wrong += not right
                if tells and hit.audit:
                    hit.right() if right else hit.wrong()
            excess = max(excess, wrong - share * number)
        stats = cache.stats()
        return Replay(
            requests=len(self.stream),
            hits=hits,
            wrong=wrong,
            answerable=answerable,
            judged=stats.judged,
            limit=stats.wrong_limit,
            excess=excess,
        )


@attrs.frozen(kw_only=True)
class PairScores:
    """
    Labelled pairs, scored by cosine.

    Attributes:
        cosines: Of each pair.
        same: Whether it has the same answer.
    """

    cosines: Sequence[float]
    same: Sequence[bool]

    @classmethod
    def of(cls, pairs: Sequence[Pair], embed: Embed) -> PairScores:
        """Embed and score *pairs*."""
        vectors = embedded([text for pair in pairs for text in pair[:2]], embed)
        return cls(
            cosines=[
                float(vectors[normalised(a)] @ vectors[normalised(b)])
                for a, b, _ in pairs
            ],
            same=[pair.same for pair in pairs],
        )

    def at(self, threshold: float) -> Replay:
        """Return what a threshold would have done, each pair being a request."""
        taken = [
            same
            for cosine, same in zip(self.cosines, self.same, strict=True)
            if cosine >= threshold
        ]
        return Replay(
            requests=len(self.same),
            hits=len(taken),
            wrong=taken.count(False),
            answerable=sum(self.same),
        )


def embedded(questions: Sequence[str], embed: Embed) -> dict[str, NDArray[np.float32]]:
    """Return the unit vectors of *questions*, by normalised question."""
    unit = UnitVectors(embed)
    keys = list(dict.fromkeys(normalised(question) for question in questions))
    vectors: dict[str, NDArray[np.float32]] = {}
    for batch in _batches(keys):
        vectors.update(zip(batch, unit(batch), strict=True))
    return vectors


def _batches(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), _BATCH):
        yield keys[start : start + _BATCH]
