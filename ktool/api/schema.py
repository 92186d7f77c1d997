"""Field trees: one truth about the shape of a kind.

From one tree follow type errors with their full path, unknown fields with a did-you-mean, defaults, the merge keys
of a strategic merge, `explain`, OpenAPI, and whether a field is acted on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Field:
    """One field. `type` is one of object, array, map, string, integer, number, boolean, int-or-string, quantity
    (resource.Quantity), time (meta/v1 Time), bytes (base64) and any.

    `fields`: the members of an object. `items`: the element of an array, or the value of a map.
    `merge_key`: for an array whose elements are merged by that member (Kubernetes' patchMergeKey).
    `acted`: False where the field is known to Kubernetes but ktool does not act on it: setting it is a warning that
    names the path, and an error under --strict. `read_only`: written by the system (status, uid)."""

    type: str
    doc: str = ""
    fields: Mapping[str, Field] = field(default_factory=dict)
    items: Field | None = None
    required: bool = False
    default: Any = None
    enum: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    format: str = ""
    merge_key: str = ""
    acted: bool = True
    read_only: bool = False
