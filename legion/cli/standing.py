"""Where a rollout stands, and each rule of its plan, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import attrs

from ..canonical import JSON
from ..exceptions import JournalError
from ..host import Host
from ..stages import Status
from ..stages.evidence import CRITICAL


_TRIGGER, _TARGET, _CRITERION = "trigger", "target", "criterion"
_WORDS = {
    _TRIGGER: ("fired", "not fired"),
    _TARGET: ("met", "not met"),
    _CRITERION: ("critical", "not critical"),
}
_SORTS = (_TARGET, _TRIGGER, _CRITERION)
_RECENT = 2000
"""So many entries of the journal are looked at before all of them are."""


@attrs.frozen(kw_only=True)
class RuleStands:
    """
    Where one rule stands.

    Attributes:
        sort: ``target``, ``trigger``, or ``criterion`` where it can take back.
        rule: The rule as the plan says it.
        stands: ``fired``, ``not fired``, ``met``, ``not met``, ``critical``, ``not
            critical`` or ``not measured``.
        reason: What was measured, or why it was not.
    """

    sort: str
    rule: str
    stands: str
    reason: str

    @property
    def ok(self) -> bool | None:
        """Whether that is well: a trigger is as long as it has not fired."""
        if self.stands == "not measured":
            return None
        return self.stands in {"met", "not fired", "not critical"}

    @property
    def text(self) -> str:
        """The whole in one line."""
        return f"{self.sort} {self.stands}: {self.rule} ({self.reason})"

    def to_json(self) -> dict[str, JSON]:
        """Return it for programs."""
        return {
            "sort": self.sort,
            "rule": self.rule,
            "stands": self.stands,
            "reason": self.reason,
        }


def headline(host: Host) -> str:
    """Say in one line where the rollout is; one that ends below 100 % says so."""
    state, share = host.engine.state, percent(host.engine.exposure.share)
    where = f"in {state.stage}" if state.stage else "in no stage"
    if state.status is Status.COMPLETE and host.engine.exposure.share < 1:
        return f"complete at {share} {where}; the others keep {host.plan.baseline}"
    return f"{state.status} {where}, {share} of the units"


def percent(share: float) -> str:
    """Return a share of 0..1 in per cent."""
    return f"{100 * share:.3g}%"


def rules(host: Host) -> list[RuleStands]:
    """
    Return the targets of the stage, then the triggers.

    After a rollback they stand as the decision to go back found them. Of those of a
    slice only the ones that fired are told: there are many.
    """
    state = host.engine.state
    if state.status is Status.ROLLED_BACK:
        found = [_of_finding(one) for one in _told(_findings_of_the_retreat(host))]
    else:
        found = [*_unseen(host)]
        seen = [one.to_json() for one in state.findings.values()]
        found += [_of_finding(one) for one in _told(seen)]
    return [rule for sort in _SORTS for rule in found if rule.sort == sort]


def _told(
    findings: Sequence[Mapping[str, JSON]],
) -> Iterator[Mapping[str, JSON]]:
    return (one for one in findings if not one.get("slice") or one["met"])


def _findings_of_the_retreat(host: Host) -> Sequence[Mapping[str, JSON]]:
    try:
        # The newest first: a host that goes on after a rollback decides to hold.
        for since in (max(host.journal.size - _RECENT, 0), 0):
            for record in reversed(host.journal.records("decision", since=since)):
                body = record.body
                if body["move"] == "roll_back" and body["plan"] == host.plan.name:
                    return cast("Sequence[Mapping[str, JSON]]", body["findings"])
    except JournalError:  # `validate` and `journal verify` say so.
        return ()
    return ()


def _unseen(host: Host) -> Iterator[RuleStands]:
    """Yield the rules of the plan that nothing is known of in this stage."""
    state = host.engine.state
    if not state.stage:
        return
    unseen = "nothing was observed in this stage yet"
    for rule in host.plan.stage(state.stage).validate:
        if rule.rehearsal is not None:
            yield _rehearsed(host, str(rule))
        elif f"validate: {rule}" not in state.findings:
            yield _not_measured(_TARGET, str(rule), unseen)
    for trigger in host.plan.triggers:
        if f"trigger: {trigger.rule}" not in state.findings:
            why = "it does not apply in this stage" if state.turn else unseen
            yield _not_measured(_TRIGGER, str(trigger.rule), why)


def _of_finding(finding: Mapping[str, JSON]) -> RuleStands:
    evidence = cast("Mapping[str, JSON]", finding["evidence"])
    sort = _TRIGGER if evidence.get("trigger") else _TARGET
    if str(evidence.get("path", "")).startswith(CRITICAL):
        sort = _CRITERION
    rule, metric, said = (str(finding[key]) for key in ("rule", "metric", "reason"))
    if finding["met"] is None:
        missing = str(finding["missing"] or "").replace("_", " ")
        why = said.removeprefix(f"{metric}: ")
        parts = [part for part in (missing, why) if part and part != "not measured"]
        return _not_measured(sort, rule, ", ".join(dict.fromkeys(parts)))
    yes, no = _WORDS[sort]
    stands = yes if finding["met"] else no
    reason = said.removeprefix(f"{metric} is ").removeprefix(f"{metric}: ")
    return RuleStands(sort=sort, rule=rule, stands=stands, reason=reason)


def _rehearsed(host: Host, rule: str) -> RuleStands:
    state = host.engine.state
    if state.rehearsed_s is None:
        return _not_measured(_TARGET, rule, state.rehearsal or "not rehearsed yet")
    took = state.rehearsal or f"it took {state.rehearsed_s:.3f} s"
    return RuleStands(sort=_TARGET, rule=rule, stands="met", reason=took)


def _not_measured(sort: str, rule: str, why: str) -> RuleStands:
    return RuleStands(sort=sort, rule=rule, stands="not measured", reason=why)
