"""Quantities against the documented grammar, and against exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktool.api.units import quantity

CANONICAL = [
    ("0", "0"),
    ("0Ki", "0"),
    ("1000m", "1"),
    ("0.5", "500m"),
    (".5", "500m"),
    ("5.", "5"),
    ("1500m", "1500m"),
    ("-1500m", "-1500m"),
    ("+2", "2"),
    ("1000", "1k"),
    ("1500", "1500"),
    ("128974848", "128974848"),
    ("1000000000", "1G"),
    ("1024Ki", "1Mi"),
    ("1.5Gi", "1536Mi"),
    ("0.5Ki", "512"),
    ("1.25Ki", "1280"),
    ("1Ei", "1Ei"),
    ("1e3", "1e3"),
    ("12E4", "120e3"),
    ("1e2", "100"),
    ("100n", "100n"),
    ("0.1n", "1n"),
    ("1.2Gi", "1288490188800m"),
]


@pytest.mark.parametrize("text, expected", CANONICAL, ids=[text for text, _ in CANONICAL])
def test_canonical_form(text: str, expected: str) -> None:
    assert quantity.canonical(text) == expected


@pytest.mark.parametrize(
    "text, milli, whole",
    [
        ("100m", 100, 1),
        ("1", 1000, 1),
        ("0.1", 100, 1),
        ("1u", 1, 1),
        ("64Mi", 67108864000, 67108864),
        ("1.5k", 1500000, 1500),
    ],
)
def test_milli_and_bytes_round_up(text: str, milli: int, whole: int) -> None:
    assert quantity.milli(text) == milli
    assert quantity.bytes_(text) == whole


@pytest.mark.parametrize("number, expected", [(2, "2"), (0.5, "500m"), (1000, "1k"), (0.1, "100m")])
def test_numbers_as_yaml_gives_them(number: float, expected: str) -> None:
    assert quantity.canonical(number) == expected


@pytest.mark.parametrize(
    "text", ["", "1 Gi", "1gi", "Mi", "1KB", "1.2.3", "--1", "1e", "1e999", "١", "0x10", "1Kii", "9" * 70]
)
def test_what_is_no_quantity(text: str) -> None:
    assert not quantity.is_quantity(text)
    with pytest.raises(ValueError, match="must be a quantity"):
        quantity.value(text)


@pytest.mark.parametrize("value", [True, None, [], {}, float("nan"), float("inf")], ids=repr)
def test_other_values_are_none(value: object) -> None:
    assert not quantity.is_quantity(value)


SUFFIXES = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e3", "e-3", "E6"]
texts = st.builds(
    lambda whole, fraction, suffix: f"{whole}{fraction}{suffix}",
    st.integers(-(10**7), 10**7),
    st.sampled_from(["", ".5", ".25", ".125", ".001", ".9"]),
    st.sampled_from(SUFFIXES),
)


@given(texts)
def test_canonical_keeps_the_value_and_is_a_fixed_point(text: str) -> None:
    short = quantity.canonical(text)
    assert quantity.value(short) == quantity.value(text)
    assert quantity.canonical(short) == short


@given(st.integers(-(10**15), 10**15))
def test_format_milli_round_trips(millis: int) -> None:
    assert quantity.milli(quantity.format_milli(millis)) == millis


@given(st.integers(0, 2**62))
def test_format_bytes_round_trips(count: int) -> None:
    assert quantity.bytes_(quantity.format_bytes(count)) == count


@given(texts)
def test_rounding_is_up_and_by_less_than_one(text: str) -> None:
    exact = quantity.value(text)
    assert 0 <= quantity.bytes_(text) - exact < 1
    assert 0 <= Fraction(quantity.milli(text), 1000) - exact < Fraction(1, 1000)
