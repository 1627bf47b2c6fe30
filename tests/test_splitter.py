"""Who gets which arm."""

from __future__ import annotations

import math
import sys

from itertools import pairwise

import attrs
import numpy as np
import pytest

from hypothesis import given
from hypothesis import strategies as st
from stages_rig import plan as plan_of_rig

from legion.exceptions import LegionError
from legion.integrations import Murmur3
from legion.stages import StageEngine
from legion.stages.splitter import Splitter, before, threshold_of


UNITS = [f"user-{i}" for i in range(200_000)]


@given(st.text(max_size=30), st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_who_is_in_at_a_share_is_in_at_every_larger_one(unit, shares):
    """The ramp is nested: growing a share never takes anybody out."""
    place = Splitter("plan").hash(unit)
    inside = [place < threshold_of(share) for share in sorted(shares)]

    assert all(not before or after for before, after in pairwise(inside))


@pytest.mark.parametrize("share", [0.01, 0.05, 0.25])
def test_a_share_is_met(share):
    """Of 200,000 units the share that is asked for gets in, to four sigma."""
    inside = int(Splitter("plan").within(UNITS, share).sum())
    sigma = math.sqrt(len(UNITS) * share * (1 - share))

    assert abs(inside - share * len(UNITS)) < 4 * sigma


def test_plans_order_units_independently():
    """Being in one plan's quarter says nothing about another plan's."""
    one = Splitter("one").within(UNITS, 0.25)
    other = Splitter("other").within(UNITS, 0.25)

    assert abs(other[one].mean() - 0.25) < 0.01


def test_nobody_at_zero_and_everybody_at_one():
    """A share of 0 lets nobody in, a share of 1 everybody, the last hash included."""
    assert not Splitter("plan").within(UNITS[:1000], 0.0).any()
    assert Splitter("plan").within(UNITS[:1000], 1.0).all()
    assert 2**64 - 1 < threshold_of(1.0)


def test_one_and_many_agree():
    """The batch says of each unit what the single call says."""
    splitter = Splitter("plan")
    many = splitter.within(UNITS[:500], 0.3)
    single = [splitter.hash(unit) < threshold_of(0.3) for unit in UNITS[:500]]

    assert np.array_equal(many, np.array(single))


def test_a_batch_may_be_empty_or_an_iterator():
    """Nobody asked about gives nobody; a generator is read once."""
    splitter = Splitter("plan")

    assert splitter.within([], 0.3).shape == (0,)
    assert splitter.hash_many(iter(UNITS[:3])).tolist() == [
        splitter.hash(unit) for unit in UNITS[:3]
    ]


def test_the_order_never_changes():
    """A unit's place is a promise to running rollouts: these values are for ever."""
    assert Splitter("legion-4.1.0").hash("user-1") == GOLDEN["user-1"]
    assert Splitter("legion-4.1.0").hash("") == GOLDEN[""]


GOLDEN = {"user-1": 6_373_696_845_550_621_708, "": 16_870_248_525_187_872_774}


def test_places_are_what_a_batch_is_asked_by():
    """A place says at every share what the name says, names of any script included."""
    engine = StageEngine(plan_of_rig())
    units = [*UNITS[:500], "Zoë", "東京"]
    places = engine.places(units)
    engine.traffic.exposure = attrs.evolve(engine.exposure, share=0.25)

    assert places.dtype == np.uint64
    assert np.array_equal(engine.assign_many(places), engine.assign_many(units))
    assert engine.assign_many(places).any()
    with pytest.raises(TypeError, match="places: got the unit 7"):
        engine.places(["a", 7])


@pytest.mark.parametrize("make", [Splitter, Murmur3])
def test_of_a_million_units_none_is_lost_over_the_stages(make):
    """Who is in at 5 % is in at 25 % and at 100 %, and each share is met."""
    pytest.importorskip("mmh3", reason="Murmur3 needs mmh3")
    places = make("plan").hash_many(f"user-{i}" for i in range(1_000_000))
    five, quarter, all_ = (before(places, share) for share in (0.05, 0.25, 1.0))

    assert not (five & ~quarter).any()
    assert not (quarter & ~all_).any()
    assert all_.all()
    for found, share in ((five, 0.05), (quarter, 0.25)):
        sigma = math.sqrt(len(places) * share * (1 - share))
        assert abs(int(found.sum()) - share * len(places)) < 4 * sigma


def test_murmur3_orders_plans_independently_and_never_changes():
    """Its places are a promise to running rollouts, too."""
    pytest.importorskip("mmh3", reason="Murmur3 needs mmh3")
    one = before(Murmur3("one").hash_many(UNITS), 0.25)
    other = before(Murmur3("other").hash_many(UNITS), 0.25)

    assert abs(other[one].mean() - 0.25) < 0.01
    assert Murmur3("legion-4.1.0").hash("user-1") == 12_481_404_022_155_718_382


def test_murmur3_without_its_package_says_what_to_install(monkeypatch):
    """The extra is named in the error."""
    monkeypatch.setitem(sys.modules, "mmh3", None)
    with pytest.raises(LegionError, match=r"legion-rollout\[mmh3\]"):
        Murmur3("plan")
