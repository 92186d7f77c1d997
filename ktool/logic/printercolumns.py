"""Printer columns that many kinds share. Kinds put them into `Looks`; a kind without any shows the first two."""

from __future__ import annotations

from ktool.api.kind import Column
from ktool.api.obj import Obj, get, name
from ktool.api.units.duration import age


def images(obj: Obj) -> tuple[list[str], list[str]]:
    """Names and images of the template's containers, for the wide columns of `get`."""
    containers = get(obj, "spec", "template", "spec", "containers", default=())
    return [c.get("name", "") for c in containers], [c.get("image", "") for c in containers]


def _selector(obj: Obj) -> str:
    from ktool.api.selector import from_label_selector

    return from_label_selector(obj["spec"]["selector"]).text


NAME = Column("NAME", lambda obj, now: name(obj))
AGE = Column("AGE", age)
CONTAINERS = Column("CONTAINERS", lambda obj, now: ",".join(images(obj)[0]), wide=True)
IMAGES = Column("IMAGES", lambda obj, now: ",".join(images(obj)[1]), wide=True)
SELECTOR = Column("SELECTOR", lambda obj, now: _selector(obj), wide=True)
