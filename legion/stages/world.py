"""What must agree with the pointer: the code that is live, and whoever else routes."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from ..exceptions import LegionError, PluginError, SnapshotError
from ..model import Snapshots
from ..plugins import Plugins
from .exposure import Exposure
from .plan import Plan


@attrs.define(eq=False)
class World:
    """
    Brings what lies outside the state file to where the pointer points.

    Everything here is idempotent and may be done by any process, as often as it takes:
    a move that was cut short, or made by a process without the owner of the target, is
    finished by the next one that has it.

    Args:
        plan: The plan, for the names of its snapshots.
        plugins: Who else may own the pointer's target.
        registry: Versions of the code; None where they are kept elsewhere.
    """

    plan: Plan
    plugins: Plugins
    registry: Snapshots | None

    @property
    def target(self) -> str:
        """What the rollout moves."""
        return f"rollout:{self.plan.name}"

    @property
    def routed(self) -> bool:
        """Whether somebody in this process owns the target; doubt counts as yes."""
        try:
            return self.plugins.active(self.target) is not None
        except PluginError:
            return True

    def route(self, exposure: Exposure, *, routed: bool) -> str:
        """
        Have the target's owner route by *exposure*, and read that back.

        Args:
            exposure: What is to be routed by.
            routed: Whether the target is known to have an owner somewhere.

        Raises:
            LegionError: It does not, or its owner is not in this process.
        """
        done = self.plugins.activate(self.target, exposure.digest)
        if done is None:
            if routed:
                msg = (
                    f"the owner of {self.target} is not in this process; one that has"
                    " it finishes this"
                )
                raise LegionError(msg)
            return f"{exposure.share:.0%} of the units get the candidate"
        live = self.plugins.active(self.target)
        if not done or live != exposure.digest:
            msg = f"its owner has {_short(live)} live, not {exposure.digest[:12]}"
            raise LegionError(msg)
        return f"its owner has {exposure.digest[:12]} live"

    def swap_code(self, exposure: Exposure) -> str:
        """
        Make the code of *exposure* the live one, where the registry holds it.

        Raises:
            SnapshotError: It is missing or damaged, or another is live afterwards.
        """
        wanted = exposure.live_code
        if self.registry is None:
            return "no registry: the code is kept elsewhere"
        if wanted is None:
            live = self.registry.active()
            if not live:
                return "the registry is empty: the code is kept elsewhere"
            msg = (
                f"the registry cannot resolve {exposure.wanted_code!r}; {live} is live"
            )
            raise SnapshotError(msg)
        if self.registry.active() != wanted:
            self.registry.restore(wanted)
        if (live := self.registry.active()) != wanted:
            msg = f"restored {wanted[:12]}, and {_short(live)} is live"
            raise SnapshotError(msg)
        return f"{wanted[:12]} is live"

    def differences(self, exposure: Exposure) -> list[str]:
        """
        Say where the world is not as *exposure* has it; raises nothing.

        What cannot be read differs.
        """
        found = []
        for what, wanted in self._wanted(exposure):
            try:
                live = self._live(what)
            except LegionError as error:
                found.append(f"{what}: {error}")
                continue
            if live != wanted:
                found.append(f"{what} is {_short(live)}, not {wanted[:12]}")
        return found

    def _wanted(self, exposure: Exposure) -> Iterator[tuple[str, str]]:
        if self.routed:
            yield "route", exposure.digest
        if self.registry is not None and exposure.live_code is not None:
            yield "code", exposure.live_code

    def _live(self, what: str) -> str | None:
        if what == "route":
            return self.plugins.active(self.target)
        assert self.registry is not None
        return self.registry.active()

    def verify(self, exposure: Exposure) -> str:
        """
        Read everything back.

        Raises:
            LegionError: Something differs, or the snapshot does not hash to its digest.
        """
        differences = self.differences(exposure)
        if differences:
            raise LegionError("; ".join(differences))
        code = exposure.live_code
        if self.registry is not None and code is not None:
            faults = self.registry.verify(code)
            if faults:
                msg = f"{code[:12]} does not verify: {', '.join(faults)}"
                raise LegionError(msg)
        read = [f"{what} is {digest[:12]}" for what, digest in self._wanted(exposure)]
        return ", ".join(read) or "nothing else is to be read back"


def _short(digest: str | None) -> str:
    return digest[:12] if digest else "nothing"
