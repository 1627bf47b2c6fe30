"""How often each unit came and fared badly, in this stage and in the rollout before."""

from __future__ import annotations

import hashlib

from typing import TYPE_CHECKING

import attrs

from ...model import Arm, Observation, Visits


if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MOST = 2**17
"""How many units of a metric are followed: the first that come."""


@attrs.frozen
class Stay:
    """
    One stay of a rollout in a stage.

    Attributes:
        entry: The version that entered the stage.
        share: Share of the units that get the candidate, 0..1.
        epoch: The version that exposed the code which the arms have now; a stay goes
            on where that changes.
    """

    entry: int
    share: float
    epoch: int = attrs.field(default=0, eq=False)


@attrs.define(eq=False)
class Visitor:
    """
    What is known of one unit in one metric.

    Attributes:
        at: The stay that `bad` and `n` are of.
        candidate: Whether the unit has the candidate there.
        bad: Visits there that went badly.
        n: Visits there.
        bad_before: Visits of earlier stages that went badly. Where its arm is still
            drawn, it had control in all of them; who has had the candidate is in no
            draw.
        n_before: Visits of earlier stages.
        kept: The largest share of candidates under which it still had control before; 1
            where it has had the candidate.
    """

    at: Stay
    candidate: bool
    bad: int = 0
    n: int = 0
    bad_before: int = 0
    n_before: int = 0
    kept: float = 0.0

    def move(self, at: Stay) -> None:
        """Count what it did for the past, and begin anew in another stage."""
        self.bad_before += self.bad
        self.n_before += self.n
        self.kept = max(self.kept, 1.0 if self.candidate else self.at.share)
        self.at, self.candidate, self.bad, self.n = at, False, 0, 0


@attrs.define(eq=False)
class Came:
    """
    Units whose first visits a look has brought, by arm and metric.

    A unit counts once, in whichever process it comes and after a restart too: at the
    look that brings its first visits, as bad if any of these was.

    Attributes:
        stay: (bad, all) of those that came first in this stay.
        epoch: The same of those that came first since the arms have this code.
        left_out: By metric, visits of units that there is no place for.
    """

    stay: dict[tuple[Arm, str], tuple[int, int]] = attrs.field(factory=dict)
    epoch: dict[tuple[Arm, str], tuple[int, int]] = attrs.field(factory=dict)
    left_out: dict[str, int] = attrs.field(factory=dict)

    def add(self, key: tuple[Arm, str], *, bad: bool, here: bool, anew: bool) -> None:
        """Count a unit that came, if it came first."""
        for counts, first in ((self.stay, here), (self.epoch, anew)):
            if first:
                before, n = counts.get(key, (0, 0))
                counts[key] = (before + bad, n + 1)


@attrs.frozen(kw_only=True, eq=False)
class Drawn:
    """
    The units of one stage whose arms chance has drawn, arrays of shape (units,).

    Attributes:
        units: Their hashes.
        candidate: Whether each has the candidate.
        bad: Visits in the stage that went badly.
        n: Visits in the stage.
        bad_before: Visits before the stage that went badly.
        n_before: Visits before the stage.
        rho: How likely each was to get the candidate.
    """

    units: npt.NDArray[np.uint64]
    candidate: npt.NDArray[np.bool_]
    bad: npt.NDArray[np.int64]
    n: npt.NDArray[np.int64]
    bad_before: npt.NDArray[np.int64]
    n_before: npt.NDArray[np.int64]
    rho: npt.NDArray[np.float64]


