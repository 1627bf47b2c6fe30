"""GrowthBook's buckets: its own cases, and the same people at the same percentage."""

from __future__ import annotations

import json

from pathlib import Path

import numpy as np
import pytest

from hypothesis import given
from hypothesis import strategies as st

from legion.integrations import GrowthBookBuckets, GrowthBookExperiment
from legion.integrations.growthbook import (
    Filter,
    bucket_of,
    chosen,
    equal_weights,
    place_of,
    ranges_of,
)
from legion.integrations.place import WHOLE, beyond, first, last, up_to
from legion.stages.splitter import before, threshold_of


VECTORS = (
    Path(__file__).parents[1] / "../shared/vectors/stages/growthbook_bucketing.json"
)
needs_vectors = pytest.mark.skipif(
    not VECTORS.exists(),
    reason="GrowthBook's cases are not at ../shared/vectors/stages",
)
UNITS = [f"user-{i}" for i in range(2_000)]


def cases(family: str) -> list:
    return json.loads(VECTORS.read_text())[family]


def rounded(ranges):
    return [[round(edge, 6) for edge in one] for one in ranges]


@needs_vectors
def test_a_value_stands_where_it_does_there():
    """15 hashes of both versions; one of an unknown version stands nowhere."""
    found = [place_of(seed, value, v) for seed, value, v, _ in cases("hash")]

    assert len(found) == 15
    assert found == [expected for *_, expected in cases("hash")]


@needs_vectors
def test_ranges_weights_and_choices_are_those_there():
    """13 ranges, 13 choices, 6 weights."""
    ranges, choices = cases("getBucketRange"), cases("chooseVariation")
    weights = cases("getEqualWeights")

    assert (len(ranges), len(choices), len(weights)) == (13, 13, 6)
    for name, line, expected in ranges:
        assert rounded(ranges_of(*line)) == rounded(expected), name
    for name, place, line, expected in choices:
        assert chosen(place, line) == (None if expected < 0 else expected), name
    for n, expected in weights:
        assert equal_weights(n) == pytest.approx(expected)


@needs_vectors
def test_a_namespace_admits_whom_it_does_there():
    """16 namespaces."""
    assert len(cases("inNamespace")) == 16
    for name, value, namespace, expected in cases("inNamespace"):
        assert Filter.namespace(*namespace).admits(value) is expected, name


BUCKETING = {
    "key",
    "variations",
    "weights",
    "coverage",
    "ranges",
    "seed",
    "hashVersion",
    "hashAttribute",
    "fallbackAttribute",
    "namespace",
    "filters",
    "bucketVersion",
    "minBucketVersion",
    "disableStickyBucketing",
    "meta",
}
"""What an experiment's definition says about buckets; the rest is targeting."""


def experiment_of(rule: dict, key: str) -> GrowthBookExperiment:
    optional = {
        name: rule[theirs]
        for name, theirs in (
            ("weights", "weights"),
            ("coverage", "coverage"),
            ("ranges", "ranges"),
            ("seed", "seed"),
            ("hash_version", "hashVersion"),
            ("hash_attribute", "hashAttribute"),
            ("fallback_attribute", "fallbackAttribute"),
            ("bucket_version", "bucketVersion"),
            ("min_bucket_version", "minBucketVersion"),
        )
        if theirs in rule
    }
    filters = [
        Filter(each["seed"], each["ranges"], attribute=each.get("attribute", "id"))
        for each in rule.get("filters", ())
    ]
    if "namespace" in rule and not filters:
        filters.append(Filter.namespace(*rule["namespace"]))
    keys = [meta["key"] for meta in rule.get("meta", ())]
    return GrowthBookExperiment(
        rule.get("key", key),
        variations=keys or len(rule["variations"]),
        filters=tuple(filters),
        sticky=not rule.get("disableStickyBucketing", False),
        **optional,
    )


@needs_vectors
def test_an_experiment_assigns_as_it_does_there():
    """All of the 73 runs that are about buckets, and not about targeting or forcing."""
    runs = [
        case
        for case in cases("run")
        if set(case[2]) <= BUCKETING and set(case[1]) <= {"attributes"}
    ]
    for name, context, rule, expected, inside, _ in runs:
        found = experiment_of(rule, "").assign(context.get("attributes", {}))
        assert (found is not None) is inside, name
        if found is not None:
            assert rule["variations"][found.variation] == expected, name
    assert len(runs) == 56


