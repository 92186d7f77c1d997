"""Shaping: the kind, name and system metadata of an object that a client sends, and the result of an update of the
whole, of the status or of the scale.

Pure functions, called by the verbs before they ask admission and write.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable
from typing import Any

from ktool.api import schema
from ktool.api.errors import ApiError, Cause, bad_request, conflict, invalid
from ktool.api.kind import Kind
from ktool.api.kinds import Kinds
from ktool.api.masked import UNREADABLE
from ktool.api.obj import Obj, get, meta, name, put, timestamp, uid
from ktool.api.patch import same
from ktool.api.ref import GroupKind
from ktool.api.rules import validation
from ktool.api.selector import from_label_selector
from ktool.registry.admission import Judge

_SYSTEM = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds")
"""Metadata that only the system writes."""

_GENERATED_LIMIT = 58
"""Longest part of a generated name before its suffix, as in Kubernetes: 63 less the five random characters."""


def plain(obj: Any) -> Any:
    """A copy that shares nothing with the caller's and holds JSON only. Raises ApiError 400 for what is no JSON."""
    try:
        return json.loads(json.dumps(obj, allow_nan=False))
    except (ValueError, TypeError, RecursionError) as error:
        raise bad_request(f"the object cannot be written as JSON: {error}") from None


def kind_of(kinds: Kinds, obj: Any) -> Kind:
    """The Kind an object says it is of. ApiError 400 where it does not say, 404 where there is no such kind."""
    if not isinstance(obj, dict) or not isinstance(obj.get("kind"), str) or not obj["kind"]:
        raise bad_request("the object names no kind")
    if not isinstance(obj.get("apiVersion"), str) or not obj["apiVersion"]:
        raise bad_request(f"the {obj['kind']} names no apiVersion")
    kind = kinds.get(GroupKind.of(obj))
    if kind is not None and kind.serves(obj["apiVersion"]):
        return kind
    others = [kind] if kind is not None else kinds.named(obj["kind"])
    if others:
        known = " or ".join(other.api_version for other in others)
        raise _no_match(obj["kind"], obj["apiVersion"], f"; it is of {known} here")
    near = difflib.get_close_matches(obj["kind"], [known.name for known in kinds], n=1)
    raise _no_match(obj["kind"], obj["apiVersion"], f"; did you mean {near[0]}?" if near else "")


def named(kinds: Kinds, gk: GroupKind) -> Kind:
    """The Kind of that identity. ApiError 404 where there is none."""
    kind = kinds.get(gk)
    if kind is None:
        raise _no_match(str(gk), "", "")
    return kind


def _no_match(kind: str, version: str, hint: str) -> ApiError:
    where = f' in version "{version}"' if version else ""
    return ApiError(404, "NotFound", f'no matches for kind "{kind}"{where}{hint}', kind=kind)


def readable(obj: Obj) -> Obj:
    """The object, if the store could read all of it. ApiError 500 where it could not be decrypted."""
    if UNREADABLE in obj:
        raise ApiError(500, "InternalError", str(obj[UNREADABLE]))
    return obj


# --- new objects -------------------------------------------------------------------------------------------------


