"""The system under change: it answers questions, and reuses answers it has given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from ..canonical import JSON
from .faults import shell_words
from .retrieval import Parser, Retrieval, words
from .reuse import Answer, ExactReuse, Reuse, SemanticReuse
from .trace import Trace


if TYPE_CHECKING:
    from ..cache.embedding import Embed


SETTINGS_400: Mapping[str, JSON] = {
    "reuse": "exact",
    "capacity_share": 0.4,
    "shortlist": 48,
    "shortlist_share": 0.2,
    "both_ways": False,
    "parser": "words",
}
"""What 4.0.0 is built from: an answer is reused for the identical question only."""

SETTINGS_410: Mapping[str, JSON] = {
    **SETTINGS_400,
    "reuse": "semantic",
    "threshold": 0.85,
}
"""What 4.1.0 is built from: an answer is also reused for nearly the same question."""

_PARSERS: Mapping[str, Parser] = {"words": words, "shell": shell_words}


@attrs.frozen(kw_only=True, eq=False)
class Answering:
    """
    One version of the system; may be asked from several threads.

    Attributes:
        retrieval: The known questions.
        reuse: Answers given before.
        shortlist: How many known questions each one is compared with.
        both_ways: Whether they are compared in both directions.
        parse: Takes a question apart.
    """

    retrieval: Retrieval
    reuse: Reuse
    shortlist: int
    both_ways: bool = False
    parse: Parser = words

    def answer(self, question: str) -> Answer:
        """Answer *question*: reuse an answer, or find one and keep it."""
        given = self.reuse.get(question)
        if given is not None:
            return given
        found = self.retrieval.search(
            question,
            shortlist=self.shortlist,
            both_ways=self.both_ways,
            parse=self.parse,
        )
        answer = _composed(found.article, found.known)
        self.reuse.put(question, answer)
        return answer


def build(
    trace: Trace,
    settings: Mapping[str, JSON],
    *,
    retrieval: Retrieval | None = None,
    embed: Embed | None = None,
) -> Answering:
    """
    Build the version that *settings* describe.

    Args:
        trace: Whose known questions it answers from.
        settings: As `SETTINGS_400` and `SETTINGS_410`. ``capacity_share`` is how much
            of the trace's traffic its reuse has room for, so that traces of any size
            repeat themselves about as rarely. ``shortlist`` is how many known questions
            each one is compared with, and ``shortlist_share`` how many of all at most.
        retrieval: The corpus of *trace*, where another version has indexed it already.
        embed: Embedder of the semantic reuse; wordllama by default.

    Raises:
        ValueError: A setting is missing or wrong.
        MissingExtraError: wordllama is needed and not installed.
    """
    capacity = max(1, round(_number(settings, "capacity_share") * len(trace.traffic)))
    reuse: Reuse
    if _word(settings, "reuse", "exact", "semantic") == "exact":
        reuse = ExactReuse(capacity)
    else:
        reuse = _semantic(_number(settings, "threshold"), capacity, embed)
    return Answering(
        retrieval=retrieval or Retrieval.of(trace.corpus),
        reuse=reuse,
        shortlist=_shortlist(settings, len(trace.corpus)),
        both_ways=settings.get("both_ways") is True,
        parse=_PARSERS[_word(settings, "parser", *_PARSERS)],
    )


def _composed(article: str, known: str) -> Answer:
    if not article:
        return Answer("", "No article fits this question; a person will look at it.")
    return Answer(article, f"See {article!r}, which answers: {known}")


def _semantic(threshold: float, capacity: int, embed: Embed | None) -> SemanticReuse:
    from ..cache import SemanticCache
    from ..cache.embedders import wordllama

    return SemanticReuse(
        SemanticCache(embed or wordllama(), threshold=threshold, capacity=capacity)
    )


def _shortlist(settings: Mapping[str, JSON], known: int) -> int:
    most = _number(settings, "shortlist_share") * known
    return max(1, round(min(_number(settings, "shortlist"), most)))


def _number(settings: Mapping[str, JSON], key: str) -> float:
    value = settings.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        msg = f"setting {key!r}: got {value!r}; write a number above 0"
        raise ValueError(msg)
    return value


def _word(settings: Mapping[str, JSON], key: str, *known: str) -> str:
    value = settings.get(key)
    if not isinstance(value, str) or value not in known:
        msg = f"setting {key!r}: got {value!r}; write one of {', '.join(known)}"
        raise ValueError(msg)
    return value
