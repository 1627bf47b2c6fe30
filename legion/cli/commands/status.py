"""``legion status`` and ``legion validate``: where a rollout stands."""

from __future__ import annotations

import argparse

from collections.abc import Iterator

from ...exceptions import LegionError, SnapshotNotFoundError
from ...host import Host
from ...journal import Verification
from ...model import Missing
from ...stages import Status
from ..main import Commands, command
from ..output import Output


def add_status(commands: Commands) -> None:
    """Add ``legion status``."""
    command(
        commands,
        "status",
        status,
        says="say where the rollout stands, and why",
        teaches=(
            "Works beside a running host, on the same directory.\n\n"
            "  legion status --state var/legion\n"
            "  legion status --json | jq -r .status"
        ),
        state=True,
    )


def status(arguments: argparse.Namespace, output: Output) -> int:
    """Print stage, evidence and open questions of a state directory."""
    with Host.reopen(arguments.state, readonly=True) as host:
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
        teaches=(
            "Checks traffic, features, the live snapshot and the journal.\n\n"
            "  legion validate --expected-version 4.0.0"
        ),
        state=True,
    )
    one.add_argument(
        "--expected-version", required=True, metavar="VERSION", help="such as 4.0.0"
    )


def validate(arguments: argparse.Namespace, output: Output) -> int:
    """Check exposure, registry and journal against the expected version."""
    version = arguments.expected_version
    with Host.reopen(arguments.state, readonly=True) as host:
        known = (host.plan.baseline, host.plan.candidate)
        if version not in known:
            msg = f"validate: got version {version}; write {' or '.join(known)}"
            raise LegionError(msg)
        checks = list(_checks(host, whole=float(known.index(version))))
    for what, ok, found in checks:
        output.mark(f"{what}: {found}", ok=ok)
    output.document(
        {
            "expected_version": version,
            "ok": all(ok for _, ok, _ in checks),
            "checks": [{"check": w, "ok": ok, "found": f} for w, ok, f in checks],
        }
    )
    return 0 if all(ok for _, ok, _ in checks) else 1


def _checks(host: Host, *, whole: float) -> Iterator[tuple[str, bool, str]]:
    """Yield (what, whether it holds, what was found); *whole* is the wanted share."""
    plan, exposure = host.plan, host.engine.exposure
    found = f"{exposure.share:.0%} of the units get {plan.candidate}"
    yield "traffic", exposure.share == whole, found
    status = host.engine.state.status
    still = {Status.ROLLED_BACK, Status.READY}
    yield "status", bool(whole) or status in still, status.value
    if not whole:
        on = [name for name, one in exposure.features.items() if one.enabled]
        yield "features", not on, ", ".join(on) or "all of the candidate's are off"
    yield from _snapshots(host, plan.candidate if whole else plan.rollback.to)
    verification = host.journal.verify()
    yield "journal", verification.ok, _verified(verification)


def _verified(verification: Verification) -> str:
    if verification.ok:
        return f"{verification.size} entries verify"
    return f"{len(verification.faults)} faults; legion journal verify names them"


def _snapshots(host: Host, name: str) -> Iterator[tuple[str, bool, str]]:
    registry = host.registry
    assert registry is not None
    live = registry.active()
    if not live:
        yield "registry", True, "nothing was ever made live in it"
        return
    try:
        wanted = registry.resolve(name)
    except SnapshotNotFoundError:
        yield "registry", False, f"{live[:12]} is live, and there is no {name}"
        return
    yield "registry", live == wanted, f"{live[:12]} is live, {name} is {wanted[:12]}"
    faults = registry.verify(name)
    yield "snapshot", not faults, ", ".join(faults) or f"{name} verifies"
