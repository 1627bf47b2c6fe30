"""What the gate allows by itself, asks a person about, and denies."""

from __future__ import annotations

import contextlib
import functools
import math

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, TypeAlias, TypeGuard, cast

import attrs

from .. import canonical
from ..canonical import JSON
from ..exceptions import GateError
from ..model import Action, Change, Permission, Ruling, as_json


Mode: TypeAlias = Literal["conservative", "standard", "aggressive"]
Containment: TypeAlias = Literal["observe", "ask", "enforce"]

LIMITS: Mapping[str, float] = {"conservative": 0.2, "standard": 0.5, "aggressive": 0.8}
"""Risk up to which each mode allows by itself."""

_CONTAINMENTS = ("observe", "ask", "enforce")
_KINDS = ("ask_kinds", "deny_kinds", "known_kinds")
_BANDS = ((0.3, "low"), (0.6, "medium"), (0.8, "high"), (1.0, "critical"))


def band(risk: float) -> str:
    """Return the band of a risk: low <= .3, medium <= .6, high <= .8, else critical."""
    return next(name for limit, name in _BANDS if risk <= limit)


def _names(given: Iterable[str]) -> frozenset[str]:
    """Make a frozenset of a list; what is none is left for `Policy._faults`."""
    if not isinstance(given, str):
        with contextlib.suppress(TypeError):
            return frozenset(given)
    return cast("frozenset[str]", given)


def _number(given: object) -> TypeGuard[float]:
    return (
        isinstance(given, int | float)
        and not isinstance(given, bool)
        and math.isfinite(given)
    )


def exposure(subject: Change | Action) -> tuple[str, str] | None:
    """
    Return a code and a reason to ask about an exposure, or None for what needs none.

    It looks at ``share`` and ``share_before`` of the change's detail. What says nothing
    of them is asked about: it may be anything.
    """
    if not isinstance(subject, Change) or subject.kind not in {"advance", "update"}:
        return None
    share = subject.detail.get("share")
    before = subject.detail.get("share_before", 0)
    if not _share(share) or not _share(before):
        reason = (
            f"it exposes {share!r} of the units after {before!r}, which is no share"
        )
        return "unknown_exposure", reason
    if subject.kind == "update" and share:
        return "other_code", f"it exposes other code to {share:.4g} of the units"
    if share == 1 > before:
        return "full_exposure", f"it exposes everybody, after {before:.4g} of the units"
    if share > before == 0:
        return "first_exposure", f"it exposes the first users: {share:.4g} of the units"
    return None


def _share(given: object) -> TypeGuard[float]:
    return _number(given) and 0 <= given <= 1


