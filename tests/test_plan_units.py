"""Quantities as people write them."""

from __future__ import annotations

import math

import pytest

from hypothesis import given
from hypothesis import strategies as st

from legion.stages.plan import units


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("100 ms", 0.1),
        ("100ms", 0.1),
        ("250us", 0.00025),
        ("250 µs", 0.00025),
        ("0.5s", 0.5),
        ("90 seconds", 90.0),
        ("5m", 300.0),
        ("5 min", 300.0),
        ("1h30m", 5400.0),
        ("1h 30m 5s", 5405.0),
        ("24h", 86_400.0),
        ("7d", 604_800.0),
        ("2 days", 172_800.0),
    ],
)
def test_durations_are_read_in_seconds(text, seconds):
    """Every usual spelling of a time means the same number of seconds."""
    assert units.duration(text) == seconds


@pytest.mark.parametrize(
    ("given_", "write"),
    [
        (5, "5s, 5m or 5h"),
        (2.5, "2.5s, 2.5m or 2.5h"),
        (math.nan, "5s, 5m or 5h"),
        (True, "a time such as"),
        (None, "a time such as"),
        ("", "a time such as"),
        ("5", "a time such as"),
        ("5 parsecs", "a time such as"),
        ("-5m", "a time such as"),
        ("5m!", "a time such as"),
        ("nan s", "a time such as"),
        ("inf", "a time such as"),
        ("0s", "longer than 0"),
        ("1e-999s", "longer than 0"),
        ("1e999s", "at most 3650d"),
        ("3651d", "at most 3650d"),
        ("1h" * 100, "a time such as"),
    ],
)
def test_what_is_no_duration_is_refused(given_, write):
    """A bare number, a sign, an unknown unit or an endless time is refused."""
    with pytest.raises(units.UnfitError, match=write):
        units.duration(given_)


@pytest.mark.parametrize(
    ("value", "share"),
    [
        ("5%", 0.05),
        ("0.5 %", 0.005),
        ("100%", 1.0),
        ("0%", 0.0),
        (0.05, 0.05),
        (0, 0.0),
        (1.0, 1.0),
        ("1e-3%", 0.00001),
    ],
)
def test_shares_are_read_between_0_and_1(value, share):
    """A percentage and a share mean the same."""
    assert units.share(value) == share


@pytest.mark.parametrize(
    ("value", "write"),
    [
        (1, "1% or 100%"),
        (5, "5% or 0.05"),
        (12.5, "12.5% or 0.125"),
        (101, "from 0% to 100%"),
        (-0.1, "from 0% to 100%"),
        (10**400, "from 0% to 100%"),
        ("101%", "from 0% to 100%"),
        ("-1%", "from 0% to 100%"),
        (math.nan, "from 0% to 100%"),
        (math.inf, "from 0% to 100%"),
        ("0.05", "a percentage such as 5%"),
        ("nan%", "a percentage such as 5%"),
        ("1e999%", "from 0% to 100%"),
        (True, "a percentage such as 5%"),
        (None, "a percentage such as 5%"),
    ],
)
def test_what_is_no_share_is_refused(value, write):
    """A bare 1 or 5 is ambiguous, and nothing is more than all."""
    with pytest.raises(units.UnfitError, match=write):
        units.share(value)


def test_a_rise_may_be_more_than_all():
    """Something may be three times worse, not a hundred times."""
    assert units.relative("200%") == 2.0
    with pytest.raises(units.UnfitError, match="from 0% to 1000%"):
        units.relative("1001%")


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("512 MB", "MB", 512.0),
        ("1 GB", "MB", 1000.0),
        ("1 MiB", "MB", 1.048576),
        ("50 MB/h", "MB/h", 50.0),
        ("1 MB/min", "MB/h", 60.0),
        ("24 MB/day", "MB/h", 1.0),
        ("90m", "h", 1.5),
        ("48h", "h", 48.0),
    ],
)
def test_values_are_read_in_the_unit_of_their_metric(text, unit, value):
    """Sizes, growth and hours become one canonical number."""
    assert units.quantity(text, unit) == value


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        ("512 MB", "MB/h"),
        ("50 MB/h", "MB"),
        ("50 MB/fortnight", "MB/h"),
        ("50 mb", "MB"),
        ("1e300 TB", "MB"),
        (50, "MB"),
        ("5", "count"),
        (-1, "count"),
        (2**53, "count"),
        (math.inf, "number"),
        (True, "count"),
        ("100 ms", "share"),
        ("5%", "s"),
        (5, "h"),
    ],
)
def test_a_unit_that_does_not_fit_is_refused(value, unit):
    """A value is never taken for one of another unit."""
    with pytest.raises(units.UnfitError):
        units.quantity(value, unit)


UNITS = st.sampled_from(["share", "s", "h", "MB", "MB/h", "count", "number"])


@given(UNITS, st.floats(0, 1e9))
def test_what_is_written_is_read_as_the_same_number(unit, value):
    """Writing and reading a value gives the same float, to the last bit."""
    if unit == "share":
        value /= 1e9
    elif unit in {"s", "h"}:
        value /= 1e5

    assert units.quantity(units.write(value, unit), unit) == value


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.25, "share", "25 %"),
        (0.1, "s", "100 ms"),
        (240.0, "s", "4 min"),
        (50.0, "MB/h", "50 MB/h"),
        (5.0, "count", "5"),
        (-0.5, "number", "-0.5"),
    ],
)
def test_values_are_said_with_their_unit(value, unit, said):
    """In a sentence, number and unit stand apart."""
    assert units.spoken(value, unit) == said