@attrs.define(eq=False)
class Visitors:
    """
    Every unit that came in this rollout, by metric, up to `MOST` of each.

    Who comes first does not depend on the arms, nor does who gets the last places of
    one observation: a hash decides. So a test on those alone is as exact as one on all.

    Attributes:
        metrics: By metric and unit, what is known.
        new: (metric, unit) of those that are not written down as they are now.
    """

    metrics: dict[str, dict[int, Visitor]] = attrs.field(factory=dict)
    new: set[tuple[str, int]] = attrs.field(factory=set)

    def see(self, observation: Observation, at: Stay) -> Came:
        """
        Count the visits of *observation*, and return who came first.

        A unit that control answers is control's: what the candidate does with it is a
        mirrored run that no user sees, and is no visit. At a share of 0 all of them
        are.
        """
        came = Came()
        control = {} if observation.control is None else observation.control.visits
        candidate = observation.candidate.visits if at.share > 0 else {}
        for metric in sorted({*control, *candidate}):
            answered = control.get(metric, Visits())
            shown = candidate.get(metric, Visits())
            self._let_in(metric, {*answered.units, *shown.units}, at)
            self._answered(metric, answered, at, came)
            self._shown(metric, shown, at, came)
            known = self.metrics[metric]
            both = {**shown.units, **answered.units}
            missing = sum(n for unit, (_, n) in both.items() if unit not in known)
            if missing:
                came.left_out[metric] = missing
        return came

    def _let_in(self, metric: str, units: set[int], at: Stay) -> None:
        """Give a place to those that are new, or to as many as there are places for."""
        known = self.metrics.setdefault(metric, {})
        fresh, free = units - known.keys(), max(0, MOST - len(known))
        if len(fresh) > free:
            # By another hash than the one that draws the arms.
            fresh = set(sorted(fresh, key=_lot)[:free])
        for unit in fresh:
            known[unit] = Visitor(at, candidate=False)

    def _answered(self, metric: str, visits: Visits, at: Stay, came: Came) -> None:
        for unit, (bad, n) in visits.units.items():
            visitor = self._visitor(metric, unit, at)
            if visitor is None:
                continue
            self._count(came, (Arm.CONTROL, metric), visitor, at, bad=bad)
            if visitor.candidate:
                visitor.candidate, visitor.bad, visitor.n = False, 0, 0
            visitor.bad += bad
            visitor.n += n

    def _shown(self, metric: str, visits: Visits, at: Stay, came: Came) -> None:
        for unit, (bad, n) in visits.units.items():
            if self.is_controls(metric, unit, at):
                continue
            visitor = self._visitor(metric, unit, at)
            if visitor is not None:
                self._count(came, (Arm.CANDIDATE, metric), visitor, at, bad=bad)
                visitor.candidate = True
                visitor.bad += bad
                visitor.n += n

    @staticmethod
    def _count(
        came: Came, key: tuple[Arm, str], visitor: Visitor, at: Stay, *, bad: int
    ) -> None:
        here = visitor.n == 0
        anew = here or visitor.at.epoch != at.epoch
        came.add(key, bad=bad > 0, here=here, anew=anew)
        visitor.at = at

    def _visitor(self, metric: str, unit: int, at: Stay) -> Visitor | None:
        """Return the unit as it is in this stage; None if it has no place."""
        visitor = self.metrics[metric].get(unit)
        if visitor is None:
            return None
        if visitor.at != at:
            visitor.move(at)
        self.new.add((metric, unit))
        return visitor

    def is_controls(self, metric: str, unit: int, at: Stay) -> bool:
        """Tell whether control has answered *unit* in this stage."""
        visitor = self.metrics.get(metric, {}).get(unit)
        known = visitor is not None and visitor.at == at and visitor.n > 0
        return known and not visitor.candidate  # type: ignore[union-attr]

    def drawn(self, metric: str, at: Stay) -> Drawn | None:
        """
        Return the units of this stage whose arm was open when it began; None for none.

        One that kept control where a share s had the candidate is not among the first s
        of all units; it gets the candidate at a share of r with a probability of
        ``(r - s) / (1 - s)``. One that has had the candidate before, or could not get
        it at this share, tells nothing: its arm was known.
        """
        import numpy as np

        known = self.metrics.get(metric, {})
        found = (
            unit
            for unit, one in known.items()
            if one.at == at and one.n and one.kept < at.share
        )
        # In one order in every process, or sums would differ in their last digits.
        units = sorted(found)
        if not units:
            return None
        them = [known[unit] for unit in units]
        kept = np.array([one.kept for one in them])
        return Drawn(
            units=np.array(units, dtype=np.uint64),
            candidate=np.array([one.candidate for one in them]),
            bad=np.array([one.bad for one in them]),
            n=np.array([one.n for one in them]),
            bad_before=np.array([one.bad_before for one in them]),
            n_before=np.array([one.n_before for one in them]),
            rho=(at.share - kept) / (1 - kept),
        )


def _lot(unit: int) -> bytes:
    """Return by what *unit* gets a place where there are too few of them."""
    return hashlib.blake2b(unit.to_bytes(8), digest_size=8, person=b"place").digest()
