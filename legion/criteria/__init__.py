"""
What is judged: criteria, the kinds they are made from, and the 21 built-in ones.

A criterion is an immutable object with a name, a unit and limits, and a plugin itself:
``plugins.register(Ceiling("toxicity", warning=.01, critical=.05))``.
"""

from .architecture import ARCHITECTURE
from .contract import Criterion
from .evolution import EVOLUTION
from .function import criterion
from .health import HEALTH
from .kinds import Ceiling, Floor, Never, Rise
from .limits import Limits
from .logic import LOGIC
from .performance import PERFORMANCE


BUILTINS: tuple[Criterion, ...] = (
    *PERFORMANCE,
    *HEALTH,
    *ARCHITECTURE,
    *LOGIC,
    *EVOLUTION,
)
"""The 21 that every `legion.Plugins` has."""

__all__ = [
    "BUILTINS",
    "Ceiling",
    "Criterion",
    "Floor",
    "Limits",
    "Never",
    "Rise",
    "criterion",
]
