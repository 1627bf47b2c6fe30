"""What each rung of the ladder exposes, requires and may be left by."""

from __future__ import annotations

import logging
import math

from collections.abc import Iterator, Mapping

import attrs

from ..criteria import Criterion
from ..exceptions import SnapshotError, SnapshotNotFoundError
from ..metrics import HARD_FACTS, METRICS
from ..model import (
    Arm,
    Snapshots,
)
from ..plugins import Plugins
from .budget import KEPT_BACK, Budget
from .evidence import VALIDATE, Paths, is_weighed
from .exposure import Exposure
from .plan import Plan, Stage, Unit
from .state import RolloutState, Standing


logger = logging.getLogger("legion")


@attrs.define(kw_only=True, eq=False)
class Rungs:
    """
    A plan together with what the ladder needs to know of its surroundings.

    Attributes:
        plan: The plan.
        plugins: Whose criteria are in force, and who may choose a lower stage.
        registry: Versions of the code; None where they are kept elsewhere.
        found: Digest that the registry has for each arm's version now, or None.
        code: Code of each arm that is exposed.
        baseline: What is exposed after going back.
        stages: What each stage exposes, in the order of the plan.
        damage: What in the registry cannot be read, or "": nothing goes forward then.
    """

    plan: Plan
    plugins: Plugins
    registry: Snapshots | None = None
    found: Mapping[Arm, str | None] = attrs.field(init=False)
    code: Mapping[Arm, str] = attrs.field(init=False)
    baseline: Exposure = attrs.field(init=False)
    stages: tuple[Exposure, ...] = attrs.field(init=False)
    damage: str = attrs.field(init=False, default="")
    _required: dict[str, tuple[Mapping[str, Criterion], tuple[str, ...]]] = attrs.field(
        init=False, factory=dict
    )

    def __attrs_post_init__(self) -> None:
        self.look()
        self.take_up()

    def look(self) -> None:
        """See what the registry has now; nothing is exposed by that."""
        self.damage = ""
        self.found = {
            Arm.CONTROL: self._digest_of(self.plan.rollback.to),
            Arm.CANDIDATE: self._digest_of(self.plan.candidate),
        }

    def take_up(self) -> None:
        """Expose what the registry has now: for a rollout that has not begun."""
        named = {
            Arm.CONTROL: self.plan.baseline,
            Arm.CANDIDATE: self.plan.candidate,
        }
        self.hold({arm: self.found[arm] or name for arm, name in named.items()})

    def hold(self, code: Mapping[Arm, str]) -> None:
        """Expose *code* in every stage, whatever the registry has by now."""
        plan = self.plan
        self.code = code
        self.baseline = Exposure.of(plan, "", code=code)
        self.stages = tuple(Exposure.of(plan, s.name, code=code) for s in plan.stages)

    @property
    def newer(self) -> Mapping[Arm, str] | None:
        """The code to go on with where the candidate's is not what is exposed."""
        found = self.found[Arm.CANDIDATE]
        if found is None or found == self.code[Arm.CANDIDATE]:
            return None
        return {**self.code, Arm.CANDIDATE: found}

    def _digest_of(self, name: str) -> str | None:
        if self.registry is None or not name:
            return None
        try:
            return self.registry.resolve(name)
        except SnapshotNotFoundError:
            return None
        except (SnapshotError, OSError) as error:
            # Going back must work all the same; its own step will say so again.
            logger.warning("snapshot %s cannot be resolved", name, exc_info=True)
            self.damage = f"{name}: {error}"
            return None

    @property
    def criteria(self) -> frozenset[str]:
        """Names of the criteria in force: those registered and not switched off."""
        off = {name for name, limits in self.plan.criteria.items() if limits is None}
        return frozenset(self.plugins.criteria) - off

    def exposure(self, stage: str, code: Mapping[Arm, str] | None = None) -> Exposure:
        """Return what *stage* exposes, with other *code* if given; "": the baseline."""
        if code is not None and code != self.code:
            return Exposure.of(self.plan, stage, code=code)
        return self.stages[self.plan.index(stage)] if stage else self.baseline

    def next_stage(self, stage: str) -> str | None:
        """Return the stage after *stage*, or None after the last one."""
        following = self.plan.index(stage) + 1 if stage else 0
        stages = self.plan.stages
        return stages[following].name if following < len(stages) else None

    def required(self, stage: Stage) -> tuple[str, ...]:
        """
        Return the metrics without which *stage* may not be left.

        What only a mirror supplies is not required where a stage has none, unless its
        own validate names it: then the stage holds.
        """
        in_force = self.plugins.criteria
        known = self._required.get(stage.name)
        if known is None or known[0] is not in_force:
            known = self._required[stage.name] = in_force, self._requires(stage)
        return known[1]

    def _requires(self, stage: Stage) -> tuple[str, ...]:
        named = {rule.metric for rule in stage.validate}
        return tuple(
            metric
            for metric in self.plan.requires(stage, self.criteria)
            if stage.mirror > 0 or metric in named or not _from_shadow(metric)
        )

    def harmful(self, stage: Stage) -> frozenset[str]:
        """
        Return the criteria of which a critical verdict takes *stage* back.

        They are those it requires, the hard facts, and those the host registered
        itself: a built-in one that no rule asks about does not.
        """
        own = {
            name
            for name, criterion in self.plugins.criteria.items()
            if not type(criterion).__module__.startswith("legion.")
            or name not in METRICS
        }
        return self.criteria & (frozenset(self.required(stage)) | HARD_FACTS | own)

    def paths(self, stage: Stage, state: RolloutState | None = None) -> Paths:
        """
        Return the paths by which *stage* may be left, forward or back.

        Args:
            stage: The stage.
            state: Where the rollout stands; None before it has begun.
        """
        harmful = self.harmful(stage)
        return Paths(
            plan=self.plan,
            stage=stage,
            required=self.required(stage),
            criteria={
                name: self._limited(criterion)
                for name, criterion in self.plugins.criteria.items()
                if name in harmful
            },
            weights={} if state is None else state.weights,
            kept_back=0.0 if state is None else state.kept_back,
            slices=() if state is None else state.slices,
            rates={} if state is None else state.rates,
        )

    def _limited(self, criterion: Criterion) -> Criterion:
        limits = self.plan.criteria.get(criterion.name)
        return criterion if not limits else criterion.limited(dict(limits))

    def proofs(self, stage: Stage) -> frozenset[str]:
        """
        Return the keys of what *stage* proves of the candidate's code.

        What is counted of the rollout itself is no proof of any code.
        """
        return frozenset(
            f"{VALIDATE}{rule}"
            for rule in stage.validate
            if rule.rehearsal is None
            and self.plan.metric(rule.metric).source != "engine"
        )

    def weights(self) -> dict[str, float]:
        """
        Return each path's share of the budget, fixed before anything is exposed.

        All have the same; the slices of a path together have as much as the path. A
        criterion that comes later has none: it warns, and takes nothing back.
        """
        shares = {
            name: share
            for stage in self.plan.stages
            for name, share in self.paths(stage).parts().items()
        }
        total = math.fsum(shares.values())
        return {name: share / total for name, share in shares.items()}

    @property
    def kept_back(self) -> float:
        """What of each path's share is for later stays in its stage; see `Budget`."""
        return 0.0 if self.plan.unit is Unit.TASK else KEPT_BACK

    def budget(self, state: RolloutState) -> Budget:
        """Return what is spent of the plan's ``false_rollback``."""
        return Budget.of(state, alpha=self.plan.false_rollback)

    def alerts(self, state: RolloutState) -> Iterator[tuple[str, Standing]]:
        """
        Yield the required criteria whose alert alone stops the ladder.

        They are facts, and those of the host's own kind: their verdict is all there is.
        """
        required = self.required(self.plan.stage(state.stage))
        criteria = self.plugins.criteria
        for name, standing in state.standings.items():
            known = name in required and name in criteria
            if known and standing.level.unhealthy and not is_weighed(criteria[name]):
                yield name, standing

    def missing(
        self, stage: Stage, state: RolloutState, at_s: float
    ) -> tuple[str, ...]:
        """Return the required metrics that have no evidence, or only an old one."""
        absent = {
            finding.metric
            for finding in state.findings.values()
            if finding.missing is not None and not finding.slice
        }
        judged = {
            name
            for name, standing in state.standings.items()
            if not standing.stale(at_s, stage.check_interval_s)
        }
        found = {finding.metric for finding in state.findings.values()}
        return tuple(
            metric
            for metric in self.required(stage)
            if metric in absent
            or (metric not in found and metric not in judged)
            or (metric in self.criteria and metric not in judged)
        )

    def rehearsal_within_s(self, stage: str) -> float:
        """Return how long the rehearsed rollback may take, or 0 where none is asked."""
        rules = self.plan.stage(stage).validate if stage else ()
        found = [rule.within_s for rule in rules if rule.rehearsal]
        return float(found[0] or self.plan.rollback.within_s) if found else 0.0


def _from_shadow(metric: str) -> bool:
    known = METRICS.get(metric)
    return known is not None and known.source == "shadow"
