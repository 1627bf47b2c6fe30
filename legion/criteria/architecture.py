"""Architecture: four criteria."""

from .contract import Criterion
from .kinds import Ceiling, Never


ARCHITECTURE: tuple[Criterion, ...] = (
    Never(
        "registry_integrity",
        group="architecture",
        summary="Checksums of the registry that failed.",
    ),
    Ceiling(
        "deadlock",
        of="gauge",
        unit="s",
        alert=30,
        critical=60,
        group="architecture",
        summary="How long a deadlock has lasted.",
    ),
    Ceiling(
        "infinite_loop",
        of="gauge",
        unit="count",
        alert=100,
        critical=1000,
        group="architecture",
        summary="Iterations of a loop without progress.",
    ),
    Ceiling(
        "memory_leak",
        of="gauge",
        unit="MB/h",
        warning=10,
        alert=50,
        group="architecture",
        summary="Sustained growth of memory.",
    ),
)
