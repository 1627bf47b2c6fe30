"""A rollout remembers by which order its units are split, and goes on with no other."""

from __future__ import annotations

import pytest

from stages_rig import plan

import legion

from legion.exceptions import StateError
from legion.integrations import GrowthBookBuckets, Sticky, UnleashBuckets
from legion.stages import StageEngine
from legion.stages.splitter import Splitter, name_of


class Nameless:
    """An order of somebody else's that has no name."""

    def __init__(self, salt):
        self.inner = Splitter(salt)

    def hash(self, unit):
        return self.inner.hash(unit)

    def hash_many(self, units):
        return self.inner.hash_many(units)


@pytest.mark.parametrize(
    ("order", "name"),
    [
        (Splitter("rig"), "blake2b-64 rig"),
        (GrowthBookBuckets("a", hash_version=2), "growthbook-v2 a"),
        (GrowthBookBuckets("a", start=0.5), "growthbook-v1 a from 0.5"),
        (UnleashBuckets("a"), "unleash a"),
        (Sticky(UnleashBuckets("a"), inside=["u"]), "sticky unleash a"),
        (Nameless("a"), f"{Nameless.__module__}.Nameless"),
    ],
)
def test_an_order_goes_on_under_its_own_name_alone(tmp_path, order, name):
    """The same one opens the rollout again; every other one is refused by name."""
    state = tmp_path / "legion.db"
    assert name_of(order) == name
    for _ in range(2):
        StageEngine(plan(), state=state, splitter=order).close()
    with pytest.raises(StateError, match=f"split by '{name}', not by 'blake2b-64 b'"):
        StageEngine(plan(), state=state, splitter=Splitter("b"))


def test_a_process_without_the_order_looks_and_goes_back(tmp_path):
    """Going back needs no order; assigning a unit does, and says so."""
    with legion.Host.open(plan(), state=tmp_path, splitter=UnleashBuckets("a")) as host:
        host.tick()
    with legion.Host.reopen(tmp_path, readonly=True) as host:
        assert host.engine.state.splitter == "unleash a"
    with legion.Host.reopen(tmp_path) as host:
        with pytest.raises(StateError, match="split by 'unleash a'"):
            host.engine.assign_many(["u"])
        assert host.engine.rollback("by order").verified
