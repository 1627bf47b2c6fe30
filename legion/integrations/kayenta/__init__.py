"""A Mann-Whitney judge in the manner of Kayenta."""

from .classify import Classification, Classifier, Label
from .judge import KayentaJudge
from .sample import Sample
from .shift import Shift, shift_of, statistic, superiority


__all__ = [
    "Classification",
    "Classifier",
    "KayentaJudge",
    "Label",
    "Sample",
    "Shift",
    "shift_of",
    "statistic",
    "superiority",
]
