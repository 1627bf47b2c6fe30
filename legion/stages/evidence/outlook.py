"""When a proof that is not there yet could be there."""

from __future__ import annotations

import math

from collections.abc import Sequence

import attrs

from ...canonical import JSON
from ...model import Finding
from ...stats import BernoulliProcess, LabelProcess, PairedProcess, more_to_decide
from .units import Tally


_CLEAR = 2.0
"""Nats from which on the candidate is taken to differ from control."""

_SO_FAR = "if it goes on as so far"
_AS_GOOD = "if it is as good as control"


@attrs.frozen(kw_only=True)
class Outlook:
    """
    When a rule could be proven, and on what condition.

    Attributes:
        seconds: Of plan time from now, in half of the rollouts; None where it is not
            provable as it stands.
        says: The same in words.
    """

    seconds: float | None
    says: str

    def on(self, finding: Finding) -> Finding:
        """Return *finding* with the outlook."""
        known: dict[str, JSON] = {**finding.evidence, "decides_in_s": self.seconds}
        reason = f"{finding.reason}; {self.says}"
        return attrs.evolve(finding, evidence=known, reason=reason)


def outlook_of_limit(
    process: BernoulliProcess, *, alpha: float, observed_s: float
) -> Outlook:
    """
    Say when a limit could be proven to be kept.

    Args:
        process: The proof as it stands.
        alpha: The level at which it decides.
        observed_s: How long it took to come so far, in seconds, above 0.
    """
    share = process.bad / process.n if process.n else 0.0
    why = f"{share:.3g} of them are bad, {process.limit:.3g} is the limit"
    return _outlook(process.logs, process.logs, alpha, observed_s, _SO_FAR, why)


def outlook_of_margin(
    process: LabelProcess | PairedProcess,
    floor: BernoulliProcess | None,
    tally: Tally,
    *,
    share: float,
    margin: float,
    slow: bool,
    alpha: float,
    observed_s: float,
) -> Outlook:
    """
    Say when a margin, or a floor, could be proven to be kept.

    Little is known of the candidate's ratio for most of the way, so it is taken to be
    as good as control until it clearly is not. Of a time that cannot be said in units
    that are slow, and it is taken to be as it has been so far.

    Args:
        process: The proof of the margin as it stands.
        floor: The proof of the floor, or None.
        tally: The units of both arms.
        share: The candidate's share of the units.
        margin: By which share the candidate may be worse.
        slow: Whether units are bad by being slow.
        alpha: The level at which it decides.
        observed_s: How long it took to come so far, in seconds, above 0.
    """
    so_far = slow or _differs(process, share)
    expected = process if so_far else _as_good(process, share)
    logs, gains = list(process.logs), list(expected.logs)
    if floor is not None:
        rate = tally.control_share or 0.0
        below = attrs.evolve(floor, bad=round(rate * floor.n))
        logs += floor.logs
        gains += floor.logs if so_far else below.logs
    change = _change(process, share)
    known = tally.control_bad or tally.candidate_bad
    none = (
        "control has no bad unit yet to compare with"
        if known
        else "no bad unit to compare yet"
    )
    if floor is None:
        none += "; with or_below, as `or_below: 0.5%`, few bad units are proof"
    why = (
        none
        if change is None
        else f"observed {change:+.0%}, margin {margin:.0%}"
        if not slow
        else f"{change:+.0%} as many are slow"
    )
    return _outlook(
        logs, gains, alpha, observed_s, _SO_FAR if so_far else _AS_GOOD, why
    )


def _outlook(
    logs: Sequence[float],
    gains: Sequence[float],
    alpha: float,
    observed_s: float,
    condition: str,
    why: str,
) -> Outlook:
    times = more_to_decide(logs, gains, alpha=alpha)
    if times is None:
        return Outlook(seconds=None, says=f"not provable as it stands: {why}")
    seconds = times * observed_s
    says = f"could be proven in about {_spelled(seconds)} {condition}"
    return Outlook(seconds=seconds, says=says)


def _differs(process: LabelProcess | PairedProcess, share: float) -> bool:
    """Tell whether the arms of the bad units are clearly not what chance gives."""
    rho = 0.5 if isinstance(process, PairedProcess) else share
    candidate, control = process.candidate, process.control
    total = candidate + control
    nats = sum(
        n * math.log(n / (total * expected))
        for n, expected in ((candidate, rho), (control, 1 - rho))
        if n
    )
    return nats >= _CLEAR


def _as_good(
    process: LabelProcess | PairedProcess, share: float
) -> LabelProcess | PairedProcess:
    """Return the proof that a candidate as good as control would have brought."""
    if isinstance(process, PairedProcess):
        alike = min(process.control, (process.n - process.both) // 2)
        return attrs.evolve(process, candidate=alike, control=alike)
    fresh = LabelProcess.proof(process.ratio)
    candidate = round(process.control * share / (1 - share))
    return fresh.update(candidate, process.control, rho=share)


def _change(process: LabelProcess | PairedProcess, share: float) -> float | None:
    """Return by which share more of the candidate's units are bad, or None."""
    if isinstance(process, PairedProcess):
        bad = process.both + process.control
        return (process.both + process.candidate) / bad - 1 if bad else None
    if not process.control:
        return None
    return process.candidate / process.control * (1 - share) / share - 1


def _spelled(seconds: float) -> str:
    if seconds < 5_400:
        return f"{max(seconds / 60, 1):.0f} min"
    if seconds < 2 * 86_400:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86_400:,.0f} days"