@needs_vectors
def test_what_was_remembered_counts_as_it_does_there():
    """13 sticky cases: fallback, versions, blocked versions, upgrades, switched off."""
    assert len(cases("stickyBucket")) == 13
    for name, context, stored, feature, expected, after in cases("stickyBucket"):
        attributes = context["attributes"]
        (rule,) = context["features"][feature]["rules"]
        documents = {
            f"{each['attributeName']}||{each['attributeValue']}": each["assignments"]
            for each in stored
            if attributes.get(each["attributeName"]) == each["attributeValue"]
        }
        found = experiment_of(rule, feature).assign(attributes, documents)
        if found is not None and not rule.get("disableStickyBucketing"):
            documents[found.document] = found.assignments
        assert documents == {k: v["assignments"] for k, v in after.items()}, name
        if expected is None:
            assert found is None, name
            continue
        assert found.place == expected["bucket"], name
        assert found.variation == expected["variationId"], name
        assert found.sticky is expected["stickyBucketUsed"], name
        assert found.attribute == expected["hashAttribute"], name
        assert found.value == expected["hashValue"], name


@pytest.mark.parametrize("of", [100, 1_000, 10_000])
def test_every_bucket_is_in_at_exactly_its_percentage(of):
    """No rounding of a share ever takes one bucket more or less, at any of them."""
    units = UNITS[:of]
    closed = np.array([up_to(b, of, units[b % len(units)]) for b in range(of)])
    opened = np.array(
        [beyond(b * WHOLE // of, units[b % len(units)]) for b in range(of)]
    )
    thresholds = [threshold_of(k / of) for k in range(1, of)]

    assert np.all(np.diff(closed.astype(float)) > 0)
    for k, threshold in enumerate(thresholds, 1):
        assert closed[k] < threshold <= closed[k + 1] if k + 1 < of else True
        assert opened[k - 1] < threshold <= opened[k]


@given(st.text(min_size=1, max_size=20), st.sampled_from([1, 2]), st.floats(0, 1))
def test_a_rollout_rule_s_coverage_lets_in_the_same(unit, version, coverage):
    """In legion at any share: whoever stands at the coverage or below, as there."""
    place = place_of("new-answers", unit, version)
    if 0 < abs(place - coverage) < 1e-6:
        return
    splitter = GrowthBookBuckets("new-answers", hash_version=version)
    inside = splitter.hash(unit) < threshold_of(coverage)

    assert inside is (coverage > 1e-6 and place <= coverage)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.3, 0.7), (0.3334, 0.3333, 0.3333)])
@pytest.mark.parametrize("coverage", [0.1, 0.29, 0.57, 1.0])
def test_an_experiment_s_variation_is_the_candidate(version, weights, coverage):
    """At the share of a variation, exactly its people are in; growing keeps them."""
    experiment = GrowthBookExperiment(
        "new-answers",
        variations=len(weights),
        weights=weights,
        coverage=coverage,
        hash_version=version,
    )
    for variation in range(len(weights)):
        found = [experiment.assign({"id": unit}) for unit in UNITS]
        theirs = np.array([f is not None and f.variation == variation for f in found])
        places = experiment.splitter(variation).hash_many(UNITS)
        share = experiment.share(variation)

        assert np.array_equal(before(places, share), theirs)
        assert np.all(before(places, min(1.0, share + 0.2))[theirs])


def test_outside_a_namespace_nobody_is_in_before_everybody_is():
    """A namespace's others stay control at every share below all."""
    namespace = Filter.namespace("pages", 0.2, 0.6)
    splitter = GrowthBookBuckets("new-answers", start=0.0, filters=(namespace,))
    others = [unit for unit in UNITS if not namespace.admits(unit)]
    places = splitter.hash_many(others)

    assert 0.5 < len(others) / len(UNITS) < 0.7
    assert not before(places, 0.9999).any()
    assert before(places, 1.0).all()


def test_units_of_a_bucket_stay_apart():
    """Two units with one bucket have two places: evidence counts units by them."""
    splitter = GrowthBookBuckets("new-answers")
    buckets = {bucket_of("new-answers", unit, 1) for unit in UNITS}
    places = splitter.hash_many(UNITS)

    assert len(buckets) < len(UNITS)
    assert len(set(places.tolist())) == len(UNITS)
    assert places.dtype == np.uint64


@given(st.text(max_size=20))
def test_first_and_last_are_the_ends_of_the_line(unit):
    """First is in at a millionth, last only at all."""
    assert first(unit) < threshold_of(1e-6)
    assert threshold_of(1 - 1e-7) <= last(unit) < 2**64


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"hash_version": 3}, "hash_version=3; write 1 or 2"),
        ({"start": 1.0}, "start=1.0; write where a range begins"),
    ],
)
def test_malformed_buckets_say_what_to_write(given, says):
    """An order that cannot be is refused where it is made."""
    with pytest.raises(ValueError, match=says):
        GrowthBookBuckets("x", **given)
