"""Helpers on Kubernetes objects, which stay plain dicts in their JSON shape. Every layer uses them.

An object from the store, the cache or a World is never changed in place: `put` and the other writers copy along the
path they change and share the rest.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

Obj = dict[str, Any]

HASH_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Kubernetes' own choice for generated names: no vowels, so no words; no digit that looks like a letter."""


def meta(obj: Mapping[str, Any]) -> Obj:
    found = obj.get("metadata")
    return found if isinstance(found, dict) else {}


def name(obj: Mapping[str, Any]) -> str:
    return str(meta(obj).get("name", ""))


def namespace(obj: Mapping[str, Any]) -> str:
    """The namespace, or "" for a cluster-scoped object."""
    return str(meta(obj).get("namespace") or "")


def uid(obj: Mapping[str, Any]) -> str:
    return str(meta(obj).get("uid", ""))


def labels(obj: Mapping[str, Any]) -> dict[str, str]:
    return meta(obj).get("labels") or {}


def annotations_of(obj: Mapping[str, Any]) -> dict[str, str]:
    return meta(obj).get("annotations") or {}


def generation(obj: Mapping[str, Any]) -> int:
    return int(meta(obj).get("generation") or 0)


def deleting(obj: Mapping[str, Any]) -> bool:
    """Whether the object is terminating: deletion was requested (metadata.deletionTimestamp) and is not finished."""
    return bool(meta(obj).get("deletionTimestamp"))


def get(obj: Mapping[str, Any] | None, *path: str, default: Any = None) -> Any:
    """The value at `path`, or `default` where any step of it is absent or null."""
    here: Any = obj
    for step in path:
        # Nearly always a dict, which is quick to see; asking an abstract class costs as much as all the rest of this.
        if type(here) is not dict and not isinstance(here, Mapping):
            return default
        here = here.get(step)
        if here is None:
            return default
    return default if here is None else here


def put(obj: Mapping[str, Any], *path_and_value: Any) -> Obj:
    """A copy of `obj` with a value set: the last argument is the value, the arguments before it are the path.
    Everything beside the path is shared."""
    *path, value = path_and_value
    step, rest = path[0], path[1:]
    copy = dict(obj)
    if rest:
        child = obj.get(step)
        copy[step] = put(child if isinstance(child, Mapping) else {}, *rest, value)
    else:
        copy[step] = value
    return copy


def drop(obj: Obj, *path: str) -> Obj:
    """A copy of `obj` without what stands at `path`; `obj` itself where nothing stands there."""
    step, rest = path[0], path[1:]
    if step not in obj:
        return obj
    if not rest:
        return {key: value for key, value in obj.items() if key != step}
    child = obj[step]
    less = drop(child, *rest) if isinstance(child, dict) else child
    return obj if less is child else {**obj, step: less}


# --- ownership ---------------------------------------------------------------------------------------------------


def owner_reference(owner: Mapping[str, Any]) -> Obj:
    """The ownerReference to a controller, as the garbage collector reads it (meta/v1 OwnerReference)."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name(owner),
        "uid": uid(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller_of(obj: Mapping[str, Any]) -> Obj | None:
    """The ownerReference whose `controller` is true, or None. An object has at most one."""
    for reference in meta(obj).get("ownerReferences") or ():
        if reference.get("controller"):
            found: Obj = reference
            return found
    return None


def controlled_by(obj: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    reference = controller_of(obj)
    return reference is not None and reference.get("uid") == uid(owner)


# --- time --------------------------------------------------------------------------------------------------------


def timestamp(now: float) -> str:
    """RFC 3339 in UTC with whole seconds, as Kubernetes writes meta/v1 Time."""
    return _second(int(now))


@lru_cache(maxsize=256)
def _second(now: int) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_timestamp(now: float) -> str:
    """RFC 3339 in UTC with microseconds, as Kubernetes writes meta/v1 MicroTime."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def epoch(text: str | None) -> float:
    """Epoch seconds of an RFC 3339 time; 0.0 for None or an empty text."""
    if not text:
        return 0.0
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


# --- conditions --------------------------------------------------------------------------------------------------


def condition(obj: Mapping[str, Any], kind: str) -> Obj | None:
    """The entry of status.conditions with type `kind`."""
    for entry in get(obj, "status", "conditions", default=()):
        if entry.get("type") == kind:
            found: Obj = entry
            return found
    return None


def is_true(obj: Mapping[str, Any], kind: str) -> bool:
    found = condition(obj, kind)
    return found is not None and found.get("status") == "True"


def with_condition(
    conditions: Iterable[Obj], kind: str, status: str, now: float, reason: str = "", message: str = ""
) -> list[Obj]:
    """The conditions with type `kind` set. lastTransitionTime moves only when the status changes, and an entry with the
    same content is kept as it is, so that an unchanged world yields an unchanged object."""
    result, found = [], False
    for entry in conditions:
        if entry.get("type") != kind:
            result.append(entry)
            continue
        found = True
        result.append(_condition(kind, status, now, reason, message, entry))
    if not found:
        result.append(_condition(kind, status, now, reason, message, {}))
    return result


def _condition(kind: str, status: str, now: float, reason: str, message: str, before: Obj) -> Obj:
    said = (before.get("status"), before.get("reason", ""), before.get("message", ""))
    if said == (status, reason, message):
        return before
    moved = before.get("status") != status
    entry = {
        "type": kind,
        "status": status,
        "lastTransitionTime": timestamp(now) if moved else before.get("lastTransitionTime", timestamp(now)),
    }
    if reason:
        entry["reason"] = reason
    if message:
        entry["message"] = message
    return entry


# --- content hashes ----------------------------------------------------------------------------------------------


def canonical(value: Any) -> str:
    """Canonical JSON: one text for equal values, with sorted keys and no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def content_hash(value: Any, length: int = 10) -> str:
    """A short hash of a JSON value that is safe inside object names and labels."""
    number = int.from_bytes(hashlib.sha256(canonical(value).encode()).digest()[:16], "big")
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(HASH_ALPHABET))
        digits.append(HASH_ALPHABET[digit])
    return "".join(digits)


def joined_name(base: str, suffix: str, limit: int = 63) -> str:
    """`base-suffix`, with `base` truncated so that the whole is a valid DNS label (RFC 1123)."""
    return f"{base[: limit - len(suffix) - 1].rstrip('-.')}-{suffix}"
