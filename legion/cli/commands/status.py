"""``legion status`` and ``legion validate``: where a rollout stands."""

from __future__ import annotations

import argparse

from collections.abc import Iterator
from typing import TypeAlias

from ...host import Host
from ...model import Missing
from ...stages import Status
from ..main import command
from ..output import Output


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_status(commands: Commands) -> None:
    """Add ``legion status``."""
    command(
        commands,
        "status",
        status,
        says="say where the rollout stands, and why",
        state=True,
    )


def status(arguments: argparse.Namespace, output: Output) -> int:
    """Print stage, evidence and open questions of a state directory."""
    with Host.reopen(arguments.state) as host:
        state, exposure = host.engine.state, host.engine.exposure
        output.line(
            f"{output.paint(host.plan.name, 'bold')}: {state.status}"
            f" in {state.stage or 'no stage'}, {exposure.share:.0%} of the units"
        )
        output.line(f"  {state.reason or 'nothing has happened yet'}")
        output.line(
            f"  observed {state.observed_s / 3600:.1f} h in this stage,"
            f" {state.unbroken_s / 3600:.1f} h of it without a break"
        )
        for finding in state.findings.values():
            known = None if finding.missing is not None else bool(finding.met)
            output.mark(
                f"{finding.rule}  ({_found(finding.missing, finding.value)})", ok=known
            )
        for ask in host.gate.asks():
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
                "findings": [one.to_json() for one in state.findings.values()],
                "questions": [ask.id for ask in host.gate.asks()],
                "false_rollback_enforced": False,
            }
        )
    return 0


def _found(missing: Missing | None, value: float | None) -> str:
    if missing is not None:
        return f"not measured: {missing.value}"
    return "-" if value is None else f"{value:.4g}"


def add_validate(commands: Commands) -> None:
    """Add ``legion validate``."""
    one = command(
        commands,
        "validate",
        validate,
        says="verify by digest that a version is what runs",
        state=True,
    )
    one.add_argument("--expected-version", required=True, metavar="VERSION")


def validate(arguments: argparse.Namespace, output: Output) -> int:
    """Check exposure, registry and journal against the expected version."""
    with Host.reopen(arguments.state) as host:
        checks = list(_checks(host, arguments.expected_version))
    for what, ok, found in checks:
        output.mark(f"{what}: {found}", ok=ok)
    output.document(
        {
            "expected_version": arguments.expected_version,
            "checks": [{"check": w, "ok": ok, "found": f} for w, ok, f in checks],
        }
    )
    return 0 if all(ok for _, ok, _ in checks) else 1


def _checks(host: Host, version: str) -> Iterator[tuple[str, bool, str]]:
    plan, exposure = host.plan, host.engine.exposure
    whole = {plan.baseline: 0.0, plan.candidate: 1.0}.get(version)
    yield (
        "version",
        whole is not None,
        f"the plan knows {plan.baseline}, {plan.candidate}",
    )
    yield (
        "traffic",
        exposure.share == whole,
        f"{exposure.share:.0%} get {plan.candidate}",
    )
    done = Status.ROLLED_BACK if whole == 0 else Status.COMPLETE
    status = host.engine.state.status
    yield "status", status in {done, Status.READY} or whole == 1, status.value
    if whole == 0:
        on = [name for name, one in exposure.features.items() if one.enabled]
        yield "features", not on, ", ".join(on) or "all of the candidate's are off"
    yield from _snapshots(host, plan.rollback.to if whole == 0 else plan.candidate)
    verification = host.journal.verify()
    yield "journal", verification.ok, f"{verification.size} entries verify"


def _snapshots(host: Host, name: str) -> Iterator[tuple[str, bool, str]]:
    registry = host.registry
    assert registry is not None
    live = registry.active()
    if not live:
        yield "registry", True, "holds no snapshot"
        return
    wanted = registry.resolve(name)
    yield "registry", live == wanted, f"{live[:12]} is live, {name} is {wanted[:12]}"
    faults = registry.verify(name)
    yield "snapshot", not faults, ", ".join(faults) or f"{name} verifies"
