"""``legion cache bench``: what a semantic cache would do with questions of your own."""

from __future__ import annotations

import argparse
import importlib
import math
import sys

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import attrs

from ...cache.budget import CONFIDENCE
from ...canonical import JSON
from ...exceptions import LegionError
from ...stats import overlooked_limit
from .. import quantities
from ..main import Commands, command
from ..output import Output


if TYPE_CHECKING:
    from ...cache.embedding import Embed
    from ...cache.quality import Bench, Replay


_JUDGED = (0.1, 0.3, 1.0)
_READY_MADE = ("wordllama", "minilm")
_TEACHES = """\
FILE is .csv or .jsonl: questions with answers, as a stream (columns question and answer,
or text and category), or pairs of questions (a, b, same). A miss is stored, as an
application would. Of pairs, as many are drawn as have so many questions; these are asked
in a row as well, and two that nobody compared count as different. Of a question that is
there with several answers, each is right.

  legion cache bench questions.csv
  legion cache bench questions.csv --max-error 1% --judged 30% --plot curves.svg
  legion cache bench pairs.jsonl --embedder mine.vectors:embed --free-text --json

What a threshold does is known in hindsight only; what max_error does is what it would
have done. Exit code 1: wrong answers were over max_error after some request.
"""


@attrs.frozen(kw_only=True)
class Promised:
    """
    What one promise came to.

    Attributes:
        max_error: What was promised.
        judged: Share of the possible hits that was judged.
        replay: What the cache did.
    """

    max_error: float
    judged: float
    replay: Replay

    @property
    def begins(self) -> int:
        """So many requests there must be before most of what is likely is served."""
        escaped = overlooked_limit(0, share=self.judged, alpha=1 - CONFIDENCE)
        return math.ceil((escaped + 1) / self.max_error)

    @property
    def kept(self) -> bool:
        """Whether it was kept after every request."""
        return self.replay.excess <= 0


def add(commands: Commands) -> None:
    """Add ``legion cache``."""
    one = command(
        commands,
        "cache",
        bench,
        says="try a semantic cache on questions of your own: hits, and how many are wrong",
        teaches=_TEACHES,
    )
    one.add_argument("verb", choices=["bench"], help="what to do")
    one.add_argument("file", metavar="FILE", type=Path, help="a .csv or .jsonl file")
    one.add_argument(
        "--embedder",
        default="wordllama",
        metavar="NAME",
        help="wordllama, minilm, or MODULE:FUNCTION of yours (default: %(default)s)",
    )
    one.add_argument(
        "--max-error",
        action="append",
        type=quantities.inner_share,
        metavar="SHARE",
        help="wrong answers per request; may be repeated (default: 1%% and 2%%)",
    )
    one.add_argument(
        "--judged",
        action="append",
        type=quantities.share,
        metavar="SHARE",
        help="share that is judged; may be repeated (default: 10%%, 30%%, 100%%)",
    )
    one.add_argument(
        "--requests",
        type=quantities.whole,
        default=8_000,
        metavar="N",
        help="how many are asked at most (default: %(default)s)",
    )
    one.add_argument(
        "--seed",
        type=quantities.seed,
        default=1,
        metavar="N",
        help="of the order and the coins (default: %(default)s)",
    )
    one.add_argument(
        "--free-text",
        action="store_true",
        help="answers are texts, of which the cache cannot tell that they are the same",
    )
    one.add_argument("--plot", type=Path, metavar="FILE", help="write curves, as .svg")


def bench(arguments: argparse.Namespace, output: Output) -> int:
    """Ask all questions of several caches and print what came of it."""
    plot: Path | None = arguments.plot
    if plot is not None and (plot.suffix != ".svg" or not plot.parent.is_dir()):
        msg = f"--plot: got {plot}; write a file that ends in .svg, where it can be put"
        raise LegionError(msg)
    from ...cache.quality import THRESHOLDS, Bench, PairScores
    from ...cache.questions import Labelled, Pair, clusters, read, sampled

    rows = read(arguments.file)
    pairs = sampled(
        (row for row in rows if isinstance(row, Pair)),
        seed=arguments.seed,
        questions=arguments.requests,
    )
    questions = [row for row in rows if isinstance(row, Labelled)] or clusters(pairs)
    embed = _embedder(arguments.embedder)
    asked = Bench.shuffled(
        questions,
        embed,
        seed=arguments.seed,
        requests=arguments.requests,
        free_text=arguments.free_text,
    )
    scores = PairScores.of(pairs, embed) if pairs else None
    score: Callable[[float], Replay] = scores.at if scores else asked.threshold
    fixed = {threshold: score(threshold) for threshold in THRESHOLDS}
    promised = list(_promised(asked, arguments))

    what = f"{len(pairs):,} pairs of " if pairs else ""
    output.line(
        f"{output.paint(arguments.file.name, 'bold')}: {what}{len(questions):,} questions,"
        f" {len(asked.stream):,} asked, seed {arguments.seed}, {arguments.embedder}"
    )
    several = sum(len(answers) > 1 for answers in asked.answers.values())
    if several:
        output.line(f"  {several:,} have several answers, of which each is right")
    _say(fixed, promised, output)
    output.document(_document(arguments, asked, fixed, promised))
    if plot is not None:
        from ..curves import drawn

        plot.write_text(drawn(fixed, promised, title=arguments.file.name), "utf-8")
        output.line(f"  plotted in {plot}")
    return 0 if all(one.kept for one in promised) else 1


