"""Measurements that may fail so many times, in the manner of Argo Rollouts."""

from .rule import ArgoRule
from .run import Bounds, Phase, Tally


__all__ = ["ArgoRule", "Bounds", "Phase", "Tally"]
