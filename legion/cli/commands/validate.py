"""``legion validate``: whether a version is what runs."""

from __future__ import annotations

import argparse
import contextlib
import re

from collections.abc import Iterator
from typing import TypeAlias

from ...exceptions import LegionError, SnapshotNotFoundError
from ...host import Host
from ...journal import Verification
from ...stages import Status
from ..main import Commands, command
from ..output import Output
from ..standing import percent


Check: TypeAlias = tuple[str, bool, str]
"""What was looked at, whether it holds, and what was found."""

_DIGEST = re.compile("[0-9a-f]{64}")


def add(commands: Commands) -> None:
    """Add ``legion validate``."""
    one = command(
        commands,
        "validate",
        validate,
        says="verify by digest that a version is what runs",
        teaches=(
            "Checks traffic, features, the live snapshot and the journal, and writes"
            " nothing.\n\n"
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


def _checks(host: Host, *, whole: float) -> Iterator[Check]:
    """Yield every check; *whole* is the wanted share of the candidate."""
    plan, exposure = host.plan, host.engine.exposure
    found = f"{percent(exposure.share)} of the units get {plan.candidate}"
    yield "traffic", exposure.share == whole, found
    status = host.engine.state.status
    still = {Status.ROLLED_BACK, Status.READY}
    yield "status", bool(whole) or status in still, status.value
    if not whole:
        on = [name for name, one in exposure.features.items() if one.enabled]
        yield "features", not on, ", ".join(on) or "all of the candidate's are off"
    yield from _exposure(host)
    yield from _live(host, plan.candidate if whole else plan.rollback.to)
    yield from _code(host, plan.candidate if whole else plan.rollback.to)
    verification = host.journal.verify()
    yield "journal", verification.ok, _verified(verification)


def _exposure(host: Host) -> Iterator[Check]:
    """Compare what was written down with what plan and registry make of it now."""
    written, now = host.engine.state.exposure, host.engine.exposure.digest
    if host.engine.state.status is Status.READY or written == now:
        return
    found = (
        f"{written[:12]} was written down, and plan and registry make {now[:12]} of it"
        " now; put the registry back that it was made with"
    )
    yield "exposure", False, found


def _live(host: Host, name: str) -> Iterator[Check]:
    registry = host.registry
    assert registry is not None
    live = registry.active()
    wanted = host.engine.exposure.live_code
    if not live:
        idle = wanted is None or host.engine.state.status is Status.READY
        found = "nothing was ever made live in it"
        if not idle:
            found = f"nothing is live in it, and the exposure names {str(wanted)[:12]}"
        yield "registry", idle, found
        return
    try:
        wanted = registry.resolve(name)
    except SnapshotNotFoundError:
        yield "registry", False, f"{live[:12]} is live, and there is no {name}"
        return
    yield "registry", live == wanted, f"{live[:12]} is live, {name} is {wanted[:12]}"


def _code(host: Host, name: str) -> Iterator[Check]:
    """Verify the snapshot *name*, and the code of both arms that has a digest."""
    registry = host.registry
    assert registry is not None
    named = {
        code: f"the code of {arm.value}"
        for arm, code in host.engine.exposure.code.items()
        if _DIGEST.fullmatch(code)  # else it is kept elsewhere
    }
    with contextlib.suppress(SnapshotNotFoundError):
        named.setdefault(registry.resolve(name), name)
    for code, what in named.items():
        try:
            faults = registry.verify(code)
        except SnapshotNotFoundError:
            found = f"{what}, {code[:12]}, is not there; put the registry back"
            yield "snapshot", False, found
        else:
            bad = f"{what}, {code[:12]}, is damaged in {', '.join(faults)}"
            yield "snapshot", not faults, bad if faults else f"{what} verifies"


def _verified(verification: Verification) -> str:
    if verification.ok:
        return f"{verification.size} entries verify"
    return f"{len(verification.faults)} faults; legion journal verify names them"
