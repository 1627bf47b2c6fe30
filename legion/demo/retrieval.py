"""Finding the known question that is nearest: what an answer really costs."""

from __future__ import annotations

import difflib
import heapq
import math
import re

from collections import Counter, defaultdict
from collections.abc import Sequence

import attrs

from .trace import Question


_WORD = re.compile(r"[a-z0-9]+")
_K1, _B = 1.2, 0.75


def words(text: str) -> list[str]:
    """Return the words of *text*, in lower case."""
    return _WORD.findall(text.lower())


@attrs.define(eq=False)
class Retrieval:
    """
    Ranks known questions: BM25 for a shortlist, then the likeness of the strings.

    BM25 as in Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009,
    equation 3.15, with k1 = 1.2 and b = 0.75.

    Args:
        corpus: The known questions.
    """

    corpus: Sequence[Question]
    _postings: dict[str, list[tuple[int, int]]] = attrs.field(init=False)
    _lengths: list[int] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        postings = defaultdict(list)
        self._lengths = []
        for number, question in enumerate(self.corpus):
            counted = Counter(words(question.text))
            self._lengths.append(counted.total())
            for word, count in counted.items():
                postings[word].append((number, count))
        self._postings = dict(postings)

    def shortlist(self, text: str, size: int) -> list[int]:
        """Return the numbers of the *size* best known questions by BM25."""
        scores: dict[int, float] = defaultdict(float)
        n = len(self.corpus)
        average = sum(self._lengths) / n
        for word in set(words(text)):
            found = self._postings.get(word, ())
            rarity = math.log(1 + (n - len(found) + 0.5) / (len(found) + 0.5))
            for number, count in found:
                length = 1 - _B + _B * self._lengths[number] / average
                scores[number] += rarity * count * (_K1 + 1) / (count + _K1 * length)
        return heapq.nlargest(size, scores, key=lambda i: (scores[i], -i))

    def best(self, text: str, *, shortlist: int, rounds: int) -> Question:
        """
        Return the known question that is most like *text*.

        Args:
            text: What is asked.
            shortlist: How many known questions are compared letter by letter.
            rounds: How often each is compared; once is enough.
        """
        lower = text.lower()
        best, most = 0, -1.0
        for number in self.shortlist(text, shortlist):
            other = self.corpus[number].text.lower()
            for _ in range(rounds):
                matcher = difflib.SequenceMatcher(None, lower, other, autojunk=False)
                likeness = matcher.ratio()
            if likeness > most:
                best, most = number, likeness
        return self.corpus[best]
