"""What came of telling a rollout again."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from ..canonical import JSON
from ..model import as_json


@attrs.frozen(kw_only=True)
class Difference:
    """
    A decision that does not come out as it was recorded.

    Attributes:
        seq: The entry of the journal that holds the recorded one.
        at_s: When it was made, in seconds of plan time.
        stage: In which stage.
        fields: By dotted field, (recorded, replayed) as JSON; the first few.
    """

    seq: int
    at_s: float
    stage: str
    fields: Mapping[str, tuple[JSON, JSON]]


@attrs.frozen(kw_only=True)
class Apart:
    """
    What was not replayed, and is counted neither as the same nor as different.

    Attributes:
        why: Why it cannot be.
        n: How many.
        seq: The first entry of the journal that it is about.
    """

    why: str
    n: int
    seq: int


@attrs.frozen(kw_only=True)
class Parting:
    """
    From a look on, the two plans decided otherwise.

    Attributes:
        at_s: When, in seconds of plan time.
        stage: In which stage both were.
        recorded: What was decided: ``hold (dwell)``.
        other: What the other plan would have decided.
        reason: Why it would have.
    """

    at_s: float
    stage: str
    recorded: str
    other: str
    reason: str


@attrs.frozen(kw_only=True)
class Otherwise:
    """
    What another plan would have done on the same observations.

    Attributes:
        digest: Digest of the other plan.
        looks: Looks on which both decided.
        partings: Where they decided otherwise, in order; the first of each stretch.
        at_s: When it ends, in seconds of plan time; None if nothing was seen.
        stage: The stage in which it ends.
        end: ``roll_back``, ``advance``, ``stay`` or ``recorded`` (all of it).
        reason: Why nothing can be said beyond that.
        unseen: Times that the other plan asks about and nobody counted units by.
    """

    digest: str
    looks: int
    partings: tuple[Parting, ...]
    at_s: float | None
    stage: str
    end: str
    reason: str
    unseen: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Replay:
    """
    A rollout told again from its journal.

    Attributes:
        plan: Name of the plan.
        digest: Its digest.
        looks: Observations with a report in the journal.
        same: Decisions that came out byte for byte as recorded.
        difference: The first that did not; the telling stops there. None for none.
        apart: What could not be replayed.
        verdicts: Verdicts that the criteria gave again from the observations.
        taken: By criterion, verdicts that did not come out again; the decisions rest on
            the recorded ones.
        otherwise: What another plan would have done, where one was given.
    """

    plan: str
    digest: str
    looks: int
    same: int
    difference: Difference | None
    apart: tuple[Apart, ...]
    verdicts: int
    taken: Mapping[str, int]
    otherwise: Otherwise | None = None

    @property
    def ok(self) -> bool:
        """Whether decisions came out, and all of them as they were recorded."""
        return self.difference is None and self.same > 0

    def to_json(self) -> dict[str, JSON]:
        """Return it for programs."""
        return {"ok": self.ok, **as_json(self)}
