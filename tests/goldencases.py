"""Golden cases as files. A mapping with a key `base` stands for the object in `base/<name>.yaml` beside the case, with
its other members merged into it (RFC 7386: null removes), so that a case shows what differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def load(path: Path) -> Any:
    return expanded(yaml.safe_load(path.read_text()), path.parent / "base")


def expanded(value: Any, bases: Path) -> Any:
    if isinstance(value, list):
        return [expanded(entry, bases) for entry in value]
    if not isinstance(value, dict):
        return value
    own = {key: expanded(entry, bases) for key, entry in value.items() if key != "base"}
    return merged(load(bases / f"{value['base']}.yaml"), own) if "base" in value else own


def merged(base: Any, change: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(change, dict):
        return change
    kept = {key: value for key, value in base.items() if key not in change}
    changed = {key: merged(base.get(key), value) for key, value in change.items() if value is not None}
    return {**kept, **changed}
