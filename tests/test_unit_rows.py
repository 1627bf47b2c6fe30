"""Units in the state file: what was written is read back, or said to be damaged."""

from __future__ import annotations

import pytest

from legion.exceptions import StateCorruptError
from legion.stages.evidence import Known
from legion.stages.unit_rows import UnitRows
from legion.store import Database


UNITS = {
    "error_rate": {0: 3, 1: 3, 2**64 - 1: 7},
    "latency{tenant=acme, eu}": {5: 7},
}


@pytest.fixture
def rows(tmp_path):
    with Database(tmp_path / "legion.db") as database:
        yield UnitRows(database, "plan")


def known_of(units, *, stay):
    known = Known(sticky=True, visits=frozenset())
    known.stay, known.units = stay, units
    known.new = [(metric, unit) for metric, found in units.items() for unit in found]
    return known


def loaded(rows):
    known = Known(sticky=True, visits=frozenset())
    rows.load(known)
    return known


def test_who_went_bad_is_read_back_with_the_code_it_was_under(rows):
    """Every hash, the smallest and the largest, of every metric."""
    rows.save(known_of(UNITS, stay=4))

    assert (loaded(rows).stay, loaded(rows).units) == (4, UNITS)


def test_only_the_newest_stay_s_units_of_this_plan_are_read(rows):
    """Whoever went bad in the stage before counts again, and so does another plan."""
    rows.save(known_of({"error_rate": {1: 2}}, stay=2))
    rows.save(known_of({"latency": {9: 4}}, stay=4))
    UnitRows(rows.database, "other").save(known_of(UNITS, stay=8))

    assert (loaded(rows).stay, loaded(rows).units) == (4, {"latency": {9: 4}})


def test_nobody_went_bad_yet(rows):
    """No rows are no units."""
    assert (loaded(rows).stay, loaded(rows).units) == (0, {})


@pytest.mark.parametrize(
    "change",
    [
        "unit = x'01' WHERE unit = x'0000000000000001'",
        "unit = x'000000000000000001' WHERE unit = x'0000000000000001'",
        "unit = 'who?' WHERE unit = x'0000000000000001'",
        "epoch = 'when?' WHERE unit = x'0000000000000001'",
        "epoch = 2.5 WHERE unit = x'0000000000000001'",
    ],
)
def test_a_unit_that_is_none_is_one_clear_error(rows, change):
    """Nothing of the file is learned then, and what was known stays."""
    rows.save(known_of(UNITS, stay=4))
    with rows.database.transaction() as connection:
        connection.execute(f"UPDATE bad_unit SET {change}")
    known = known_of({"error_rate": {6: 1}}, stay=1)

    with pytest.raises(StateCorruptError, match="the units of 'plan' are damaged"):
        rows.load(known)
    assert (known.stay, known.units) == (1, {"error_rate": {6: 1}})
