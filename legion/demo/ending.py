"""How a demo ended: each stage against its targets, and the document for programs."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from ..canonical import JSON
from ..model import Finding
from ..stages import Status
from .rollout import Demo
from .timeline import day_of, timeline


__all__ = ["Target", "document", "findings", "sentence", "targets", "timeline"]


@attrs.frozen(kw_only=True)
class Target:
    """
    Something a stage had to show.

    Attributes:
        rule: What was wanted.
        found: What was measured, or why it was not.
        holds: Whether it held; None where it was not measured.
    """

    rule: str
    found: str
    holds: bool | None

    @property
    def text(self) -> str:
        """The whole target in one line."""
        return f"{self.rule}: {self.found}"


def sentence(demo: Demo) -> str:
    """Say in one sentence how the rollout ended."""
    state = demo.host.engine.state
    head = f"{demo.plan.candidate} over {demo.plan.baseline}: "
    if state.status.over:
        return head + state.reason
    last = demo.turns[-1].decision
    return f"{head}not done after {demo.day:.0f} days in {last.stage}, {last.reason}"


def findings(demo: Demo) -> dict[str, tuple[Finding, ...]]:
    """Return the findings with which each stage was left, by stage."""
    return {
        turn.decision.stage: turn.decision.findings
        for turn in demo.turns
        if turn.decision.stage and turn.decision.findings
    }


def is_trigger(finding: Finding) -> bool:
    """Tell what takes back from what a stage must meet."""
    return bool(finding.evidence.get("trigger"))


def is_of_plan(finding: Finding) -> bool:
    """Tell a trigger of the plan from a criterion's critical limit."""
    path = str(finding.evidence.get("path", "trigger: "))
    return is_trigger(finding) and path.startswith("trigger: ")


def found(finding: Finding) -> str:
    """Return what was measured, without the name that stands beside it."""
    said = finding.reason.removeprefix(f"{finding.metric} is ")
    return said.removeprefix(f"{finding.metric}: ")


def targets(demo: Demo) -> dict[str, list[Target]]:
    """Return what each stage had to show, and one line for its triggers, by stage."""
    return {
        stage: [*_targets(demo, stage, of), *_triggers(of)]
        for stage, of in findings(demo).items()
    }


def _targets(demo: Demo, stage: str, of: tuple[Finding, ...]) -> Iterator[Target]:
    for one in of:
        if not is_trigger(one):
            yield Target(rule=one.rule, found=found(one), holds=one.met)
    for rule in demo.plan.stage(stage).validate:
        if rule.rehearsal is not None:
            done = demo.rehearsal
            yield Target(
                rule=str(rule),
                found="not rehearsed yet" if done is None else done.reason,
                holds=None if done is None else True,
            )


def _triggers(of: tuple[Finding, ...]) -> Iterator[Target]:
    triggers = [one for one in of if is_trigger(one)]
    fired = [one for one in triggers if one.met]
    for one in fired:
        yield Target(rule=f"trigger fired, {one.rule}", found=found(one), holds=False)
    quiet = sum(one.met is False for one in triggers)
    text = (
        f"{quiet} quiet, {len(triggers) - quiet - len(fired)} without enough evidence"
    )
    yield Target(
        rule=f"{'other ' if fired else ''}triggers",
        found=text,
        holds=True if quiet else None,
    )


def document(demo: Demo, *, took_s: float) -> dict[str, JSON]:
    """Return the whole run for programs."""
    state = demo.host.engine.state
    return {
        "status": state.status.value,
        "reason": state.reason
        if state.status is not Status.RUNNING
        else sentence(demo),
        "seed": demo.seed,
        "bad": demo.bad,
        "trace": demo.trace.source,
        "requests_per_day": demo.clock.requests_per_day,
        "requests": demo.served,
        "machine_s": took_s,
        "rehearsed_s": None if demo.rehearsal is None else demo.rehearsal.took_s,
        "timeline": [attrs.asdict(event) for event in timeline(demo)],
        "decisions": [
            {
                "day": day_of(turn),
                "stage": turn.decision.stage,
                "move": turn.decision.move.value,
                "to": turn.decision.to,
                "code": turn.decision.code,
                "reason": turn.decision.reason,
                "digest": turn.decision.digest,
            }
            for turn in demo.turns
        ],
        "findings": {
            stage: [one.to_json() for one in of] for stage, of in findings(demo).items()
        },
    }
