"""Quantities: `100m`, `1.5`, `64Mi`, `12e6`, parsed and written exactly as Kubernetes' resource.Quantity does.

api/schema, the scheduler, pod rendering and `describe` use them. Source: k8s.io/apimachinery/pkg/api/resource (the
grammar is in the documentation of Quantity).
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

_SYNTAX = re.compile(r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?")
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -3, "u": -2, "m": -1, "": 0, "k": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
_BINARY_SUFFIX = {power: suffix for suffix, power in _BINARY.items()}
_DECIMAL_SUFFIX = {power: suffix for suffix, power in _DECIMAL.items()}
_NANO = 10**9
_LIMIT = Fraction(2**63 - 1)

HELP = 'must be a quantity such as 2, "500m" or "64Mi"'


@lru_cache(maxsize=4096)
def _parse(text: str) -> tuple[Fraction, str]:
    """The exact number and the suffix family: binary, decimal or exponent. Values finer than nano are rounded up and
    values above 2^63-1 capped, as in Kubernetes."""
    found = _SYNTAX.fullmatch(text)
    if found is None or len(text) > 64:
        raise ValueError(f'{HELP}, not "{text}"')
    digits, suffix = found.group(1), found.group(2) or ""
    if suffix in _BINARY:
        family, scale = "binary", Fraction(1024) ** _BINARY[suffix]
    elif suffix in _DECIMAL:
        family, scale = "decimal", Fraction(1000) ** _DECIMAL[suffix]
    else:
        exponent = int(suffix[1:])
        if abs(exponent) > 100:
            raise ValueError(f'{HELP}, not "{text}"')
        family, scale = "exponent", Fraction(10) ** exponent
    number = Fraction(digits if digits[-1] != "." else digits[:-1]) * scale
    if (number * _NANO).denominator != 1:
        number = Fraction(_ceil(number * _NANO), _NANO)
    return max(-_LIMIT, min(_LIMIT, number)), family


def value(quantity: str | int | float) -> Fraction:
    """The exact number: cores for cpu, bytes for memory. ValueError for an invalid quantity."""
    if isinstance(quantity, str):
        return _parse(quantity)[0]
    if isinstance(quantity, bool):
        raise ValueError(f"{HELP}, not {str(quantity).lower()}")
    return Fraction(quantity) if isinstance(quantity, int) else _parse(repr(quantity))[0]


def is_quantity(candidate: object) -> bool:
    if isinstance(candidate, bool) or not isinstance(candidate, (str, int, float)):
        return False
    try:
        value(candidate)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=4096)
def _milli(text: str) -> int:
    return _ceil(_parse(text)[0] * 1000)


@lru_cache(maxsize=4096)
def _whole(text: str) -> int:
    return _ceil(_parse(text)[0])


def milli(quantity: str | int | float) -> int:
    """Thousandths, rounded up: `milli("0.1")` is 100 millicores."""
    return _milli(quantity) if isinstance(quantity, str) else _ceil(value(quantity) * 1000)


def bytes_(quantity: str | int | float) -> int:
    """Whole units (bytes of memory, a count of pods), rounded up."""
    return _whole(quantity) if isinstance(quantity, str) else _ceil(value(quantity))


def canonical(quantity: str | int | float) -> str:
    """The form Kubernetes stores: the largest suffix of the same family that needs no fraction. `1000m` -> `1`,
    `0.5` -> `500m`, `1024Ki` -> `1Mi`, `1e3` -> `1e3`. ValueError where it is no quantity."""
    return _canonical(quantity) if isinstance(quantity, str) else format_value(value(quantity))


@lru_cache(maxsize=4096)
def _canonical(text: str) -> str:
    return format_value(*_parse(text))


def format_value(number: Fraction | int, family: str = "decimal") -> str:
    """The canonical text of a number. `family` is decimal (`500m`, `1k`), binary (`64Mi`) or exponent (`1e3`)."""
    number = Fraction(number)
    if number == 0:
        return "0"
    if family == "binary" and abs(number) >= 1024 and number.denominator == 1:
        whole, power = int(number), 0
        while power < 6 and whole % 1024 == 0:
            whole, power = whole // 1024, power + 1
        return f"{whole}{_BINARY_SUFFIX.get(power, '')}"
    nanos, power = _ceil(number * _NANO), -3
    while power < 6 and nanos % 1000 == 0:
        nanos, power = nanos // 1000, power + 1
    if family == "exponent":
        return f"{nanos}e{power * 3}" if power else str(nanos)
    return f"{nanos}{_DECIMAL_SUFFIX[power]}"


def format_milli(millis: int) -> str:
    """Thousandths as a quantity: 1500 -> `1500m`, 2000 -> `2`."""
    return format_value(Fraction(millis, 1000))


def format_bytes(count: int) -> str:
    """Bytes as a quantity with a binary suffix where one fits exactly: 67108864 -> `64Mi`."""
    return format_value(count, "binary")


def _ceil(number: Fraction) -> int:
    return -((-number.numerator) // number.denominator)
