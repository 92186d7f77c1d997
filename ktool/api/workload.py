"""Workload: the part of a Kind that runs pods, as commands need it.

rollout, set, logs, `apply --dry-run=server`, `apply --rollback-on-failure` and every waiting command ask it, so that no
command names a kind. Pure: a command lists the owned objects and sends the patches that come back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ktool.api.marks import RESTARTED_AT
from ktool.api.obj import Obj
from ktool.api.ref import GroupKind, Ref
from ktool.api.world import World

TEMPLATE = ("spec", "template")


class Revision(NamedTuple):
    """One revision of a workload's pod template. `record` is the object that stores it, `cause` its change cause."""

    number: int
    cause: str
    template: Obj
    record: Obj


class Recovery(NamedTuple):
    """The rollback of a failed rollout: merge patches, in order, that bring back revision `number`."""

    number: int
    patches: tuple[tuple[Ref, Obj], ...]


class Generation(NamedTuple):
    """The pods of one revision. `current`: the revision that the workload wants now."""

    current: bool
    number: int
    pods: tuple[Obj, ...]


class History(NamedTuple):
    """The revisions of a workload, stored in objects of kind `records` that it owns.

    `revisions(obj, records)` lists them, the lowest first. `back(obj, revision)` is the JSON patch that returns to one,
    None where the object is at that revision. `recover(obj, records, began)` is the way out of a failed rollout; None
    where no revision was ever complete. A rollout that was complete before `began` (epoch seconds) is not undone.
    """

    records: GroupKind
    revisions: Callable[[Obj, Sequence[Obj]], list[Revision]]
    back: Callable[[Obj, Revision], list[Obj] | None]
    recover: Callable[[Obj, Sequence[Obj], float], Recovery | None]


class Workload(NamedTuple):
    """A workload kind's answers to commands. `template`: the path of the pod template. `restart(obj, at)`: the merge
    patch that replaces its pods, with the time in it; None where nothing does. `pausable`: it has spec.paused; `held`
    detects a rollout that is paused half way. `follows_config`: the annotation ktool.dev/restart-on-config-change
    works. `generations` groups its pods by revision; `promise` states in words the limits its strategy keeps during a
    rollout, and `notes` what else orders the steps."""

    template: tuple[str, ...] = TEMPLATE
    restart: Callable[[Obj, str], Obj] | None = None
    pausable: bool = False
    held: Callable[[Obj], bool] = lambda obj: False
    follows_config: bool = False
    history: History | None = None
    generations: Callable[[Obj, World], list[Generation]] | None = None
    promise: Callable[[Obj], str] = lambda obj: ""
    notes: Callable[[Obj], list[str]] = lambda obj: []


def restarted_at(obj: Obj, at: str) -> Obj:
    """The `restart` of a kind that rolls out every change of spec.template: kubectl's annotation on it."""
    return {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: at}}}}}
