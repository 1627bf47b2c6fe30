"""``legion status``: where a rollout stands."""

from __future__ import annotations

import argparse

from ...host import Host
from ..main import Commands, command
from ..output import Output
from ..standing import headline, rules


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
        output.line(f"{output.paint(host.plan.name, 'bold')}: {headline(host)}")
        output.line(f"  {state.reason or 'nothing has happened yet'}")
        output.line(
            f"  observed {state.observed_s / 3600:.1f} h in this stage,"
            f" {state.unbroken_s / 3600:.1f} h of it without a break"
        )
        for rule in standing:
            output.mark(rule.text, ok=rule.ok)
        for ask in questions:
            output.line(f"  question {ask.id}: {ask.title}")
        output.line("  false_rollback: not enforced (plain thresholds)")
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
                "rules": [rule.to_json() for rule in standing],
                "findings": [one.to_json() for one in state.findings.values()],
                "questions": [ask.id for ask in questions],
                "false_rollback_enforced": False,
            }
        )
    return 0
