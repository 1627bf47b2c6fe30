"""Stages and their features, read from their places."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from ...canonical import JSON
from . import units
from .nouns import HOST, Feature, Rule, Stage
from .place import Place, read_or, sayable
from .read_rule import RuleReader
from .vocabulary import Vocabulary


_KNOWN = (
    "name",
    "traffic",
    "mirror",
    "dwell",
    "features",
    "validate",
    "harm_budget",
    "success",
)
_REQUIRED = {"name": "a name, once in the plan", "traffic": "a percentage such as 5%"}
_OLD_NAMES = {"similarity_threshold": "threshold", "max_size": "capacity"}
_CACHE = "l4_cache"
_INTERVAL = "check_interval_seconds"


@attrs.frozen
class StageReader:
    """
    Reads the stages, one after the other.

    Attributes:
        vocabulary: The metrics that rules may name.
        rehearsal_s: How long a rehearsed rollback may take at most.
        check_interval_s: Plan time between two looks where a stage says nothing.
    """

    vocabulary: Vocabulary
    rehearsal_s: float = attrs.field(kw_only=True)
    check_interval_s: float = attrs.field(kw_only=True)

    def stages(self, place: Place) -> tuple[Stage, ...]:
        """Read the ladder: no name twice, no stage smaller than the one before."""
        items = tuple(place.items("a list of stages"))
        if not items and isinstance(place.node.value, tuple):
            place.fault("at least one stage")
        found: list[Stage | None] = []
        names: set[str] = set()
        share = 0.0
        for item in items:
            entries = item.entries(_KNOWN, required=_REQUIRED, write="a stage")
            self._name_once(entries, names)
            share = self._no_shrinking(entries, share)
            last = item is items[-1]
            found.append(self._stage(item, entries, last=last))
        return tuple(stage for stage in found if stage is not None)

    def _name_once(self, entries: Mapping[str, Place], names: set[str]) -> None:
        name = entries["name"].node.value if "name" in entries else None
        if isinstance(name, str):
            if name in names:
                entries["name"].fault("another name; each stage has its own")
            names.add(name)

    def _no_shrinking(self, entries: Mapping[str, Place], share: float) -> float:
        if "traffic" not in entries:
            return share
        try:
            own = units.share(entries["traffic"].node.value)
        except units.UnfitError:
            return share
        if own < share:
            least = units.write_share(share)
            entries["traffic"].fault(f"at least {least}, as the stage before has")
        return max(own, share)

    def _stage(
        self, place: Place, entries: Mapping[str, Place], *, last: bool
    ) -> Stage | None:
        before = len(place.faults)
        if not entries:
            return None
        name = read_or(entries, "name", lambda at: at.text("a name"), "")
        traffic = read_or(entries, "traffic", _share, -1.0)
        mirror = read_or(entries, "mirror", _share, 0.0)
        if mirror and traffic > 0:
            # A mirrored unit is control's, and one of the candidate's would be counted
            # beside it that nobody drew for that arm.
            entries["mirror"].fault("mirror only where traffic is 0%")
        dwell_s = _dwell(place, entries, last=last)
        none: dict[str, Feature] = {}
        features = read_or(entries, "features", _features, none)
        host = {name: features.pop(name) for name in HOST if name in features}
        stage = Stage(
            name=name,
            traffic=traffic,
            mirror=mirror,
            dwell_s=dwell_s,
            features=features,
            host=host,
            check_interval_s=self._interval(entries, host),
            harm_budget=read_or(entries, "harm_budget", _units, None),
            validate=self._rules(entries, exposed=traffic > 0),
            unbroken_for_s=_unbroken_for(entries, dwell_s),
        )
        return stage if len(place.faults) == before else None

    def _rules(
        self, entries: Mapping[str, Place], *, exposed: bool
    ) -> tuple[Rule, ...]:
        reader = RuleReader(
            self.vocabulary,
            fires=False,
            rehearsal_s=self.rehearsal_s,
            exposed=exposed,
        )
        return read_or(entries, "validate", reader.rules, ())

    def _interval(
        self, entries: Mapping[str, Place], host: Mapping[str, Feature]
    ) -> float:
        watchdog = host.get("watchdog_v4_1")
        if watchdog is None or _INTERVAL not in watchdog.settings:
            return self.check_interval_s
        seconds = watchdog.settings[_INTERVAL]
        if (
            isinstance(seconds, int | float)
            and not isinstance(seconds, bool)
            and 0 < seconds <= units.LONGEST_S
        ):
            return float(seconds)
        setting = entries["features"].entries()["watchdog_v4_1"].entries()[_INTERVAL]
        setting.fault("seconds as a number, such as 300")
        return self.check_interval_s


def _share(place: Place) -> float | None:
    return place.read(units.share)


def _dwell(place: Place, entries: Mapping[str, Place], *, last: bool) -> float | None:
    if "dwell" in entries:
        return entries["dwell"].read(units.duration)
    if not last:
        place.at("dwell").fault("a time such as 24h", given="nothing")
    return None


def _unbroken_for(entries: Mapping[str, Place], dwell_s: float | None) -> float | None:
    if "success" not in entries:
        return dwell_s
    wanted = {"unbroken_for": "a time such as 48h"}
    success = entries["success"].entries(
        tuple(wanted), required=wanted, write="a rule such as {unbroken_for: 48h}"
    )
    if "unbroken_for" not in success:
        return dwell_s
    unbroken_s = success["unbroken_for"].read(units.duration)
    if unbroken_s is not None and dwell_s is not None and unbroken_s > dwell_s:
        most = units.write_duration(dwell_s)
        success["unbroken_for"].fault(f"at most {most}, or a longer dwell")
    return unbroken_s


def _features(place: Place) -> dict[str, Feature]:
    features: dict[str, Feature] = {}
    for name, entry in place.entries(write="features by name").items():
        if not sayable(name):
            entry.fault("a name on one line", given=f"the name {name[:40]!r}")
        feature = _feature(entry, renamed=_OLD_NAMES if name == _CACHE else {})
        if feature is not None:
            features[name] = feature
    return features


def _feature(place: Place, *, renamed: Mapping[str, str]) -> Feature | None:
    if isinstance(place.node.value, bool):
        return Feature(enabled=place.node.value)
    wanted = {"enabled": "true or false"}
    entries = place.entries(
        required=wanted, write="true, false or {enabled: true, ...}"
    )
    enabled = entries.pop("enabled").flag() if "enabled" in entries else None
    settings: dict[str, JSON] = {}
    for name, entry in entries.items():
        key = renamed.get(name, name)
        if key in settings:
            entry.fault(f"{key} once", given=f"{key} and its older name together")
        settings[key] = entry.json()
    return None if enabled is None else Feature(enabled=enabled, settings=settings)


def _units(place: Place) -> int | None:
    value = place.node.value
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**9:
        return value
    place.fault("a whole number of units, such as 50")
    return None
