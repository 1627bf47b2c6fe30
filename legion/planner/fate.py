"""What became of the runs of a simulation, one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np


if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


@attrs.frozen(kw_only=True, eq=False)
class Fate:
    """
    What became of some runs.

    Attributes:
        entered: By stage, when each run entered it, in seconds; nan where it did not.
        left: By stage, when it left it.
        back: By stage, whether it was taken back from it.
        cause: Which question took it back, as an index; -1 where none did.
        frozen: Whether it was ever frozen.
        completed: Whether it passed the last stage.
        harmed: Units that the fault made bad.
    """

    entered: Floats
    left: Floats
    back: npt.NDArray[np.bool_]
    cause: npt.NDArray[np.int64]
    frozen: npt.NDArray[np.bool_]
    completed: npt.NDArray[np.bool_]
    harmed: Floats

    @classmethod
    def unborn(cls, runs: int, stages: int) -> Fate:
        """Return the fate of runs that have not begun."""
        return cls(
            entered=np.full((runs, stages), np.nan),
            left=np.full((runs, stages), np.nan),
            back=np.zeros((runs, stages), dtype=bool),
            cause=np.full(runs, -1, dtype=np.int64),
            frozen=np.zeros(runs, dtype=bool),
            completed=np.zeros(runs, dtype=bool),
            harmed=np.zeros(runs),
        )

    @classmethod
    def joined(cls, fates: Sequence[Fate]) -> Fate:
        """Return the fates of several lots of runs as one."""
        names = [field.name for field in attrs.fields(cls)]
        return cls(
            **{
                name: np.concatenate([getattr(fate, name) for fate in fates])
                for name in names
            }
        )
