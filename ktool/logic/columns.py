"""Printer columns that many kinds share. Kinds put them into `Looks`; a kind without any shows the first two."""

from __future__ import annotations

from ktool.api.kind import Column
from ktool.api.obj import name
from ktool.api.selector import from_label_selector
from ktool.api.shapes.workload import images
from ktool.api.units.duration import age

NAME = Column("NAME", lambda obj, now: name(obj))
AGE = Column("AGE", age)
CONTAINERS = Column("CONTAINERS", lambda obj, now: ",".join(images(obj)[0]), wide=True)
IMAGES = Column("IMAGES", lambda obj, now: ",".join(images(obj)[1]), wide=True)
SELECTOR = Column("SELECTOR", lambda obj, now: from_label_selector(obj["spec"]["selector"]).text, wide=True)
