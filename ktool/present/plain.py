"""Plain description: every field of an object of a kind that has none of its own, titled like kubectl's fallback.

`describe` uses it, also for kinds that only the server knows.
"""

from __future__ import annotations

from typing import Any

from ktool.api.describe import Description, head
from ktool.api.obj import Obj, name, namespace


def describe(obj: Obj) -> Description:
    """Every field under its title."""
    sheet = Description()
    sheet.row("Name", name(obj))
    if namespace(obj):
        sheet.row("Namespace", namespace(obj))
    head(sheet, obj)
    sheet.row("API Version", obj.get("apiVersion"))
    sheet.row("Kind", obj.get("kind"))
    _tree(sheet, {key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata")}, 0)
    return sheet


def _tree(sheet: Description, members: Obj, level: int) -> None:
    for key, found in sorted(members.items()):
        _member(sheet, _titled(key), found, level)


def _member(sheet: Description, label: str, found: Any, level: int) -> None:
    if isinstance(found, dict) and found:
        sheet.title(label, level)
        _tree(sheet, found, level + 1)
    elif isinstance(found, list) and found:
        sheet.title(label, level)
        for item in found:
            if isinstance(item, dict):
                _tree(sheet, item, level + 1)
            else:
                sheet.line(str(item), level + 1)
    else:
        sheet.row(label, found if found not in ({}, []) else "", level)


def _titled(key: str) -> str:
    """`holderIdentity` -> `Holder Identity`."""
    spaced = "".join(f" {c}" if c.isupper() and i and not key[i - 1].isupper() else c for i, c in enumerate(key))
    return spaced[:1].upper() + spaced[1:]