@attrs.frozen(kw_only=True)
class Policy:
    """
    The rules of one gate.

    Risk is low up to .3, medium up to .6, high up to .8, and critical above. What is
    above `max_risk` is never allowed without a person: it is asked about, or denied in
    strict mode.

    An ``advance`` of a rollout carries little risk by its own figure, as it is watched
    and taken back. In conservative mode, and in strict mode, a person is asked all the
    same before the first users are exposed, before everybody is, and before those who
    are exposed get other code.

    Attributes:
        mode: ``conservative`` allows risk up to .2 without asking, ``standard`` up to
            .5, ``aggressive`` up to .8; none of them above `max_risk`.
        max_risk: The most that is allowed without asking.
        ask_kinds: Kinds that a person is asked about whatever their risk.
        deny_kinds: Kinds that are never allowed, not even by a person.
        known_kinds: Kinds that strict mode knows besides `ask_kinds`.
        strict: Deny kinds that are unknown, and what is above `max_risk`; ask about
            exposures as conservative mode does.
        containment: ``enforce``; ``ask`` asks where strict mode would deny for the risk
            alone; ``observe`` allows, and writes down what would have been said.
        expires_s: How long a question and its answer hold, in seconds of the date.

    Raises:
        GateError: A value is wrong; all wrong ones are listed.
    """

    mode: Mode = "standard"
    max_risk: float = 0.7
    ask_kinds: frozenset[str] = attrs.field(
        default=frozenset({"deployment", "data_deletion", "system_config"}),
        converter=_names,
    )
    deny_kinds: frozenset[str] = attrs.field(default=frozenset(), converter=_names)
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
                "update",
            }
        ),
        converter=_names,
    )
    strict: bool = False
    containment: Containment = "enforce"
    expires_s: float = 86_400.0

    def __attrs_post_init__(self) -> None:
        if faults := list(self._faults()):
            msg = f"policy: got {'; '.join(faults)}"
            raise GateError(msg)

    def _faults(self) -> Iterator[str]:
        if not isinstance(self.mode, str) or self.mode not in LIMITS:
            yield f"mode={self.mode!r}, write one of {', '.join(LIMITS)}"
        if self.containment not in _CONTAINMENTS:
            wanted = ", ".join(_CONTAINMENTS)
            yield f"containment={self.containment!r}, write one of {wanted}"
        strict: object = self.strict
        if not isinstance(strict, bool):
            yield f"strict={self.strict!r}, write true or false"
        if not _number(self.max_risk) or not 0 <= self.max_risk <= 1:
            yield f"max_risk={self.max_risk!r}, write 0 to 1"
        if not _number(self.expires_s) or self.expires_s <= 0:
            yield f"expires_s={self.expires_s!r}, write seconds above 0"
        for name in _KINDS:
            kinds: object = getattr(self, name)
            if not isinstance(kinds, frozenset) or not all(
                isinstance(kind, str) for kind in kinds
            ):
                yield f"{name}={kinds!r}, write a list of kinds"

    @classmethod
    def from_dict(cls, value: Mapping[str, JSON]) -> Policy:
        """
        Make a policy of plain values, as a file holds them.

        Raises:
            GateError: A key is unknown or a value is wrong.
        """
        known = [field.name for field in attrs.fields(cls)]
        if unknown := sorted(set(value) - set(known)):
            msg = f"policy: got {', '.join(unknown)}; write one of {', '.join(known)}"
            raise GateError(msg)
        return cls(**cast("dict[str, object]", dict(value)))  # type: ignore[arg-type]

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of these rules."""
        kinds = {name: sorted(getattr(self, name)) for name in _KINDS}
        return canonical.digest({**as_json(self), **kinds})

    def rule(self, subject: Change | Action) -> Ruling:
        """Return what these rules say of *subject*, as if they were enforced."""
        if not _number(subject.risk) or not 0 <= subject.risk <= 1:
            reason = f"risk is {subject.risk!r}, which is not a number from 0 to 1"
            return self._say(Permission.DENY, "bad_risk", reason, subject)
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
        if risk > self.max_risk:
            denied = self.strict and self.containment != "ask"
            strict = ", and the gate is strict" if self.strict else ""
            return self._say(
                Permission.DENY if denied else Permission.ASK,
                "above_max_risk",
                f"{named}, above the {self.max_risk:g} at most{strict}",
                subject,
            )
        if subject.kind in self.ask_kinds:
            reason = f"a person is always asked about {subject.kind}"
            return self._say(Permission.ASK, "asked_kind", reason, subject)
        if self.strict or self.mode == "conservative":
            exposing = exposure(subject)
            if exposing is not None:
                code, reason = exposing
                return self._say(Permission.ASK, code, reason, subject)
        if risk > limit:
            reason = f"{named}, above the {limit:g} that {self.mode} allows"
            return self._say(Permission.ASK, f"{band(risk)}_risk", reason, subject)
        reason = f"{named}, within the {limit:g} that {self.mode} allows"
        return self._say(Permission.ALLOW, f"{band(risk)}_risk", reason, subject)

    def _say(
        self, permission: Permission, code: str, reason: str, subject: Change | Action
    ) -> Ruling:
        return Ruling(
            permission=permission,
            code=code,
            reason=reason,
            evidence={
                "kind": subject.kind,
                "risk": subject.risk if _number(subject.risk) else repr(subject.risk),
                "mode": self.mode,
                "strict": self.strict,
            },
            policy=self.digest,
        )
