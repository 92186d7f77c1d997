"""Planning context: the values that the plans of all pods of a node share. nodeplan makes one per pass; podplan and
podlife take it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ktool.api.obj import Obj
from ktool.logic.node.nodeaction import Failures
from ktool.logic.pod.podenv import Lookup
from ktool.logic.pod.probes import UNKNOWN, Vitals


@dataclass(frozen=True)
class Context:
    """The inputs of a node's pod plans. `failures`: the last failure by (uid, container or ""), and ("", "") for the
    node's setup. `lookup` gives ConfigMaps and Secrets. `now` in epoch seconds. `written`: uid -> volume -> the content
    hash on the node; `vitals`: the results of probes and hooks."""

    node: Obj
    cluster: str
    failures: Failures
    lookup: Lookup
    now: float
    written: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    vitals: Vitals = UNKNOWN
