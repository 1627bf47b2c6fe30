"""
Formulas: values in, values out; no clock, no file, no state of legion's.

All but the histogram load when they are touched.
"""

from __future__ import annotations

import importlib

from typing import TYPE_CHECKING

from .histogram import LogHistogram


if TYPE_CHECKING:
    from .asymptotic import change_interval, difference_interval, mean_interval
    from .audit import overlooked_limit
    from .bernoulli import BernoulliProcess
    from .combine import (
        FREEZE_AT,
        WeightedSum,
        decides,
        e_value,
        freezes,
        log_both,
        log_either,
    )
    from .confseq import bernoulli_interval
    from .detector import Detector, learned_limit
    from .grid import GRID, Side, log_e_of_counts
    from .interval import Interval
    from .label import LabelProcess, label_share
    from .moments import Moments
    from .onset import LATER, Onset
    from .paired import PairedProcess
    from .power import (
        bad_events_to_decide,
        events_to_decide,
        more_to_decide,
        seconds_to_detect,
        seconds_to_prove,
        seconds_to_prove_below,
        traffic_to_detect,
    )
    from .quantile import QuantileMixture, quantile_interval, quantile_p_value
    from .randomisation import (
        RandomisationProcess,
        geometric_looks,
        randomisation_log_e,
    )
    from .ratio_mismatch import RatioMismatch
    from .tail import Tail
    from .thinning import contaminated, thinned


__all__ = [
    "FREEZE_AT",
    "GRID",
    "LATER",
    "BernoulliProcess",
    "Detector",
    "Interval",
    "LabelProcess",
    "LogHistogram",
    "Moments",
    "Onset",
    "PairedProcess",
    "QuantileMixture",
    "RandomisationProcess",
    "RatioMismatch",
    "Side",
    "Tail",
    "WeightedSum",
    "bad_events_to_decide",
    "bernoulli_interval",
    "change_interval",
    "contaminated",
    "decides",
    "difference_interval",
    "e_value",
    "events_to_decide",
    "freezes",
    "geometric_looks",
    "label_share",
    "learned_limit",
    "log_both",
    "log_e_of_counts",
    "log_either",
    "mean_interval",
    "more_to_decide",
    "overlooked_limit",
    "quantile_interval",
    "quantile_p_value",
    "randomisation_log_e",
    "seconds_to_detect",
    "seconds_to_prove",
    "seconds_to_prove_below",
    "thinned",
    "traffic_to_detect",
]

_FILES = {
    "asymptotic": ("change_interval", "difference_interval", "mean_interval"),
    "audit": ("overlooked_limit",),
    "bernoulli": ("BernoulliProcess",),
    "combine": (
        "FREEZE_AT",
        "WeightedSum",
        "decides",
        "e_value",
        "freezes",
        "log_both",
        "log_either",
    ),
    "confseq": ("bernoulli_interval",),
    "detector": ("Detector", "learned_limit"),
    "grid": ("GRID", "Side", "log_e_of_counts"),
    "interval": ("Interval",),
    "label": ("LabelProcess", "label_share"),
    "moments": ("Moments",),
    "onset": ("LATER", "Onset"),
    "paired": ("PairedProcess",),
    "power": (
        "bad_events_to_decide",
        "events_to_decide",
        "more_to_decide",
        "seconds_to_detect",
        "seconds_to_prove",
        "seconds_to_prove_below",
        "traffic_to_detect",
    ),
    "quantile": ("QuantileMixture", "quantile_interval", "quantile_p_value"),
    "randomisation": (
        "RandomisationProcess",
        "geometric_looks",
        "randomisation_log_e",
    ),
    "ratio_mismatch": ("RatioMismatch",),
    "tail": ("Tail",),
    "thinning": ("contaminated", "thinned"),
}
_FILE_OF = {name: file for file, names in _FILES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _FILE_OF:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(importlib.import_module(f".{_FILE_OF[name]}", __name__), name)
    globals()[name] = value
    return value
