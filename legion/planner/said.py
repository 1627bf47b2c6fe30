"""Figures as a sentence has them."""

from __future__ import annotations


_LONG_S = 100 * 365.25 * 86_400


def spell(seconds: float) -> str:
    """Return a time with two digits that matter, such as ``16 min`` or ``5.2 h``."""
    if seconds > _LONG_S:
        return "over 100 years"
    for unit, size_s, least_s in (
        ("days", 86_400, 172_800),
        ("h", 3_600, 5_400),
        ("min", 60, 90),
    ):
        if seconds >= least_s:
            return f"{_two(seconds / size_s)} {unit}"
    return f"{_two(seconds)} s"


def spell_rate(per_s: float) -> str:
    """Return units a second, such as ``150/s``, or a minute where they are few."""
    if per_s >= 1:
        return f"{_two(per_s)}/s"
    return f"{_two(per_s * 60)}/min" if per_s * 60 >= 1 else f"{_two(per_s * 3600)}/h"


def spell_share(share: float) -> str:
    """Return a share in per cent, such as ``5 %`` or ``0.25 %``."""
    return f"{share * 100:.{4 if share >= 0.01 else 2}g} %"


def spell_effect(effect: float, *, time: bool) -> str:
    """Return ``x5`` for five times as many bad units, ``+50 %`` where that is shorter."""
    if effect < 2 or (time and effect == 2):
        return f"+{(effect - 1) * 100:.3g} %"
    return f"x{effect:g}"


def _two(value: float) -> str:
    if value < 9.95:
        return f"{value:.1f}".removesuffix(".0")
    if value < 99.5:
        return f"{value:.0f}"
    digits = len(str(int(value))) - 2
    return f"{round(value, -digits):,.0f}"