def _promised(asked: Bench, arguments: argparse.Namespace) -> Iterator[Promised]:
    for judged in arguments.judged or _JUDGED:
        for max_error in arguments.max_error or (0.01, 0.02):
            if not judged:
                msg = "--judged: got 0; write a share above 0%"
                raise LegionError(msg)
            yield Promised(
                max_error=max_error,
                judged=judged,
                replay=asked.promise(max_error, judged=judged, seed=arguments.seed),
            )


def _embedder(name: str) -> Embed:
    from ...cache import embedders

    if name in _READY_MADE:
        return cast("Embed", getattr(embedders, name)())
    module, _, attribute = name.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        msg = (
            f"--embedder: got {name!r} ({error}); write wordllama, minilm, or"
            " MODULE:FUNCTION of a function from texts to vectors"
        )
        raise LegionError(msg) from error
    return cast("Embed", found)


def _say(
    fixed: dict[float, Replay], promised: Sequence[Promised], output: Output
) -> None:
    output.line()
    output.line("  a fixed threshold, in hindsight:")
    output.table(
        [
            ("threshold", "hits", "wrong of all", "precision", "recall"),
            *(
                (
                    f"{threshold:.2f}",
                    f"{replay.hit_rate:.1%}",
                    f"{replay.error:.2%}",
                    _share(replay.precision),
                    _share(replay.recall),
                )
                for threshold, replay in fixed.items()
            ),
        ]
    )
    output.line()
    output.line("  max_error, without hindsight:")
    for one in promised:
        replay = one.replay
        output.mark(
            f"{one.max_error:.1%} with {one.judged:.0%} judged: {replay.hit_rate:.1%} hits,"
            f" {replay.error:.2%} of all wrong (it says at most"
            f" {(replay.limit or 0) / replay.requests:.2%}), {replay.judged:,} judged",
            ok=one.kept,
        )
        if replay.requests < one.begins:
            output.line(
                f"       it learns for some {one.begins:,} requests; "
                f"{replay.requests:,} say little"
            )
    output.line()
    for max_error in sorted({one.max_error for one in promised}):
        kept = [
            (r.hit_rate, t) for t, r in fixed.items() if r.hits and r.error <= max_error
        ]
        best = max(kept, default=None)
        said = "none" if best is None else f"{best[1]:.2f}, with {best[0]:.1%} hits"
        output.line(f"  best threshold in hindsight within {max_error:.1%}: {said}")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _document(
    arguments: argparse.Namespace,
    asked: Bench,
    fixed: dict[float, Replay],
    promised: Sequence[Promised],
) -> dict[str, JSON]:
    return {
        "file": str(arguments.file),
        "seed": arguments.seed,
        "embedder": arguments.embedder,
        "requests": len(asked.stream),
        "free_text": arguments.free_text,
        "thresholds_in_hindsight": [
            {"threshold": threshold, **_figures(replay)}
            for threshold, replay in fixed.items()
        ],
        "promised": [
            {
                "max_error": one.max_error,
                "judged_share": one.judged,
                "kept": one.kept,
                "judged": one.replay.judged,
                "wrong_limit": one.replay.limit,
                **_figures(one.replay),
            }
            for one in promised
        ],
    }


def _figures(replay: Replay) -> dict[str, JSON]:
    return {
        "hits": replay.hits,
        "wrong": replay.wrong,
        "hit_rate": replay.hit_rate,
        "error_per_request": replay.error,
        "precision": replay.precision,
        "recall": replay.recall,
    }