def prepared(kind: Kind, obj: Obj, suffix: Callable[[], str]) -> Obj:
    """A new object as its client meant it: with a namespace and a name, and without what only the system writes."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        raise invalid(str(kind.gk), "", [Cause("metadata", "must be an object with a name", "FieldValueRequired")])
    if metadata.get("resourceVersion"):
        raise bad_request("resourceVersion should not be set on objects to be created")
    new = {key: value for key, value in metadata.items() if key not in _SYSTEM and key not in _IGNORED}
    if kind.namespaced and not new.get("namespace"):
        new["namespace"] = "default"
    if not new.get("name") and isinstance(new.get("generateName"), str) and new["generateName"]:
        new["name"] = new["generateName"][:_GENERATED_LIMIT] + suffix()
    obj = {**obj, "metadata": new}
    if "status" in obj and "status" in kind.subresources:
        del obj["status"]
    return obj


_IGNORED = ("managedFields", "selfLink", "resourceVersion")


def stamped(kind: Kind, obj: Obj, new_uid: str, now: float) -> Obj:
    """A new object with the metadata that the system gives it, and what the kind makes of that (Rules.identify)."""
    metadata = {**obj["metadata"], "uid": new_uid, "creationTimestamp": timestamp(now)}
    if "spec" in kind.schema.fields:
        metadata["generation"] = 1
    return validation.identified(kind, {**obj, "metadata": metadata})


# --- changes -----------------------------------------------------------------------------------------------------


def check_preconditions(kind: Kind, old: Obj, new: Obj) -> None:
    """ApiError 409 where `new` names a uid or a resourceVersion that `old` does not have."""
    said = meta(new)
    check_uid(kind, old, said.get("uid") or "")
    if said.get("resourceVersion") and said["resourceVersion"] != meta(old).get("resourceVersion"):
        raise conflict(kind.resource, name(old))


def check_uid(kind: Kind, old: Obj, wanted: str) -> None:
    """ApiError 409 where a uid is asked for and `old` has another one."""
    if wanted and wanted != uid(old):
        why = f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid(old)}"
        raise conflict(kind.resource, name(old), why)


def updated(judge: Judge, kind: Kind, old: Obj, new: Obj) -> Obj:
    """What an update of everything but the status makes of `old`: `old` itself where nothing changes. generation
    moves when something other than metadata and status does."""
    candidate = _merged(old, new)
    if "status" in kind.subresources:
        candidate = _with(candidate, "status", old.get("status"))
    if unchanged(candidate, old):
        return old
    candidate = judge.shaped(kind, candidate)
    if "status" in kind.subresources:
        candidate = _with(candidate, "status", old.get("status"))
    if unchanged(candidate, old):
        return old
    if "generation" in meta(old) and _desired(candidate) != _desired(old):
        candidate["metadata"] = {**candidate["metadata"], "generation": int(meta(old)["generation"]) + 1}
    return candidate


def status_updated(kind: Kind, old: Obj, new: Obj) -> Obj:
    """What an update of the status alone makes of `old`; `old` itself where nothing changes."""
    if unchanged(new.get("status"), old.get("status")):
        return old
    candidate = _with(old, "status", new.get("status"))
    causes = schema.check(kind.schema, candidate)
    if causes:
        raise invalid(str(kind.gk), name(old), causes)
    return candidate


def unchanged(new: Any, old: Any) -> bool:
    """Whether two JSON values are the same; for Python alone, 1 and true are."""
    return new is old or (new == old and same(new, old))


def _merged(old: Obj, new: Obj) -> Obj:
    """`new` with the metadata that no client may change."""
    was, said = meta(old), new.get("metadata")
    kept = {k: v for k, v in said.items() if k not in _SYSTEM and k not in _IGNORED} if isinstance(said, dict) else {}
    for field in ("name", "namespace", "resourceVersion", *_SYSTEM):
        if field in was:
            kept[field] = was[field]
    return {**new, "metadata": kept}


def _with(obj: Obj, field: str, value: Any) -> Obj:
    copy = dict(obj)
    if value is None:
        copy.pop(field, None)
    else:
        copy[field] = value
    return copy


def _desired(obj: Obj) -> Obj:
    return {key: value for key, value in obj.items() if key not in ("metadata", "status")}


# --- scale: autoscaling/v1 Scale of a kind that has replicas ------------------------------------------------------


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
        raise invalid(str(kind.gk), name(old), [cause])
    said = meta(scale)
    changed = put(old, "spec", "replicas", replicas)
    for precondition in ("uid", "resourceVersion"):
        if said.get(precondition):
            changed = put(changed, "metadata", precondition, said[precondition])
    return changed
