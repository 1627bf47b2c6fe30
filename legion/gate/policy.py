"""What the gate allows by itself, asks a person about, and denies."""

from __future__ import annotations

import math

from collections.abc import Mapping
from typing import Literal, TypeAlias, cast

import attrs

from .. import canonical
from ..canonical import JSON
from ..exceptions import GateError
from ..model import Action, Change, Permission, Ruling, as_json


Mode: TypeAlias = Literal["conservative", "standard", "aggressive"]
Containment: TypeAlias = Literal["observe", "ask", "enforce"]

LIMITS: Mapping[str, float] = {"conservative": 0.2, "standard": 0.5, "aggressive": 0.8}
"""Risk up to which each mode allows by itself."""

_BANDS = ((0.3, "low"), (0.6, "medium"), (0.8, "high"), (1.0, "critical"))


def band(risk: float) -> str:
    """Return the band of a risk: low <= .3, medium <= .6, high <= .8, else critical."""
    return next(name for limit, name in _BANDS if risk <= limit)


@attrs.frozen(kw_only=True)
class Policy:
    """
    The rules of one gate.

    Attributes:
        mode: Risk up to .2, .5 or .8 is allowed without asking.
        max_risk: Risk above it is denied in strict mode.
        ask_kinds: Kinds that a person is asked about whatever their risk.
        deny_kinds: Kinds that are never allowed, not even by a person.
        known_kinds: Kinds that strict mode knows; any other is denied there.
        strict: Deny what is unknown or above `max_risk`, instead of asking.
        containment: ``enforce``; ``ask`` asks where the risk alone would be denied;
            ``observe`` allows everything and writes down what would have been said.
        expires_s: How long a question can be answered, in seconds.
    """

    mode: Mode = "standard"
    max_risk: float = 0.7
    ask_kinds: frozenset[str] = attrs.field(
        default=frozenset({"deployment", "data_deletion", "system_config"}),
        converter=frozenset,
    )
    deny_kinds: frozenset[str] = attrs.field(default=frozenset(), converter=frozenset)
    known_kinds: frozenset[str] = attrs.field(
        default=frozenset(
            {
                "advance",
                "data_deletion",
                "deployment",
                "patch",
                "rehearsal",
                "setting",
                "system_config",
                "tool",
            }
        ),
        converter=frozenset,
    )
    strict: bool = False
    containment: Containment = "enforce"
    expires_s: float = 86_400.0

    def __attrs_post_init__(self) -> None:
        faults = []
        if self.mode not in LIMITS:
            faults.append(f"mode={self.mode!r}; write {', '.join(LIMITS)}")
        if self.containment not in {"observe", "ask", "enforce"}:
            faults.append(
                f"containment={self.containment!r}; write observe, ask, enforce"
            )
        if not 0 <= self.max_risk <= 1:
            faults.append(f"max_risk={self.max_risk}; write 0 to 1")
        if not self.expires_s > 0:
            faults.append(f"expires_s={self.expires_s}; write seconds above 0")
        if faults:
            msg = "policy: got " + ", and ".join(faults)
            raise GateError(msg)

    @classmethod
    def from_dict(cls, value: Mapping[str, JSON]) -> Policy:
        """
        Make a policy of plain values.

        Raises:
            GateError: A key is unknown or a value is wrong.
        """
        known = {field.name for field in attrs.fields(cls)}
        if unknown := sorted(set(value) - known):
            msg = f"policy: got {', '.join(unknown)}; write {', '.join(sorted(known))}"
            raise GateError(msg)
        return cls(**cast("dict[str, object]", dict(value)))  # type: ignore[arg-type]

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of these rules."""
        fields = as_json(self)
        for name in ("ask_kinds", "deny_kinds", "known_kinds"):
            fields[name] = sorted(cast("list[str]", fields[name]))
        return canonical.digest(fields)

    def rule(self, subject: Change | Action) -> Ruling:
        """Return what these rules say of *subject*; containment not yet applied."""
        risk = subject.risk
        if isinstance(risk, bool) or not math.isfinite(risk) or not 0 <= risk <= 1:
            return self._say(
                Permission.DENY, "bad_risk", f"risk is {risk!r}, not 0 to 1", subject
            )
        if subject.kind in self.deny_kinds:
            reason = f"{subject.kind} is never allowed"
            return self._say(Permission.DENY, "denied_kind", reason, subject)
        if self.strict and subject.kind not in self.known_kinds | self.ask_kinds:
            reason = f"{subject.kind} is unknown, and the gate is strict"
            return self._say(Permission.DENY, "unknown_kind", reason, subject)
        return self._by_risk(subject)

    def _by_risk(self, subject: Change | Action) -> Ruling:
        risk, limit = subject.risk, LIMITS[self.mode]
        named = f"risk {risk:g} is {band(risk)}"
        if self.strict and risk > self.max_risk:
            reason = f"{named}, above {self.max_risk:g}, and the gate is strict"
            return self._say(Permission.DENY, "above_max_risk", reason, subject)
        if subject.kind in self.ask_kinds:
            reason = f"a person is always asked about {subject.kind}"
            return self._say(Permission.ASK, "asked_kind", reason, subject)
        if risk > limit:
            reason = f"{named}, above the {limit:g} that {self.mode} allows"
            return self._say(Permission.ASK, f"{band(risk)}_risk", reason, subject)
        reason = f"{named}, within the {limit:g} that {self.mode} allows"
        return self._say(Permission.ALLOW, f"{band(risk)}_risk", reason, subject)

    def _say(
        self, permission: Permission, code: str, reason: str, subject: Change | Action
    ) -> Ruling:
        known = isinstance(subject.risk, int | float) and math.isfinite(subject.risk)
        return Ruling(
            permission=permission,
            code=code,
            reason=reason,
            evidence={
                "kind": subject.kind,
                "risk": subject.risk if known else None,
                "mode": self.mode,
                "strict": self.strict,
            },
            policy=self.digest,
        )
