"""How often each unit came and fared badly, in this stage and in the rollout before."""

from __future__ import annotations

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
        bad_before: Visits before that went badly, whichever arm it had.
        n_before: Visits before.
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
    """

    stay: dict[tuple[Arm, str], tuple[int, int]] = attrs.field(factory=dict)
    epoch: dict[tuple[Arm, str], tuple[int, int]] = attrs.field(factory=dict)

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

    Who comes first does not depend on the arms, so a test on those alone is as exact as
    one on all; `left_out` says how many visits are missing.

    Attributes:
        metrics: By metric and unit, what is known.
        new: (metric, unit) of those that are not written down as they are now.
        left_out: By metric, visits of units beyond the first `MOST`, since this process
            began.
    """

    metrics: dict[str, dict[int, Visitor]] = attrs.field(factory=dict)
    new: set[tuple[str, int]] = attrs.field(factory=set)
    left_out: dict[str, int] = attrs.field(factory=dict)

    def see(self, observation: Observation, at: Stay) -> Came:
        """
        Count the visits of *observation*, and return who came first.

        A unit that control answers is control's: what the candidate does with it is a
        mirrored run that no user sees, and is no visit. At a share of 0 all of them
        are.
        """
        came = Came()
        if observation.control is not None:
            for metric, visits in observation.control.visits.items():
                self._answered(metric, visits, at, came)
        if at.share > 0:
            for metric, visits in observation.candidate.visits.items():
                self._shown(metric, visits, at, came)
        return came

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
        """Return the unit as it is in this stage; None if it is one too many."""
        units = self.metrics.setdefault(metric, {})
        visitor = units.get(unit)
        if visitor is None:
            if len(units) >= MOST:
                self.left_out[metric] = self.left_out.get(metric, 0) + 1
                return None
            visitor = units[unit] = Visitor(at, candidate=False)
        elif visitor.at != at:
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
