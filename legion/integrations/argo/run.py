"""An analysis run in the manner of Argo Rollouts: what was measured, and how it ends."""

from __future__ import annotations

import enum

from collections.abc import Mapping
from typing import cast

import attrs

from ...canonical import JSON


class Phase(enum.StrEnum):
    """How a measurement went, or how the run of them stands."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESSFUL = "successful"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"

    @property
    def over(self) -> bool:
        """Whether nothing more comes of it."""
        return self not in {Phase.PENDING, Phase.RUNNING}


@attrs.frozen(kw_only=True)
class Tally:
    """
    What a run has measured so far.

    Attributes:
        successful: Measurements that met the condition.
        failed: Measurements that did not.
        inconclusive: Measurements that neither met nor broke it.
        error: Measurements that could not be taken.
        count: All but those that could not be taken.
        consecutive_success: Successful ones since the last other one.
        consecutive_error: Errors since the last measurement that was taken.
        newest: How the newest one went, or None before the first.
    """

    successful: int = 0
    failed: int = 0
    inconclusive: int = 0
    error: int = 0
    count: int = 0
    consecutive_success: int = 0
    consecutive_error: int = 0
    newest: Phase | None = None

    def add(self, measured: Phase) -> Tally:
        """Return the tally with one more measurement that is over."""
        taken = measured is not Phase.ERROR
        well = measured is Phase.SUCCESSFUL
        return Tally(
            successful=self.successful + well,
            failed=self.failed + (measured is Phase.FAILED),
            inconclusive=self.inconclusive + (measured is Phase.INCONCLUSIVE),
            error=self.error + (not taken),
            count=self.count + taken,
            consecutive_success=self.consecutive_success + 1 if well else 0,
            consecutive_error=0 if taken else self.consecutive_error + 1,
            newest=measured,
        )

    def to_json(self) -> dict[str, JSON]:
        """Return what `from_json` reads back to an equal tally."""
        figures: dict[str, JSON] = attrs.asdict(self)
        return figures | {"newest": None if self.newest is None else self.newest.value}

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> Tally:
        """Read what `to_json` wrote."""
        newest = value["newest"]
        figures = {k: int(cast("int", n)) for k, n in value.items() if k != "newest"}
        return cls(**figures, newest=None if newest is None else Phase(str(newest)))


@attrs.frozen(kw_only=True)
class Bounds:
    """
    How many measurements of each kind a run bears, and when it is done.

    The rules are those of Argo Rollouts (analysis/analysis.go, assessMetricStatus, at
    9f8d111d8), in its order: errors before the inconclusive before the failed, all of
    them before success.

    Attributes:
        failure_limit: Failed ones that are borne; None bears any number.
        inconclusive_limit: Inconclusive ones that are borne.
        consecutive_error_limit: Errors in a row that are borne.
        consecutive_success_limit: Successes in a row that end the run well, or None.
        count: Measurements after which the run ends, or None for no end.
    """

    failure_limit: int | None = 0
    inconclusive_limit: int = 0
    consecutive_error_limit: int = 4
    consecutive_success_limit: int | None = None
    count: int | None = None

    @property
    def ends(self) -> bool:
        """Whether a run that bears everything ends by itself."""
        return self.count is not None or self.consecutive_success_limit is not None

    def phase(self, tally: Tally, *, terminating: bool = False) -> Phase:
        """
        Return how a run with this tally stands.

        Args:
            tally: What it has measured.
            terminating: Whether it is told to stop, which is no failure by itself.
        """
        if tally.newest is None:
            return Phase.SUCCESSFUL if terminating else Phase.PENDING
        if not tally.newest.over:
            return Phase.RUNNING
        unbearable = self._unbearable(tally)
        if unbearable is not None:
            return unbearable
        row = self.consecutive_success_limit
        if row is not None and tally.consecutive_success >= row:
            return Phase.SUCCESSFUL
        if self.count is not None and tally.count >= self.count:
            return self._counted_out()
        return Phase.SUCCESSFUL if terminating else Phase.RUNNING

    def _unbearable(self, tally: Tally) -> Phase | None:
        if tally.consecutive_error > self.consecutive_error_limit:
            return Phase.ERROR
        if tally.inconclusive > self.inconclusive_limit:
            return Phase.INCONCLUSIVE
        if self.failure_limit is not None and tally.failed > self.failure_limit:
            return Phase.FAILED
        return None

    def _counted_out(self) -> Phase:
        if self.consecutive_success_limit is None:
            return Phase.SUCCESSFUL
        return Phase.FAILED if self.failure_limit is None else Phase.INCONCLUSIVE
