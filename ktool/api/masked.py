"""Masked: a decoded Secret value that only `reveal` gives out; print, log and traceback show none of it.

In objects, Secret values stay base64 texts under `data`, as in Kubernetes. kinds/, logic/secrets, logic/pod and the
secret commands decode them with `values`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, NoReturn

MASK = "***"
"""Stands for a value wherever an object is shown, compared or remembered."""

UNREADABLE = "unreadable"
"""A member that only the store puts in, in place of `data` that it could not decrypt: a sentence that says why."""


class Unreadable(Exception):
    """An object whose content cannot be decrypted. The message says why."""


class Masked:
    """Confidential bytes. `reveal` is the only accessor."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        return self._value

    def __len__(self) -> int:
        return len(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Masked) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a masked value is not written down")


def values(secret: Mapping[str, Any]) -> dict[str, Masked]:
    """The decoded values of a stored Secret. Raises Unreadable where the store could not decrypt it."""
    if why := secret.get(UNREADABLE):
        raise Unreadable(str(why))
    return {key: Masked(base64.b64decode(text)) for key, text in (secret.get("data") or {}).items()}


def encoded(value: Masked) -> str:
    """The base64 text of a value, for `data`."""
    return base64.b64encode(value.reveal()).decode()
