"""Canonical JSON: the same bytes as the reference, and no silent loss."""

from __future__ import annotations

import hashlib
import json
import math
import struct

import pytest
import rfc8785

from hypothesis import example, given, settings
from hypothesis import strategies as st

from legion import canonical


EXACT = 2**53 - 1

numbers = st.integers(-EXACT, EXACT) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
trees = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner),
    max_leaves=20,
)


@given(trees)
@settings(max_examples=300, deadline=None)
def test_the_bytes_are_those_of_the_reference(tree):
    """Whatever JSON value it is, the rfc8785 package writes the same bytes."""
    assert canonical.dumps(tree) == rfc8785.dumps(tree)


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(0.1 + 0.2)
@example(-0.0)
@example(1e21)
@example(1e-7)
@example(5e-324)
@example(1.7976931348623157e308)
@example(9007199254740993.0)
@settings(max_examples=500, deadline=None)
def test_a_number_is_printed_as_the_reference_prints_it(number):
    """Numbers follow ECMAScript, and reading them back gives the same float."""
    written = canonical.dumps(number)

    assert written == rfc8785.dumps(number)
    assert float(written) == number


@given(st.binary(min_size=8, max_size=8))
@settings(max_examples=500, deadline=None)
def test_every_bit_pattern_of_a_float_is_printed_or_refused(bits):
    """All 64 bits are covered evenly, denormals and the largest included."""
    (number,) = struct.unpack(">d", bits)
    if math.isfinite(number):
        assert canonical.dumps(number) == rfc8785.dumps(number)
    else:
        with pytest.raises(ValueError, match="leave out what was not measured"):
            canonical.dumps(number)


@pytest.mark.parametrize(
    ("bits", "printed"),
    [
        ("0000000000000000", b"0"),
        ("8000000000000000", b"0"),
        ("0000000000000001", b"5e-324"),
        ("7fefffffffffffff", b"1.7976931348623157e+308"),
        ("4340000000000001", b"9007199254740994"),
        ("4430000000000000", b"295147905179352830000"),
        ("44b52d02c7e14af6", b"1e+23"),
        ("444b1ae4d6e2ef50", b"1e+21"),
        ("3eb0c6f7a0b5ed8d", b"0.000001"),
        ("3eb0c6f7a0b5ed8c", b"9.999999999999997e-7"),
        ("41b3de4355555557", b"333333333.33333343"),
    ],
)
def test_the_examples_of_the_standard(bits, printed):
    """The samples of RFC 8785, appendix B, come out as printed there."""
    (number,) = struct.unpack(">d", bytes.fromhex(bits))

    assert canonical.dumps(number) == printed


def test_keys_are_ordered_by_their_utf_16_units():
    """A character beyond the basic plane comes before U+FB33, as in section 3.2.3."""
    value = {"€": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\x80": 6}

    assert list(json.loads(canonical.dumps(value)).values()) == [2, 4, 6, 1, 5, 3]


@given(st.dictionaries(texts, numbers, min_size=2))
@settings(max_examples=100, deadline=None)
def test_a_digest_names_the_value_and_not_its_order(mapping):
    """The order in which keys were put in does not show."""
    turned = dict(reversed(mapping.items()))

    assert canonical.digest(mapping) == canonical.digest(turned)
    expected = hashlib.sha256(rfc8785.dumps(mapping)).hexdigest()
    assert canonical.digest(mapping) == expected


@pytest.mark.parametrize("number", [EXACT + 1, -EXACT - 1, 10**30])
def test_an_integer_that_others_would_round_is_refused(number):
    """Beyond 2**53 - 1 a reader in another language would see another number."""
    with pytest.raises(ValueError, match="write integers beyond"):
        canonical.dumps([number])


@pytest.mark.parametrize("value", [{1: 2}, {None: 1}, {"a": {2: 3}}])
def test_a_key_that_is_no_string_is_refused(value):
    """A key is never turned into a string behind one's back."""
    with pytest.raises(TypeError, match="write a string"):
        canonical.dumps(value)


@pytest.mark.parametrize("value", [b"x", {1, 2}, object(), bytearray(b"x"), 1j])
def test_what_is_no_json_is_refused(value):
    """What JSON has no word for is an error, not its repr."""
    with pytest.raises(TypeError, match="write a JSON value"):
        canonical.dumps({"here": value})


@given(trees)
@example(1.830493782695656e20)
@settings(max_examples=200, deadline=None)
def test_what_was_written_is_read_back_equal(tree):
    """Large whole floats too, which JSON cannot tell from integers."""
    assert canonical.loads(canonical.dumps(tree)) == tree
