"""Context: what all pods of a node are planned with. nodeplan makes one per pass; podplan and podlife take it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ktool.api.obj import Obj
from ktool.logic.node.nodeaction import Failures
from ktool.logic.pod.podenv import Lookup
from ktool.logic.pod.probes import UNKNOWN, Vitals


@dataclass(frozen=True)
class Context:
    """`failures`: what failed last, by (uid, container or "") and ("", "") for the node's setup. `lookup` gives
    ConfigMaps and Secrets. `now` in epoch seconds. `written`: uid -> volume -> the hash that is on the node; `vitals`:
    what probes and hooks say of containers."""

    node: Obj
    cluster: str
    failures: Failures
    lookup: Lookup
    now: float
    written: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    vitals: Vitals = UNKNOWN
