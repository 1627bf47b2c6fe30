"""The metrics a plan may name, those it declares and the criteria it sets."""

from __future__ import annotations

import difflib
import re

from collections.abc import Mapping
from functools import partial

import attrs

from ...exceptions import MetricError
from ...metrics import METRICS, Kind, Metric, find
from ...model import Level
from . import units
from .nouns import Limits
from .place import Place, one_of, read_or


NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
_KINDS = tuple(kind.value for kind in Kind)
_UNITS = {Kind.SHARE: ("share",), Kind.COUNT: ("count",), Kind.TIME: ("s",)}
_GAUGE_UNITS = ("number", "count", "share", "s", "h", "MB", "MB/h")
_DECLARED = (
    "kind",
    "unit",
    "higher_is_better",
    "stream",
    "quantile",
    "features",
    "summary",
)
_LEVELS = tuple(level.name.lower() for level in Level if level > Level.OK)
_TAKEN = frozenset(METRICS) | {a for m in METRICS.values() for a in m.aliases}


@attrs.frozen
class Vocabulary:
    """
    What a plan may name.

    Attributes:
        own: Metrics that the plan declares.
        faulty: Names that it declares wrongly; they are no second fault where used.
    """

    own: tuple[Metric, ...] = ()
    faulty: frozenset[str] = frozenset()

    def metric(self, place: Place) -> Metric | None:
        """Read the name of a metric."""
        name = place.text("the name of a metric")
        if name is None or name in self.faulty:
            return None
        try:
            return find(name, self.own)
        except MetricError:
            known = [*_TAKEN, *(metric.name for metric in self.own)]
            near = difflib.get_close_matches(name, sorted(known), n=1)
            place.fault(
                near[0] if near else "a metric of the table, or declare it: `metrics:`",
                given=f"the unknown metric {name!r}",
            )
            return None

    def metrics(self, place: Place) -> tuple[str, ...]:
        """Read a list of metrics; each is kept once."""
        found = (self.metric(item) for item in place.items("a list of metrics"))
        return tuple(dict.fromkeys(metric.name for metric in found if metric))

    def criteria(self, place: Place) -> dict[str, Limits | None]:
        """Read which criteria are switched off, and the limits of others."""
        criteria: dict[str, Limits | None] = {}
        for name, entry in place.entries(write="criteria by name").items():
            key = attrs.evolve(entry, node=attrs.evolve(entry.node, value=name))
            metric = self.metric(key)
            if metric is None:
                continue
            if metric.name in criteria:
                entry.fault("each criterion once", given=f"{metric.name} again")
                continue
            criteria[metric.name] = None if _off(entry) else _limits(entry, metric)
        return criteria


def _off(place: Place) -> bool:
    return place.node.value is False or place.node.value == "off"


def _limits(place: Place, metric: Metric) -> Limits | None:
    example = "off, or limits such as {warning: 1%, critical: 5%}"
    if not isinstance(place.node.value, Mapping) or not place.node.value:
        place.fault(example)
        return None
    # The built-in criteria of times judge the rise over the baseline.
    rise = metric.kind is Kind.TIME and metric.name in METRICS
    reader = units.relative if rise else partial(units.quantity, unit=metric.unit)
    entries = place.entries(_LEVELS)
    limits = {
        level: None if _off(entries[level]) else entries[level].read(reader)
        for level in _LEVELS
        if level in entries
    }
    values = [limit for limit in limits.values() if limit is not None]
    if values != sorted(values, reverse=metric.higher_is_better):
        way = "fall" if metric.higher_is_better else "rise"
        place.fault(f"limits that {way} from warning to critical")
    return limits


def declared(place: Place) -> Vocabulary:
    """Read the metrics that a plan declares."""
    own: list[Metric] = []
    faulty: set[str] = set()
    for name, entry in place.entries(write="metrics by name").items():
        metric = _declaration(name, entry)
        if metric is None:
            faulty.add(name)
        else:
            own.append(metric)
    return Vocabulary(tuple(own), frozenset(faulty))


def _declaration(name: str, place: Place) -> Metric | None:
    before = len(place.faults)
    if name in _TAKEN:
        place.fault("another name; legion has this metric already", given=repr(name))
    elif not NAME.fullmatch(name):
        given = f"the name {name[:40]!r}"
        place.fault("a name of letters, digits and _", given=given)
    if isinstance(place.node.value, str):
        kind = place.choice(_KINDS)
        metric = _of_kind(name, Kind(kind)) if kind is not None else None
    else:
        metric = _in_full(name, place)
    return metric if len(place.faults) == before else None


def _of_kind(name: str, kind: Kind) -> Metric:
    return Metric(name=name, kind=kind, unit=_UNITS.get(kind, _GAUGE_UNITS)[0])


def _in_full(name: str, place: Place) -> Metric | None:
    example = "a kind such as share, or {kind: share, higher_is_better: true}"
    wanted = {"kind": one_of(_KINDS)}
    entries = place.entries(_DECLARED, required=wanted, write=example)
    word = entries["kind"].choice(_KINDS) if "kind" in entries else None
    if word is None:
        return None
    kind = Kind(word)
    plain = _of_kind(name, kind)
    possible = _UNITS.get(kind, _GAUGE_UNITS)
    if "quantile" in entries and kind is not Kind.TIME:
        entries.pop("quantile").fault("nothing; only a time has a quantile")
    return attrs.evolve(
        plain,
        unit=read_or(entries, "unit", lambda at: at.choice(possible), plain.unit),
        higher_is_better=read_or(
            entries, "higher_is_better", Place.flag, plain.higher_is_better
        ),
        stream=read_or(entries, "stream", lambda at: at.text("a stream's name"), name),
        quantile=read_or(entries, "quantile", lambda at: at.read(units.share), 0.95),
        features=read_or(entries, "features", _features, ()),
        summary=read_or(entries, "summary", lambda at: at.text("one line"), ""),
    )


def _features(place: Place) -> tuple[str, ...]:
    names = (at.text("the name of a feature") for at in place.items("a list of names"))
    return tuple(name for name in names if name is not None)
