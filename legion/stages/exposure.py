"""What users are exposed to right now: the value that a rollout's pointer points at."""

from __future__ import annotations

import re

from collections.abc import Mapping
from typing import cast

import attrs

from .. import canonical
from ..canonical import JSON
from ..model import Arm
from .plan import Feature, Plan
from .splitter import threshold_of


_DIGEST = re.compile("[0-9a-f]{64}")

OFF = Feature(enabled=False)
"""What a feature is where nothing enables it."""


@attrs.frozen(kw_only=True)
class Exposure:
    """
    Who gets what.

    It is content-addressed: to advance, to deactivate a feature and to roll back each
    move the pointer ``rollout:<plan>`` from one exposure's digest to another's.

    Attributes:
        plan: Name of the plan.
        stage: Name of the stage, or "" where nothing is rolled out.
        share: Share of the units that get the candidate, 0..1.
        mirror: Share of control's units whose requests are mirrored, 0..1.
        code: Digest or version of the code of each arm.
        features: Settings of the candidate's features; control has none of them.
    """

    plan: str
    stage: str = ""
    share: float = 0.0
    mirror: float = 0.0
    code: Mapping[Arm, str] = attrs.field(factory=dict)
    features: Mapping[str, Feature] = attrs.field(factory=dict)
    digest: str = attrs.field(init=False, eq=False)
    threshold: int = attrs.field(init=False, eq=False)
    mirror_threshold: int = attrs.field(init=False, eq=False)

    @digest.default
    def _digest(self) -> str:
        return canonical.digest(self.to_json())

    @threshold.default
    def _threshold(self) -> int:
        return threshold_of(self.share)

    @mirror_threshold.default
    def _mirror_threshold(self) -> int:
        return threshold_of(self.mirror)

    @classmethod
    def of(cls, plan: Plan, stage: str, *, code: Mapping[Arm, str]) -> Exposure:
        """Return what *stage* of *plan* exposes; "" is the baseline alone."""
        if not stage:
            return cls(plan=plan.name, code=code)
        found = plan.stage(stage)
        return cls(
            plan=plan.name,
            stage=stage,
            share=plan.share(found),
            mirror=found.mirror,
            code=code,
            features=found.features,
        )

    @property
    def wanted_code(self) -> str:
        """Digest or version of the code that is to be live."""
        return self.code.get(Arm.CANDIDATE if self.stage else Arm.CONTROL, "")

    @property
    def live_code(self) -> str | None:
        """The same, where a registry holds it and it therefore is a digest."""
        return self.wanted_code if _DIGEST.fullmatch(self.wanted_code) else None

    def feature(self, name: str, arm: Arm) -> Feature:
        """Return the flag and settings of a feature as *arm* has it."""
        return OFF if arm is Arm.CONTROL else self.features.get(name, OFF)

    def without(self, names: frozenset[str]) -> Exposure:
        """Return the same with some features switched off."""
        if names.isdisjoint(self.features):
            return self
        features = {
            name: attrs.evolve(feature, enabled=feature.enabled and name not in names)
            for name, feature in self.features.items()
        }
        return Exposure(
            plan=self.plan,
            stage=self.stage,
            share=self.share,
            mirror=self.mirror,
            code=self.code,
            features=features,
        )

    def to_json(self) -> dict[str, JSON]:
        """Return what `from_json` reads back to an equal exposure."""
        candidate: dict[str, JSON] = {
            name: {"enabled": feature.enabled, "settings": feature.settings}
            for name, feature in self.features.items()
        }
        return {
            "plan": self.plan,
            "stage": self.stage,
            "share": self.share,
            "mirror": self.mirror,
            "code": {arm.value: digest for arm, digest in self.code.items()},
            "features": {"control": {}, "candidate": candidate},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> Exposure:
        """Read what `to_json` wrote."""
        features = cast("Mapping[str, Mapping[str, JSON]]", value["features"])
        candidate = cast("Mapping[str, Mapping[str, JSON]]", features["candidate"])
        return cls(
            plan=str(value["plan"]),
            stage=str(value["stage"]),
            share=float(cast("float", value["share"])),
            mirror=float(cast("float", value["mirror"])),
            code={
                Arm(arm): str(digest)
                for arm, digest in cast("Mapping[str, str]", value["code"]).items()
            },
            features={
                name: Feature(
                    enabled=bool(feature["enabled"]),
                    settings=cast("Mapping[str, JSON]", feature["settings"]),
                )
                for name, feature in candidate.items()
            },
        )
