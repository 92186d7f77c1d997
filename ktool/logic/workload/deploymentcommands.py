"""Deployment for commands: its history, rollback, generations of pods and the limits of its strategy, as a Workload.

kinds/deployment builds its `Workload` from these functions.
"""

from __future__ import annotations

from collections.abc import Sequence

from ktool.api.marks import CHANGE_CAUSE, SINGLE_WRITER
from ktool.api.obj import Obj, annotations_of, get, uid
from ktool.api.ref import POD, Ref
from ktool.api.workload import Generation, History, Recovery, Revision, Workload, restarted_at
from ktool.api.world import World
from ktool.logic.workload import deploymentstatus, revisions, rollback, stopfirst
from ktool.logic.workload.workloadkinds import REPLICA_SET


def _revisions(deployment: Obj, sets: Sequence[Obj]) -> list[Revision]:
    return [_revision(replica_set) for replica_set in revisions.history(sets)]


def _revision(replica_set: Obj) -> Revision:
    cause = annotations_of(replica_set).get(CHANGE_CAUSE) or ""
    template = get(replica_set, "spec", "template", default={})
    return Revision(revisions.revision(replica_set), cause, template, replica_set)


def _back(deployment: Obj, revision: Revision) -> list[Obj] | None:
    """The JSON patch for a rollback, only of the fields that go back: others may change meanwhile."""
    if revisions.same_template(revision.record, deployment["spec"]["template"]):
        return None
    returned = revisions.rolled_back(deployment, revision.record)
    return [
        {"op": "replace", "path": "/spec/template", "value": returned["spec"]["template"]},
        {"op": "add", "path": "/metadata/annotations", "value": annotations_of(returned)},
    ]


def _recover(deployment: Obj, sets: Sequence[Obj], began: float) -> Recovery | None:
    new = revisions.find_new(deployment, sets)
    done = rollback.completed(new) if new is not None else 0.0
    good = rollback.last_good(sets, new) if new is not None and not 0 < done < began - 1 else None
    if good is None or new is None:
        return None
    forget = ((Ref.of(new), rollback.FORGET),) if done else ()
    back = (Ref.of(deployment), rollback.patch(deployment, good))
    return Recovery(revisions.revision(good), (*forget, back))


def _generations(deployment: Obj, world: World) -> list[Generation]:
    sets = world.controlled(uid(deployment), REPLICA_SET)
    new = revisions.find_new(deployment, sets)
    return [Generation(one is new, revisions.revision(one), tuple(world.controlled(uid(one), POD))) for one in sets]


def _promise(deployment: Obj) -> str:
    if get(deployment, "spec", "strategy", "type") == "Recreate":
        return "Recreate: all old pods stop first"
    wanted, limit = deploymentstatus.replicas(deployment), deploymentstatus.limits(deployment)
    if stopfirst.single_writer(deployment):
        limit = stopfirst.one_writer(limit)
    return f"at most {wanted + limit.surge} pods, at least {max(0, wanted - limit.unavailable)} available"


def _notes(deployment: Obj) -> list[str]:
    if stopfirst.single_writer(deployment):
        return [f"stop-first: {SINGLE_WRITER} says that its volumes have one writer"]
    return []


WORKLOAD = Workload(
    restart=restarted_at,
    pausable=True,
    held=deploymentstatus.held,
    follows_config=True,
    history=History(REPLICA_SET, _revisions, _back, _recover),
    generations=_generations,
    promise=_promise,
    notes=_notes,
)
