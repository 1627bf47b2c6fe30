"""``legion rollback``, ``restore`` and ``deactivate``: the ways back."""

from __future__ import annotations

import argparse
import shlex
import sys

from ...exceptions import LegionError, SnapshotNotFoundError
from ...host import Host
from ...model import Change, Outcome
from ...stages import Plan
from ..latch import Standing
from ..main import Commands, RefusedError, command
from ..output import Output


def add_rollback(commands: Commands) -> None:
    """Add ``legion rollback``."""
    one = command(
        commands,
        "rollback",
        rollback,
        says="go back to the baseline now, from any state",
        teaches=(
            "A running host sees the latch within a second, whichever process it is. It"
            "\ncannot be pulled back: what comes next is a new plan.\n\n"
            "  legion rollback --reason 'wrong invoices' --immediate"
        ),
        state=True,
    )
    one.add_argument(
        "--version", help="the baseline, such as 4.0.0: done only if it is that"
    )
    one.add_argument("--reason", required=True, help="why, for the journal")
    one.add_argument("--immediate", action="store_true", help="do not ask back")


def rollback(arguments: argparse.Namespace, output: Output) -> int:
    """Pull the latch beside the state, and run the rollback procedure under it."""
    if arguments.version is not None or not arguments.immediate:
        _make_sure(arguments, _plan(arguments.state))

    def back() -> Outcome:
        with Host.reopen(arguments.state) as host:
            return host.engine.rollback(arguments.reason)

    return _say(output, Standing(arguments.state, arguments.reason).back(back))


def _plan(state: str) -> Plan | None:
    """Return the plan that was rolled out last, or None where it cannot be read."""
    try:
        with Host.reopen(state, readonly=True) as host:
            return host.plan
    except (LegionError, OSError):
        return None


def _make_sure(arguments: argparse.Namespace, plan: Plan | None) -> None:
    """Raise if it is not what whoever typed it wants."""
    version, known = arguments.version, plan and (plan.baseline, plan.rollback.to)
    if plan and known and version not in {None, *known}:
        msg = (
            f"rollback: got version {version}; {plan.name} can only go back to"
            f" {plan.baseline}; write --version {' or '.join(dict.fromkeys(known))},"
            " or leave it out"
        )
        raise LegionError(msg)
    if arguments.immediate:
        return
    where = f"to {plan.baseline}" if plan else "though the state cannot be read"
    _ask(f"Take everybody back {where}?")


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        msg = "rollback: nobody is there to be asked back; write --immediate"
        raise LegionError(msg)
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        msg = "rollback: not confirmed, and nothing was done"
        raise RefusedError(msg)


def _say(output: Output, outcome: Outcome) -> int:
    for step in outcome.steps:
        output.mark(
            f"{step.name}: {step.detail} ({step.took_s * 1000:.0f} ms)", ok=step.ok
        )
    output.line(outcome.reason)
    output.document(outcome.to_json())
    return 0 if outcome.applied and outcome.verified else 1


def add_restore(commands: Commands) -> None:
    """Add ``legion restore``."""
    one = command(
        commands,
        "restore",
        restore,
        says="verify a snapshot of the registry and make it the live one",
        teaches=(
            "The plan's own way back is restored without asking; anything else passes"
            " the gate.\n\n"
            "  legion restore --snapshot v4.0.0-stable"
        ),
        state=True,
    )
    one.add_argument(
        "--snapshot", required=True, metavar="NAME", help="its name or digest"
    )


def restore(arguments: argparse.Namespace, output: Output) -> int:
    """Restore a snapshot; anything but the plan's way back passes the gate."""
    with Host.reopen(arguments.state) as host:
        registry = host.registry
        assert registry is not None
        wanted = registry.resolve(arguments.snapshot)
        if wanted != _way_back(host):
            change = _change(arguments.snapshot, registry.active(), wanted)
            _pass_the_gate(host, change, arguments)
        live = registry.restore(arguments.snapshot)
        host.journal.append(
            {"snapshot": arguments.snapshot, "digest": live}, kind="restore"
        )
    output.line(f"{arguments.snapshot} is live and verified as {live}")
    output.document({"snapshot": arguments.snapshot, "digest": live})
    return 0


def _change(name: str, before: str, after: str) -> Change:
    return Change(
        target="registry:default",
        before=before,
        after=after,
        kind="deployment",
        risk=0.5,
        reason=f"restore {name} by hand",
        proposer="command line",
    )


def _pass_the_gate(host: Host, change: Change, arguments: argparse.Namespace) -> None:
    ruling = host.gate.review(change)
    if ruling.allowed and host.gate.consume(ruling):
        return
    msg = f"restore: {ruling.reason}"
    if ruling.ask is not None:
        state = shlex.quote(arguments.state)
        msg += (
            f"; to let question {ruling.ask} through, write: legion asks {ruling.ask}"
            f" --approve --by WHO --state {state}; then: legion restore --snapshot"
            f" {shlex.quote(arguments.snapshot)} --state {state}"
        )
    raise RefusedError(msg, ask=ruling.ask)


def _way_back(host: Host) -> str | None:
    assert host.registry is not None
    try:
        return host.registry.resolve(host.plan.rollback.to)
    except SnapshotNotFoundError:
        return None


def add_deactivate(commands: Commands) -> None:
    """Add ``legion deactivate``."""
    one = command(
        commands,
        "deactivate",
        deactivate,
        says="switch features of the candidate off, for good in this rollout",
        teaches=(
            "  legion deactivate l4_cache --reason 'stale answers'\n"
            "  legion deactivate --all-v4.1"
        ),
        state=True,
    )
    one.add_argument("features", nargs="*", metavar="FEATURE", help="which")
    one.add_argument("--all", "--all-v4.1", action="store_true", help="all of them")
    one.add_argument("--reason", default="by hand", help="why, for the journal")


def deactivate(arguments: argparse.Namespace, output: Output) -> int:
    """Move the pointer to the same exposure without the features."""
    with Host.reopen(arguments.state) as host:
        known = sorted({name for stage in host.plan.stages for name in stage.features})
        names = known if arguments.all else arguments.features
        if not known:
            msg = (
                f"deactivate: {host.plan.name} has no features, so there is nothing to"
                " switch off; to take everybody back, write legion rollback"
            )
            raise LegionError(msg)
        if not names:
            there = ", ".join(known)
            msg = f"deactivate: got no feature; write some of {there}, or --all"
            raise LegionError(msg)
        outcome = host.engine.deactivate(names, reason=arguments.reason)
    return _say(output, outcome)
