"""Formulas: values in, values out; no clock, no file, no state of legion's."""

from .histogram import LogHistogram


__all__ = ["LogHistogram"]
