"""What an object has to go through before it is written: shape, defaults, validation and the metadata of the system.

Nothing here reads or writes the store, except to look at the namespace of a new object.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable
from typing import Any

from ktool.api import schema
from ktool.api.errors import ApiError, Cause, bad_request, conflict, forbidden, invalid, not_found
from ktool.api.kind import Kind
from ktool.api.kinds import Kinds
from ktool.api.masked import UNREADABLE
from ktool.api.obj import Obj, deleting, get, meta, name, timestamp, uid
from ktool.api.patch import same
from ktool.api.ref import NAMESPACE, GroupKind, Ref
from ktool.api.rules import names
from ktool.store.store import Transaction

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


def full_name(kind: Kind) -> str:
    """The kind as `is invalid` messages name it: `Pod`, `Deployment.apps`."""
    return str(kind.gk)


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
        raise invalid(full_name(kind), "", [Cause("metadata", "must be an object with a name", "FieldValueRequired")])
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


def validated(kind: Kind, obj: Obj, old: Obj | None = None) -> Obj:
    """The object with all its defaults. Raises ApiError 422 with every cause where anything is wrong with it."""
    causes = schema.check(kind.schema, obj)
    if not causes:
        obj = schema.default(kind.schema, obj)
        if kind.rules.default is not None:
            obj = kind.rules.default(obj)
        causes = meta_causes(kind, obj)
        if kind.rules.validate is not None:
            known = set(causes)
            causes += [cause for cause in kind.rules.validate(obj, old) if cause not in known]
    if causes:
        raise invalid(full_name(kind), shown_name(obj), causes)
    return obj


def shown_name(obj: Obj) -> str:
    """A name for messages, also of an object whose metadata makes no sense."""
    return str(get(obj, "metadata", "name") or get(obj, "metadata", "generateName") or "")


def meta_causes(kind: Kind, obj: Obj) -> list[Cause]:
    causes = names.meta_causes(meta(obj), namespaced=kind.namespaced)
    owners = meta(obj).get("ownerReferences") or ()
    if sum(1 for owner in owners if owner.get("controller")) > 1:
        causes.append(Cause("metadata.ownerReferences", "only one of them may have controller: true"))
    return causes


def stamped(kind: Kind, obj: Obj, new_uid: str, now: float) -> Obj:
    """A new object with the metadata that the system gives it."""
    metadata = {**obj["metadata"], "uid": new_uid, "creationTimestamp": timestamp(now)}
    if "spec" in kind.schema.fields:
        metadata["generation"] = 1
    return {**obj, "metadata": metadata}


def namespace_ready(tx: Transaction, kinds: Kinds, kind: Kind, obj: Obj) -> None:
    """ApiError 404 where the namespace of a new object does not exist, 403 where it is being deleted."""
    if not kind.namespaced or NAMESPACE not in kinds:
        return
    metadata = obj["metadata"]
    found = tx.get(Ref(NAMESPACE, "", metadata["namespace"]).key)
    if found is None:
        raise not_found("namespaces", metadata["namespace"])
    if deleting(found):
        raise forbidden(
            f'{kind.resource} "{metadata.get("name", "")}" is forbidden: unable to create new content in namespace '
            f"{metadata['namespace']} because it is being terminated"
        )


# --- changes -----------------------------------------------------------------------------------------------------


def check_preconditions(kind: Kind, old: Obj, new: Obj) -> None:
    """ApiError 409 where `new` names a uid or a resourceVersion that `old` does not have."""
    said = meta(new)
    if said.get("uid") and said["uid"] != uid(old):
        raise uid_conflict(kind, old, said["uid"])
    if said.get("resourceVersion") and said["resourceVersion"] != meta(old).get("resourceVersion"):
        raise conflict(kind.resource, name(old))


def uid_conflict(kind: Kind, old: Obj, wanted: str) -> ApiError:
    why = f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid(old)}"
    return conflict(kind.resource, name(old), why)


def updated(kind: Kind, old: Obj, new: Obj) -> Obj:
    """What an update of everything but the status makes of `old`: `old` itself where nothing changes. generation
    moves when something other than metadata and status does."""
    candidate = _merged(old, new)
    if "status" in kind.subresources:
        candidate = _with(candidate, "status", old.get("status"))
    if unchanged(candidate, old):
        return old
    candidate = validated(kind, candidate, old)
    if "status" in kind.subresources:
        candidate = _with(candidate, "status", old.get("status"))
    if unchanged(candidate, old):
        return old
    _check_finalizers(kind, old, candidate)
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
        raise invalid(full_name(kind), name(old), causes)
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


def _check_finalizers(kind: Kind, old: Obj, new: Obj) -> None:
    if deleting(old):
        added = sorted(set(_finalizers(new)) - set(_finalizers(old)))
        if added:
            message = f"no new finalizers can be added if the object is being deleted, found {', '.join(added)}"
            cause = Cause("metadata.finalizers", message, "FieldValueForbidden")
            raise invalid(full_name(kind), name(old), [cause])


def _finalizers(obj: Obj) -> Iterable[str]:
    return meta(obj).get("finalizers") or ()
