"""The tables of a report."""

from __future__ import annotations

import html

from collections.abc import Iterable, Iterator, Sequence

from ..model import Finding
from ..wheel import Turn
from . import ending
from .rollout import Demo
from .timeline import day_of
from .timeline import timeline as events


_NONE = "<span class='none'>-</span>"


def targets(demo: Demo) -> str:
    """Return a table a stage: what it had to show, what was measured, whether it held."""
    parts = []
    for stage, wanted in ending.targets(demo).items():
        rows = [
            (_text(one.rule), _text(one.found), _word(one.holds, "yes", "no"))
            for one in wanted
        ]
        parts.append(f"<h3>{_text(stage)}</h3>")
        parts.append(table(("target", "measured", "holds"), rows, wide=(0, 1)))
    if not parts:
        return "<p class='none'>no stage was entered</p>"
    return f"<div class='targets'>{''.join(parts)}</div>"


def triggers(demo: Demo) -> str:
    """Return one row a trigger, one column a stage: the last figure it was held to."""
    found = ending.findings(demo)
    rules = dict.fromkeys(
        one.rule for of in found.values() for one in of if ending.is_of_plan(one)
    )
    within = {str(t.rule): t.within_s for t in demo.plan.triggers}
    rows = [
        (
            _text(rule),
            _deadline(within.get(rule)),
            *(_cell(_named(of, rule)) for of in found.values()),
        )
        for rule in rules
    ]
    return table(("trigger", "deadline", *map(_text, found)), rows, wide=(0,))


def _named(of: Iterable[Finding], rule: str) -> Finding | None:
    return next((f for f in of if f.rule == rule and ending.is_trigger(f)), None)


def _cell(finding: Finding | None) -> str:
    if finding is None:
        return "<span class='none'>not asked</span>"
    said = html.escape(finding.reason, quote=True)
    if finding.met is None:
        why = "" if finding.missing is None else finding.missing.value
        return f"<span class='none' title='{said}'>{why.replace('_', ' ')}</span>"
    figure = _text(ending.found(finding).partition(",")[0])
    word = "bad'><b>fired</b>: " if finding.met else "good'>"
    return f"<span title='{said}' class='{word}{figure}</span>"


def _deadline(within_s: float | None) -> str:
    return "at once" if not within_s else f"{within_s / 60:g} min"


def timeline(demo: Demo) -> str:
    """Return what happened, in order."""
    rows = [
        (
            f"day {event.when}",
            _text(event.what),
            _text(event.reason),
            "" if event.took_s is None else f"{event.took_s * 1000:.0f} ms",
        )
        for event in events(demo)
    ]
    return table(("when", "what", "why", "took"), rows, wide=(2,))


def decisions(demo: Demo) -> str:
    """Return every decision with its reason, and what it rests on to be unfolded."""
    rows = [
        (
            f"{day_of(turn):.1f}",
            _text(turn.decision.stage or "-"),
            f"{turn.decision.move.value} <code>{_text(turn.decision.code)}</code>",
            _text(turn.decision.reason) + _evidence(turn),
        )
        for turn in demo.turns
    ]
    return table(("day", "stage", "decision", "reason and evidence"), rows, wide=(3,))


def _evidence(turn: Turn) -> str:
    rows = [*_ruled(turn), *_findings(turn), *_verdicts(turn)]
    digest = f"decision <code>{turn.decision.digest[:12]}</code>"
    return (
        f"<details><summary class='soft'>{_text(turn.report.reason)}</summary>"
        f"{table(('source', 'says', 'because'), rows)}{digest}</details>"
    )


def _ruled(turn: Turn) -> Iterator[tuple[str, str, str]]:
    if turn.ruling is not None:
        said = turn.ruling.permission.name.lower()
        yield "gate", said, _text(turn.ruling.reason)
    if turn.outcome is not None:
        for step in turn.outcome.steps:
            said = _word(step.ok, "done", "failed")
            yield _text(step.name), said, _text(step.detail)


def _findings(turn: Turn) -> Iterator[tuple[str, str, str]]:
    for one in turn.decision.findings:
        if ending.is_trigger(one):
            said = _word(None if one.met is None else not one.met, "quiet", "fired")
        else:
            said = _word(one.met, "holds", "does not hold")
        yield _text(one.rule), said, _text(one.reason)


def _verdicts(turn: Turn) -> Iterator[tuple[str, str, str]]:
    for verdict in turn.report.verdicts:
        if verdict.level is None:
            missing = "" if verdict.missing is None else verdict.missing.value
            said = f"<span class='none'>{missing.replace('_', ' ')}</span>"
        else:
            word = verdict.level.name.lower()
            said = _word(not verdict.level.unhealthy, word, word)
        yield _text(verdict.criterion), said, _text(verdict.reason)


def _word(good: bool | None, yes: str, no: str) -> str:  # noqa: FBT001 - three answers
    if good is None:
        return _NONE
    return f"<span class='{'good' if good else 'bad'}'>{yes if good else no}</span>"


def _text(text: str) -> str:
    return html.escape(text, quote=False)


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, wide: Sequence[int] = (2,)
) -> str:
    """
    Return a table that scrolls by itself where the page is too narrow for it.

    Args:
        head: Names of the columns.
        rows: Their cells, as HTML.
        wide: Columns whose text wraps; the others stay on one line.
    """
    styles = ["wide" if number in wide else "n" for number in range(len(head))]
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join(
        "<tr>"
        + "".join(
            f"<td class='{style}'>{cell}</td>"
            for style, cell in zip(styles, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f"<div class='scroll'><table><thead><tr>{top}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )
