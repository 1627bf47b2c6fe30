"""Unleash's buckets: its own cases, and the same people at the same percentage."""

from __future__ import annotations

import json

from pathlib import Path

import numpy as np
import pytest

from hypothesis import given
from hypothesis import strategies as st

from legion.integrations import UnleashBuckets
from legion.integrations.unleash import (
    enabled,
    murmur3,
    normalized,
    sticky_id,
    variant,
)
from legion.stages.splitter import before, threshold_of


VECTORS = Path(__file__).parents[1] / "../shared/vectors/stages/unleash_rollout.json"
needs_vectors = pytest.mark.skipif(
    not VECTORS.exists(),
    reason="Unleash's cases are not at ../shared/vectors/stages",
)
UNITS = [f"user-{i}" for i in range(2_000)]
ANYBODY = "17"
"""Whom Unleash draws at random, where a default stickiness finds nobody."""


def matches(constraint: dict, context: dict) -> bool:
    assert constraint["operator"] == "IN"
    return sticky_id(context, constraint["contextName"]) in constraint["values"]


def applies(strategy: dict, context: dict) -> bool:
    """Read one strategy as Unleash writes it, buckets by legion's own words."""
    if not all(matches(each, context) for each in strategy.get("constraints", ())):
        return False
    parameters = strategy.get("parameters", {})
    group = parameters.get("groupId", "")
    match strategy["name"]:
        case "default":
            return True
        case "gradualRolloutUserId":
            unit = sticky_id(context, "userId")
            return enabled(unit, group, float(parameters["percentage"]))
        case "gradualRolloutSessionId":
            unit = sticky_id(context, "sessionId")
            return enabled(unit, group, float(parameters["percentage"]))
        case "flexibleRollout":
            stickiness = parameters["stickiness"]
            unit = sticky_id(context, stickiness)
            if stickiness == "default":
                unit = unit or ANYBODY
            return enabled(unit, group, float(parameters["rollout"]))
    raise AssertionError(strategy)


def strategy_for(feature: dict, context: dict) -> dict | None:
    """Return the strategy that switches the feature on; an empty one without any."""
    if not feature.get("enabled"):
        return None
    if not feature["strategies"]:
        return {}
    return next((s for s in feature["strategies"] if applies(s, context)), None)


def picked(feature: dict, context: dict) -> dict:
    strategy = strategy_for(feature, context)
    disabled = {
        "name": "disabled",
        "enabled": False,
        "feature_enabled": strategy is not None,
    }
    if strategy is None:
        return disabled
    variants, group = feature.get("variants", []), feature["name"]
    stickiness = variants[0].get("stickiness", "default") if variants else "default"
    if strategy.get("variants"):
        variants, parameters = strategy["variants"], strategy["parameters"]
        group, stickiness = parameters["groupId"], parameters["stickiness"]
    unit = sticky_id(context, stickiness) or ANYBODY
    weights = {each["name"]: each["weight"] for each in variants}
    overridden = (
        each["name"]
        for each in variants
        for override in each.get("overrides", ())
        if sticky_id(context, override["contextName"]) in override["values"]
    )
    name = next(overridden, None) or variant(unit, group, weights)
    if name is None:
        return disabled
    (payload,) = (each["payload"] for each in variants if each["name"] == name)
    return {
        "name": name,
        "payload": payload,
        "enabled": True,
        "feature_enabled": True,
    }


@needs_vectors
def test_every_case_of_unleash_s_ends_as_it_does_there():
    """27 flags and 32 variants: rollouts, groups, stickiness, weights, strategies'."""
    flags = variants = 0
    for file in json.loads(VECTORS.read_text())["files"].values():
        features = {each["name"]: each for each in file["state"]["features"]}
        missing = {"enabled": False, "name": ""}
        for test in file.get("tests", ()):
            feature = features[test["toggleName"]]
            on = strategy_for(feature, test["context"]) is not None
            assert on is test["expectedResult"], test["description"]
            flags += 1
        for test in file.get("variantTests", ()):
            feature = features.get(test["toggleName"], missing)
            found = picked(feature, test["context"])
            assert found == test["expectedResult"], test["description"]
            variants += 1

    assert (flags, variants) == (27, 32)


@pytest.mark.parametrize(
    ("text", "seed", "expected"),
    [
        (b"", 0, 0),
        (b"", 1, 0x514E28B7),
        (b"", 0xFFFFFFFF, 0x81F16F39),
        (b"\xff\xff\xff\xff", 0, 0x76293B50),
        (b"!Ce\x87", 0, 0xF55B516B),
        (b"!Ce\x87", 0x5082EDEE, 0x2362F9DE),
        (b"!Ce", 0, 0x7E4A8634),
        (b"!C", 0, 0xA0F7B07A),
        (b"!", 0, 0x72661CF4),
        (b"\x00\x00\x00\x00", 0, 0x2362F9DE),
        (b"Hello, world!", 0x9747B28C, 0x24884CBA),
    ],
)
def test_murmur_is_murmur(text, seed, expected):
    """Hashes that are published for MurmurHash3_x86_32."""
    assert murmur3(text, seed) == expected


@pytest.mark.parametrize("percentage", [0, 1, 5, 7, 29, 50, 57, 58, 99, 100])
def test_the_same_people_are_in_at_the_same_percentage(percentage):
    """At every whole percentage, and no float's rounding takes one more or less."""
    theirs = [normalized(unit, "new-answers") <= percentage for unit in UNITS]
    places = UnleashBuckets("new-answers").hash_many(UNITS)

    assert np.array_equal(before(places, percentage / 100), np.array(theirs))
    assert places.dtype == np.uint64


@given(st.text(min_size=1, max_size=20), st.floats(0, 100))
def test_a_part_of_a_per_cent_lets_in_nobody_more(unit, percentage):
    """Unleash has a hundred buckets, and so has this order: 5.7 is 5."""
    bucket = normalized(unit, "new-answers")
    if abs(bucket - percentage) < 1e-4:
        return
    inside = UnleashBuckets("new-answers").hash(unit) < threshold_of(percentage / 100)

    assert inside is enabled(unit, "new-answers", percentage)


def test_units_of_a_bucket_stay_apart():
    """A hundred buckets, and as many places as units."""
    places = UnleashBuckets("new-answers").hash_many(UNITS)

    assert len(set(places.tolist())) == len(UNITS)


def test_nobody_s_id_is_never_in():
    """A context without the sticky field is out at any percentage, as there."""
    assert not enabled(sticky_id({}, "userId"), "new-answers", 100)
    assert sticky_id({"properties": {"tenant": 7}}, "tenant") == "7"
    assert sticky_id({"userId": "", "sessionId": "s"}) == "s"


def test_variants_without_weight_are_none():
    """Where nothing has a weight, there is nothing to get."""
    assert variant("1", "f", {}) is None
    assert variant("1", "f", {"a": 0}) is None
    assert {variant(u, "f", {"a": 0, "b": 1, "c": 0}) for u in UNITS[:50]} == {"b"}
