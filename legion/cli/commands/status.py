"""``legion status``: where a rollout stands."""

from __future__ import annotations

import argparse

from pathlib import Path

from ...canonical import JSON
from ...host import Host
from ...stages import Status
from ...stages.latch import found_beside
from ...stats import FREEZE_AT
from ..estimates import spelled
from ..main import Commands, command
from ..output import Output
from ..standing import headline, percent, rules


_SHOWN = 3
"""So many paths are told of; all of them stand in the document."""


def add(commands: Commands) -> None:
    """Add ``legion status``."""
    command(
        commands,
        "status",
        status,
        says="say where the rollout stands, and why",
        teaches=(
            "Works beside a running host, on the same directory, and writes nothing.\n\n"
            "  legion status --state var/legion\n"
            "  legion status --json | jq -r .status"
        ),
        state=True,
    )


def status(arguments: argparse.Namespace, output: Output) -> int:
    """Print stage, evidence and open questions of a state directory."""
    with Host.reopen(arguments.state, readonly=True) as host:
        state, exposure = host.engine.state, host.engine.exposure
        standing, questions = rules(host), host.gate.asks()
        estimates = host.engine.estimates
        latch = found_beside(str(Path(arguments.state) / "legion.db"))
        output.line(f"{output.paint(host.plan.name, 'bold')}: {headline(host)}")
        output.line(f"  {state.reason or 'nothing has happened yet'}")
        output.line(
            f"  observed {state.observed_s / 3600:.1f} h in this stage,"
            f" {state.unbroken_s / 3600:.1f} h of it without a break"
        )
        if latch is not None:
            output.mark(f"latch beside the state: {latch.reason}", ok=False)
            output.line(f"       {_held_back(host)}")
        for rule in standing:
            output.mark(rule.text, ok=rule.ok)
        if state.slices:
            output.line(f"  judged on their own, too: {', '.join(state.slices)}")
        for estimate in estimates:
            output.line(f"  {spelled(estimate)}")
        for ask in questions:
            output.line(f"  question {ask.id}: {ask.title}")
        _spent(host, output)
        output.document(
            {
                "plan": host.plan.name,
                "status": state.status.value,
                "stage": state.stage,
                "share": exposure.share,
                "exposure": exposure.digest,
                "reason": state.reason,
                "observed_s": state.observed_s,
                "unbroken_s": state.unbroken_s,
                "slices": list(state.slices),
                "rules": [rule.to_json() for rule in standing],
                "estimates": [one.to_json() for one in estimates],
                "findings": [one.to_json() for one in state.findings.values()],
                "latch": None if latch is None else latch.reason,
                "questions": [ask.id for ask in questions],
                "budget": _budget(host),
            }
        )
    return 0


def _held_back(host: Host) -> str:
    """Say what the latch beside the state does, and how it is taken away."""
    state = host.engine.state
    back = state.status is Status.ROLLED_BACK and not state.unsettled
    when = "this one has, so delete it" if back else "delete it once this one has"
    return f"every rollout in this directory goes back because of it; {when}"


def _spent(host: Host, output: Output) -> None:
    """Print what is spent of the chance of going back for nothing, and by what."""
    budget = host.engine.budget
    output.line(
        f"  evidence of harm: E {budget.e:.3g}; frozen from {FREEZE_AT:.3g}, taken back"
        f" from {1 / budget.alpha:.4g} (false_rollback {percent(budget.alpha)})"
    )
    if budget.run_length_s is not None:
        days = budget.run_length_s / 86_400
        output.line(f"    no control: on average no false alarm in {days:,.3g} days")
    for spent in budget.parts[:_SHOWN]:
        output.line(
            f"    {spent.key} in {spent.stage}: E {spent.e:.3g}"
            f" at a weight of {percent(spent.weight)}"
        )


def _budget(host: Host) -> dict[str, JSON]:
    budget = host.engine.budget
    return {
        "false_rollback": budget.alpha,
        "e": budget.e,
        "freezes_at": FREEZE_AT,
        "rolls_back_at": 1 / budget.alpha,
        "run_length_s": budget.run_length_s,
        "spent": [
            {"path": one.key, "stage": one.stage, "weight": one.weight, "e": one.e}
            for one in budget.parts
        ],
    }
