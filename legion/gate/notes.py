"""What the gate writes in the journal, where there is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from ..canonical import JSON
from ..model import Log, Noun


@attrs.frozen
class Notes:
    """
    The gate's end of the journal.

    Attributes:
        journal: Where it is written; nowhere if None.
    """

    journal: Log | None

    def write(
        self,
        body: Noun | Mapping[str, JSON],
        *,
        kind: str | None = None,
        refs: Sequence[str] = (),
        durable: bool = True,
    ) -> tuple[str, ...]:
        """Write one entry; return its id, or nothing where there is no journal."""
        if self.journal is None:
            return ()
        return (self.journal.append(body, kind=kind, refs=refs, durable=durable).id,)
