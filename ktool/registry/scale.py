"""The scale subresource: autoscaling/v1 Scale of a kind that has replicas."""

from __future__ import annotations

from ktool.api.errors import Cause, invalid
from ktool.api.kind import Kind
from ktool.api.obj import Obj, get, meta, name, put
from ktool.api.selector import from_label_selector
from ktool.registry.admission import full_name


def scale_of(obj: Obj) -> Obj:
    """The Scale that an object has now; status.selector is in the form of `-l`."""
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status: Obj = {"replicas": get(obj, "status", "replicas", default=0)}
    if (selector := get(obj, "spec", "selector")) is not None:
        status["selector"] = str(from_label_selector(selector))
    return {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {key: meta(obj)[key] for key in kept if key in meta(obj)},
        "spec": {"replicas": get(obj, "spec", "replicas", default=0)},
        "status": status,
    }


def scaled(kind: Kind, old: Obj, scale: Obj) -> Obj:
    """`old` with the number of replicas of a Scale. ApiError 422 where that is no number of replicas."""
    replicas = get(scale, "spec", "replicas", default=0)
    if type(replicas) is not int or replicas < 0:
        cause = Cause("spec.replicas", f"must be an integer of 0 or more, not {replicas!r}")
        raise invalid(full_name(kind), name(old), [cause])
    said = meta(scale)
    changed = put(old, "spec", "replicas", replicas)
    for precondition in ("uid", "resourceVersion"):
        if said.get(precondition):
            changed = put(changed, "metadata", precondition, said[precondition])
    return changed
